// The page of one sale: reads which, shows what is sold, and ties gate, buyer and panel together.

import { get, paths } from "./api.js";
import { createBuyer } from "./buyer.js";
import { productOf } from "./catalogue.js";
import { createClock } from "./clock.js";
import { $, h, icon, setText } from "./dom.js";
import { minutesSeconds, money, units } from "./format.js";
import { watchGate } from "./gate.js";
import { createPanel } from "./panel.js";
import { panelView } from "./panel-view.js";
import { gateRetryMs } from "./schedule.js";
import { createAccount, createSession, tabStorage } from "./session.js";

const CHIP = { upcoming: "Opens soon", open: "On sale now", paused: "Paused", sold_out: "Sold out", ended: "Ended" };
const saleId = /^\/s\/([a-z0-9-]{1,64})\/?$/.exec(location.pathname)?.[1] ?? "";

const clock = createClock(() => performance.now(), () => Date.now());
const storage = tabStorage();
const session = createSession(storage, clock.serverNow);
const account = createAccount($("account"), session);
// Written even when it is the same text: said again, it is news again.
const announce = (text) => ($("announcer").textContent = text);
const panel = createPanel($("panel"), { clock, announce, onAction });
let sale = null;
let trouble = null;

const gate = watchGate({
  sale: saleId,
  clock,
  token: session.token,
  onGate: (_, askedAt) => {
    trouble = null;
    buyer.gateNews(askedAt);
  },
  onTrouble: (answer, failures) => {
    // One lost answer is nothing to worry anybody with, unless nothing is known yet.
    if (failures > 1 || !gate.latest()) trouble = answer;
    draw();
  },
});
const buyer = createBuyer({ sale: saleId, session, storage, gate, clock, changed: draw });

function draw() {
  const state = gate.latest()?.state;
  if (state) {
    setText($("chip"), CHIP[state]);
    $("chip").dataset.state = state;
    $("chip").hidden = false;
  }
  const facts = { ...buyer.facts, sale, gate: sale && gate.latest(), now: clock.now(), user: session.user(), trouble, timerSpan: sale?.pay_within_s * 1000 };
  const view = panelView(facts);
  panel.render(view, facts);
  document.title = sale ? `${view.title} · ${sale.title}` : "First Light";
  account.draw();
}

function onAction(action, view) {
  const actions = {
    buy: () => (session.user() ? buyer.buy(panel.quantity()) : signInAndBuy()),
    take: () => buyer.buy(view.primary.quantity),
    "sign-in": account.ask,
    "sign-in-and-buy": signInAndBuy,
    join: buyer.join,
    "sign-in-and-join": async () => {
      if (!(await account.ask())) return;
      await buyer.resumed();
      if (!buyer.facts.order) buyer.join();
    },
    pay: buyer.pay,
    cancel: buyer.cancel,
    again: buyer.leave,
    dismiss: buyer.dismiss,
    "my-order": buyer.findMine,
    orders: () => location.assign("/#orders"),
    home: () => location.assign("/"),
    reload: () => location.reload(),
  };
  actions[action]?.();
}

async function signInAndBuy() {
  const wanted = panel.quantity();
  if (!(await account.ask())) return;
  // Signing in may bring back an order or a ticket of this buyer: then that goes on instead. And whoever was
  // signed out while waiting for the opening waits on.
  await buyer.resumed();
  if (!buyer.facts.order && !buyer.facts.refusal && gate.latest()?.state !== "upcoming") buyer.buy(wanted);
}

function showSale() {
  const product = productOf(sale);
  const picture = $("picture");
  picture.src = product.src;
  picture.alt = product.alt;
  $("stage").style.setProperty("--hue", product.hue);
  setText($("title"), sale.title);
  setText($("lead"), product.lead);
  setText($("price"), money(sale.price_cents, sale.currency));
  setText($("offer"), `${units(sale.stock)} on offer`);
  const each = sale.per_user_limit === 1 ? "One per person" : `At most ${sale.per_user_limit} per person`;
  const promise = (name, strong, rest) => h("li", {}, icon(name), h("span", {}, h("strong", {}, strong), h("span", {}, rest)));
  $("trust").replaceChildren(
    promise("clock", `${minutesSeconds(sale.pay_within_s * 1000)} to pay`, "Your place is kept that long. Nobody can take it from you."),
    promise("back", "Unpaid units come back", "Sold out may not be the last word: this page tells you."),
    promise("person", each, "Enforced when ordering, so that more people get one."),
    promise("shield", "Never charged twice", "One press is one order, however often the network stumbles."),
  );
  $("facts").replaceChildren(...product.facts.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))));
  $("about").hidden = product.facts.length === 0;
  document.body.dataset.ready = "true";
  draw();
}

async function loadSale(failures = 0) {
  const answer = saleId ? await get(paths.sale(saleId)) : { ok: false, code: "sale_not_found", status: 404 };
  if (answer.ok) {
    sale = answer.body;
    trouble = null;
    return showSale();
  }
  trouble = answer;
  draw();
  if (answer.code === "sale_not_found") {
    gate.stop();
    $("picture").src = "/assets/art/parcel.svg";
    document.body.dataset.ready = "true";
    return setText($("title"), "Nothing to see here");
  }
  setTimeout(loadSale, gateRetryMs({ failures: failures + 1, retryAfterMs: answer.retryAfterMs, random: Math.random() }), failures + 1);
}

session.onChange(buyer.resume);
// Other fragments are places on this page: following one must not interrupt a purchase.
const arrive = () => {
  session.takeHandedOver();
  if (/^#(order|payment)=/.test(location.hash)) buyer.resume();
};
addEventListener("hashchange", arrive);
// Coming back with the browser's Back button may show a page frozen long ago.
addEventListener("pageshow", (event) => event.persisted && (gate.refresh(), buyer.resume()));
setInterval(panel.tick, 250);
// Some views change when a moment passes, not when somebody answers.
setInterval(() => {
  // A tab that stayed visible is not told about a sleep, and an ended sale's gate is not asked by being seen. A hidden
  // tab leaves the question for when somebody looks: it is answered once.
  if (!document.hidden && clock.slipped()) gate.refresh();
  draw();
}, 1000);
document.body.dataset.ready = "soon";
session.takeHandedOver();
loadSale();
buyer.resume();
