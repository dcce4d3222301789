// The front page: what is on sale, and, for whoever is signed in, their orders and messages.

import { createAccount } from "./account.js";
import { get, paths } from "./api.js";
import { createClock } from "./clock.js";
import { $ } from "./dom.js";
import { createMailbox } from "./mailbox.js";
import { createOrderList } from "./order-list.js";
import { createSaleCard } from "./sale-card.js";
import { gateRetryMs, orderPollMs } from "./schedule.js";
import { createSession } from "./session.js";

// A watched gate is a request every so often: the first cards are enough, the rest tell their times.
const WATCHED_MAX = 8;

const clock = createClock(() => performance.now(), () => Date.now());
const session = createSession(sessionStorage, () => Date.now());
createAccount($("account"), session);
let sales = [];
let cards = [];

const orderList = createOrderList($("orders"), { session, saleOf: (id) => sales.find((sale) => sale.id === id) });
const mailbox = createMailbox($("messages"), { session });

const rank = (sale, now) => (sale.ends_at <= now ? 2 : sale.opens_at <= now ? 0 : 1);

async function loadSales(failures = 0) {
  const answer = await get(paths.sales);
  $("sales-trouble").hidden = answer.ok;
  if (!answer.ok) {
    setTimeout(loadSales, gateRetryMs({ failures: failures + 1, retryAfterMs: answer.retryAfterMs, random: Math.random() }), failures + 1);
    return;
  }
  const now = clock.now();
  sales = [...answer.body.sales].sort((a, b) => rank(a, now) - rank(b, now) || a.opens_at - b.opens_at);
  cards = sales.map((sale, place) => createSaleCard(sale, { clock, watched: place < WATCHED_MAX && sale.ends_at > now }));
  $("sales").replaceChildren(...cards.map((card) => card.node));
  $("sales").removeAttribute("aria-busy");
  $("no-sales").hidden = sales.length > 0;
  orderList.draw();
}

let timer = null;
let before = "";
/** Orders on their way are asked for again; messages only follow when an order has moved. */
async function loadMine() {
  clearTimeout(timer);
  $("mine").hidden = !session.user();
  if (!session.user() || document.hidden) return;
  await orderList.load();
  const moved = orderList.fingerprint() !== before;
  before = orderList.fingerprint();
  if (moved || !mailbox.loaded) await mailbox.load();
  mailbox.loaded = true;
  // Notices are sent a moment after the order moved.
  const waitMs = moved ? 3000 : orderPollMs({ failures: 2, random: Math.random() });
  if (moved || orderList.anyLive()) timer = setTimeout(moved ? () => mailbox.load().then(loadMine) : loadMine, waitMs);
}

session.onChange(() => {
  before = "";
  mailbox.loaded = false;
  orderList.clear();
  mailbox.clear();
  loadMine();
});
document.addEventListener("visibilitychange", () => document.hidden || loadMine());
setInterval(() => cards.forEach((card) => card.tick()), 500);
loadSales();
loadMine().then(() => location.hash === "#orders" && session.user() && $("orders").scrollIntoView());
