// The front page: what is on sale, and, for whoever is signed in, their orders and messages.

import { get, paths } from "./api.js";
import { createClock } from "./clock.js";
import { $ } from "./dom.js";
import { createMailbox } from "./mailbox.js";
import { arrange, createOrderList } from "./order-list.js";
import { createSaleCard } from "./sale-card.js";
import { calmPollMs, gateRetryMs, orderPollMs, salesPollMs } from "./schedule.js";
import { createAccount, createSession, tabStorage } from "./session.js";

// A watched gate is a request every so often: the first cards are enough, the rest tell their times.
const WATCHED_MAX = 8;
// Going back and forth between two tabs is no reason to ask each time.
const SALES_FRESH_MS = 10_000;

const clock = createClock(() => performance.now(), () => Date.now());
const session = createSession(tabStorage(), clock.serverNow);
const account = createAccount($("account"), session);
let sales = [];
/** The cards on show, by what they say: a sale that has changed gets a new one. */
let cards = new Map();

const orderList = createOrderList($("orders"), { session, saleOf: (id) => sales.find((sale) => sale.id === id) });
const mailbox = createMailbox($("messages"), { session });

const rank = (sale, now) => (sale.ends_at <= now ? 2 : sale.opens_at <= now ? 0 : 1);

let salesTimer = null;
let salesDue = 0;
let asking = false;
let failures = 0;

async function loadSales() {
  if (asking || clock.tick() < salesDue || (document.hidden && salesDue > 0)) return;
  clearTimeout(salesTimer);
  asking = true;
  const answer = await get(paths.sales);
  asking = false;
  failures = answer.ok ? 0 : failures + 1;
  const waitMs = answer.ok ? salesPollMs(Math.random()) : gateRetryMs({ failures, retryAfterMs: answer.retryAfterMs, random: Math.random() });
  // After a failure the wait is a promise to the shop; after a success a buyer who comes back may cut it short.
  salesDue = clock.tick() + (answer.ok ? SALES_FRESH_MS : waitMs);
  // A timer may fire a touch early by the other clock: it must not find itself too soon, and be the last.
  salesTimer = setTimeout(loadSales, waitMs + 50);
  $("sales-trouble").hidden = answer.ok;
  if (answer.ok) showSales(answer.body.sales);
}

function showSales(listed) {
  const now = clock.now();
  sales = [...listed].sort((a, b) => rank(a, now) - rank(b, now) || a.opens_at - b.opens_at);
  const before = cards;
  cards = new Map();
  sales.forEach((sale, place) => {
    const says = JSON.stringify(sale);
    const card = before.get(says) ?? createSaleCard(sale, { clock, token: session.token });
    card.setWatched(place < WATCHED_MAX && sale.ends_at > now);
    cards.set(says, card);
  });
  for (const [says, card] of before) if (!cards.has(says)) card.setWatched(false);
  arrange($("sales"), [...cards.values()].map((card) => card.node));
  $("sales").removeAttribute("aria-busy");
  $("no-sales").hidden = sales.length > 0;
  orderList.draw();
}

let timer = null;
let mineDue = 0;
let before = "";
let mailDue = true;
let mineFailures = 0;
/** Orders on their way are asked for again soon; messages only follow when an order has moved. */
async function loadMine() {
  clearTimeout(timer);
  $("mine").hidden = !session.user();
  if (!session.user() || document.hidden) return;
  const early = mineDue - clock.tick();
  if (early > 0) return void (timer = setTimeout(loadMine, early + 50));
  const asked = session.token();
  const answers = [await orderList.load()];
  // A sign-in has started a reading of its own.
  if (asked !== session.token()) return void ($("mine").hidden = !session.user());
  const moved = orderList.fingerprint() !== before;
  before = orderList.fingerprint();
  if (moved || mailDue) answers.push(await mailbox.load());
  // Notices are sent a moment after the order moved: then they are read once more.
  if (answers[1]) mailDue = moved || !answers[1].ok;
  mineFailures = answers.every(({ ok }) => ok) ? 0 : mineFailures + 1;
  const retryAfterMs = Math.max(...answers.map((answer) => answer.retryAfterMs));
  const waitMs = mineWaitMs(moved, retryAfterMs);
  if (retryAfterMs > 0) mineDue = clock.tick() + waitMs;
  // Another reading may have ended while this one waited: one of them plans the next.
  clearTimeout(timer);
  timer = setTimeout(loadMine, waitMs);
}
/** Never for ever: an order that is still being written is in no list, and nobody tells when it is. */
function mineWaitMs(moved, retryAfterMs) {
  const random = Math.random();
  if (mineFailures > 0 || retryAfterMs > 0) return orderPollMs({ failures: mineFailures, retryAfterMs, random });
  if (moved) return 3000;
  return orderList.anyLive() ? orderPollMs({ failures: 2, random }) : calmPollMs(random);
}

session.onChange(() => {
  before = "";
  mailDue = true;
  mineFailures = 0;
  orderList.clear();
  mailbox.clear();
  loadMine();
});
/** Orders are somebody's: whoever is signed out is asked who they are, and led on. */
async function goToOrders() {
  if (session.user() || (await account.ask())) $("orders").scrollIntoView();
}
// The link itself leads nowhere while what it leads to is hidden.
$("my-orders").addEventListener("click", goToOrders);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  loadSales();
  loadMine();
});
addEventListener("hashchange", session.takeHandedOver);
setInterval(() => {
  cards.forEach((card) => card.tick());
  account.draw();
}, 500);
document.body.dataset.ready = "true";
session.takeHandedOver();
loadSales();
loadMine().then(() => location.hash === "#orders" && goToOrders());
