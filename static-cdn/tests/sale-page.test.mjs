// The page of one sale as a whole, in a small document and against a shop that answers as told.
import assert from "node:assert/strict";
import { test } from "node:test";
import "../assets/js/account.js";
import "../assets/js/order-stream.js";
import { watchGate } from "../assets/js/gate.js";
import { installDom, memory, serve, settle, tokenOf } from "./fake-dom.mjs";

const opens = Date.now() - 60_000;
const sale = { id: "s", title: "Aurora", price_cents: 500, currency: "EUR", stock: 9, per_user_limit: 4, opens_at: opens, ends_at: opens + 9e9, pay_within_s: 300 };
const gateIn = (state) => ({ sale: "s", state, now: Date.now(), opens_at: opens, ends_at: sale.ends_at, ...(state === "open" ? { buy: "/buy" } : {}) });
let pages = 0;

/** Opens the page; `shop` answers what the sale and its gate do not, and may be changed. */
async function open(t, { shop = () => null, hash = "", gate = () => [200, gateIn("open")], token = null } = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const dom = installDom({ page: "sale.html", path: "/s/s", hash: token ? `#token=${token}` : hash });
  const asked = serve((what, call) => (what.endsWith("/gate") ? gate() : what.endsWith("/sales/s") ? [200, sale] : shop(what, call)));
  await import(`../assets/js/sale-page.js?page=${(pages += 1)}`);
  await settle();
  const panel = document.getElementById("panel");
  const step = async (ms) => (t.mock.timers.tick(ms), await settle());
  return { ...dom, asked, step, panel, button: panel.find((node) => node.className.includes("button-primary")), state: () => panel.dataset.state };
}
const ada = tokenOf({ sub: "ada" });

test("the whole way: two wanted, a busy shop, and trying again goes on with the same ticket for two", async (t) => {
  const shop = (what) => (what.endsWith("/tickets") ? [200, { ticket: "t1", order_id: "o1", expires_at: 9e12 }] : [503, { code: "overloaded" }]);
  const page = await open(t, { shop, token: ada });
  assert.equal(location.hash, "", "the handed-over token is gone from the address");
  assert.equal(document.getElementById("account").lastChild.textContent, "Sign out");
  page.panel.find((node) => node.textContent === "+").click();
  page.button.click();
  await settle();
  for (let turn = 0; turn < 12; turn += 1) await page.step(20_000);
  assert.equal(page.state(), "refusal-busy");
  page.button.click();
  await page.step(0);
  const sent = page.asked.filter(({ what }) => what === "POST /buy/orders").map(({ body }) => `${body.ticket} ${body.quantity}`);
  assert.equal(sent.length, 9);
  assert.deepEqual([...new Set(sent)], ["t1 2"]);
  assert.equal(page.asked.filter(({ what }) => what === "POST /buy/tickets").length, 1);
});

test("a sign-in that ran out costs no quantity: signing in buys as many as were wanted", async (t) => {
  let signedIn = true;
  const shop = (what, { body }) => {
    if (what.startsWith("GET /api/v1/demo/login")) return [405, {}];
    if (what.startsWith("POST /api/v1/demo/login")) return ((signedIn = true), [200, { token: tokenOf({ sub: body.user, again: 1 }) }]);
    if (!signedIn) return [401, { code: "unauthenticated" }];
    return what.endsWith("/tickets") ? [200, { ticket: "t1", order_id: "o1", expires_at: 9e12 }] : [409, { code: "limit_reached" }];
  };
  const page = await open(t, { shop, token: ada });
  const more = page.panel.find((node) => node.textContent === "+");
  more.click();
  more.click();
  signedIn = false;
  page.button.click();
  await page.step(0);
  assert.equal(page.state(), "refusal-unauthenticated");
  page.button.focus();
  page.button.click();
  await settle();
  const dialog = document.body.find((node) => node.tag === "dialog" && node.open);
  dialog.find((node) => node.id === "user").value = "ada";
  dialog.find((node) => node.tag === "form").dispatchEvent(new Event("submit", { cancelable: true }));
  await page.step(0);
  assert.equal(page.asked.find(({ what }) => what === "POST /buy/orders").body.quantity, 3);
  assert.equal(document.activeElement, page.button, "and the focus is back where it was");
});

test("a shop that is lost is said to be, and one that comes back is too", async (t) => {
  let lost = false;
  const page = await open(t, { gate: () => (lost ? null : [200, gateIn("open")]) });
  lost = true;
  for (let turn = 0; turn < 8; turn += 1) await page.step(10_000);
  const note = page.panel.find((node) => node.className === "panel-note");
  assert.match(note.textContent, /can't be reached/);
  assert.match(document.getElementById("announcer").textContent, /can't be reached/);
  lost = false;
  for (let turn = 0; turn < 6; turn += 1) await page.step(10_000);
  assert.equal(note.hidden, true);
});

test("following a link within the page does not interrupt a purchase; a refused card is told of", async (t) => {
  const shop = (what) => (what.endsWith("/tickets") ? new Promise(() => {}) : [404, {}]);
  const page = await open(t, { shop, token: ada });
  page.button.click();
  await settle();
  location.hash = "#panel";
  page.say("hashchange");
  await settle();
  assert.equal(page.state(), "attempt-ticket");
  location.hash = "#payment=failed";
  page.say("hashchange");
  assert.equal(location.hash, "");
});

test("the shop's clock judges a token, not a phone's that is an hour ahead", async (t) => {
  const hour = 3_600_000;
  const token = tokenOf({ sub: "ada", exp: Math.floor((Date.now() - hour / 2) / 1000) });
  const behind = () => [200, { ...gateIn("open"), now: Date.now() - hour, opens_at: opens - 2 * hour }];
  const page = await open(t, { gate: behind, token });
  await page.step(1_000);
  assert.equal(document.getElementById("account").lastChild.textContent, "Sign out");
});

/** Opens the page in a tab that holds a ticket of ada's, on a device whose clock is `aheadMs` ahead of the shop's. */
async function openWithTicket(t, { aheadMs, leftMs, doubtful = false, gate = () => true }) {
  const shopNow = () => Date.now() - aheadMs;
  const held = { ticket: "kept", order_id: "o1", expires_at: shopNow() + leftMs, quantity: 2, doubtful };
  globalThis.sessionStorage = memory({ "shop.token": ada, "shop.ticket.s.ada": JSON.stringify(held) });
  t.after(() => delete globalThis.sessionStorage);
  const shop = (what) => (what.endsWith("/buy/orders") ? [202, { order_id: "o1", status: "queued" }] : what.endsWith("/tickets") ? [200, { ticket: "new", order_id: "o2", expires_at: 9e12 }] : [404, { code: "order_not_found" }]);
  const page = await open(t, { shop, gate: async () => ((await gate()) ? [200, { ...gateIn("open"), now: shopNow() }] : [503, {}, { "retry-after": "5" }]) });
  const bought = () => page.asked.filter(({ what }) => what.startsWith("POST /buy/")).map(({ what, body }) => `${what} ${body?.ticket} ${body?.quantity}`);
  return { ...page, bought, kept: () => sessionStorage.getItem("shop.ticket.s.ada") };
}

test("a device that is two minutes ahead goes on with a ticket that is still good", async (t) => {
  const page = await openWithTicket(t, { aheadMs: 120_000, leftMs: 30_000 });
  assert.deepEqual(page.bought(), ["POST /buy/orders kept 2"]);
  assert.equal(page.state(), "order-queued");
});

test("a device that is ten minutes behind buys nothing by opening the page with an old ticket", async (t) => {
  const page = await openWithTicket(t, { aheadMs: -600_000, leftMs: -60_000 });
  assert.deepEqual(page.bought(), []);
  assert.equal(page.kept(), null);
});

test("an old ticket that may have bought something is looked up, and no more", async (t) => {
  const page = await openWithTicket(t, { aheadMs: -600_000, leftMs: -60_000, doubtful: true });
  assert.deepEqual(page.bought(), []);
  assert.ok(page.asked.some(({ what }) => what === "GET /api/v1/orders/o1"));
});

for (const [name, aheadMs, leftMs, bought] of [["it goes on", 120_000, 90_000, ["POST /buy/orders kept 2"]], ["it is given up", -120_000, -1_000, []]]) {
  test(`while nobody says the time a ticket is kept, and then ${name}`, async (t) => {
    let up = false;
    const page = await openWithTicket(t, { aheadMs, leftMs, gate: () => up });
    assert.deepEqual(page.bought(), []);
    assert.match(page.kept(), /kept/);
    up = true;
    await page.step(10_000);
    assert.deepEqual(page.bought(), bought);
    assert.equal(page.kept(), null);
  });
}

test("whoever signs out while the time is asked for does not buy", async (t) => {
  let told = null;
  const page = await openWithTicket(t, { aheadMs: 0, leftMs: 30_000, gate: () => new Promise((done) => (told = done)) });
  document.getElementById("account").lastChild.click();
  told(true);
  await settle();
  assert.deepEqual(page.bought(), []);
});

test("the gate is asked with the buyer's token, and without one that has ended", async (t) => {
  const token = tokenOf({ sub: "ada", exp: Math.floor(Date.now() / 1000) + 30 });
  const page = await open(t, { token });
  const gates = () => page.asked.filter(({ what }) => what.endsWith("/gate")).map(({ bearer }) => bearer);
  await page.step(25_000);
  assert.equal(gates().at(-1), token);
  const real = performance.now.bind(performance);
  t.mock.method(performance, "now", () => real() + 60_000);
  const before = gates().length;
  await page.step(25_000);
  assert.ok(gates().length > before);
  assert.equal(gates().at(-1), undefined);
});

test("a shop that says when to come back is not asked sooner, whatever wakes the page", async (t) => {
  let answer = [200, gateIn("open")];
  const page = await open(t, { gate: () => answer });
  const gates = () => page.asked.filter(({ what }) => what.endsWith("/gate")).length;
  answer = [503, { code: "unavailable" }, { "retry-after": "60" }];
  await page.step(25_000);
  const before = gates();
  const wakes = [() => page.say("online"), () => (page.show(false), page.show(true)), () => page.window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }))];
  for (const wake of wakes) {
    wake();
    await settle();
    await page.step(15_000);
    assert.equal(gates(), before);
  }
  page.show(false);
  await page.step(300_000);
  assert.equal(gates(), before, "a hidden tab does not ask");
  answer = [200, gateIn("open")];
  page.show(true);
  await page.step(95_000);
  assert.equal(gates() > before, true, "and afterwards it is");
});

test("a line that was lost without a word is tried again as soon as it is back", async (t) => {
  let up = true;
  const page = await open(t, { gate: () => (up ? [200, gateIn("open")] : null) });
  const gates = () => page.asked.filter(({ what }) => what.endsWith("/gate")).length;
  up = false;
  await page.step(25_000);
  const before = gates();
  page.say("online");
  await settle();
  assert.equal(gates(), before + 1);
});

test("a machine that slept asks for the time at once, and a gate that was stopped never again", async (t) => {
  const far = { ...gateIn("upcoming"), opens_at: Date.now() + 9e7 };
  const page = await open(t, { gate: () => [200, far] });
  const gates = () => page.asked.filter(({ what }) => what.endsWith("/gate")).length;
  await page.step(1_000);
  const before = gates();
  const real = Date.now;
  t.mock.method(Date, "now", () => real() + 3_600_000);
  await page.step(1_000);
  assert.equal(gates(), before + 1);
  await page.step(1_000);
  assert.equal(gates(), before + 1);

  const clock = { observe() {}, now: Date.now, forget() {} };
  const watch = watchGate({ sale: "s", clock, onGate() {}, onTrouble() {} });
  await settle();
  const watched = gates();
  watch.stop();
  await watch.refresh();
  assert.equal(gates(), watched);
});

test("a page whose scripts run says so, so that nobody is told to reload", async (t) => {
  await open(t, { gate: () => null });
  assert.ok(document.body.dataset.ready);
});

for (const state of ["open", "ended"]) {
  test(`a machine that slept while the tab was hidden shows the true time left to pay: ${state}`, async (t) => {
    let isLost = false;
    const order = { order_id: "o1", sale: "s", quantity: 1, amount_cents: 500, currency: "EUR", status: "pending_payment", created_at: 1, pay_by: Date.now() + 900_000 };
    const shop = (what) => (what.endsWith("/events") ? [503, {}, { "retry-after": "60" }] : what.includes("/orders/") ? [200, order] : null);
    const page = await open(t, { shop, token: ada, gate: () => (isLost ? null : [200, gateIn(state)]) });
    location.hash = "#order=o1";
    page.say("hashchange");
    await page.step(1_000);
    const left = () => page.panel.find((node) => node.className === "timer-plain").textContent;
    assert.match(left(), /^1[45]:/);
    page.show(false);
    await page.step(3_000);
    // The wall clock moves on by ten minutes, the tick stands still.
    const real = Date.now;
    t.mock.method(Date, "now", () => real() + 600_000);
    await page.step(3_000);
    // The first answer is lost, and whoever looks away meanwhile is told when they look again.
    isLost = true;
    page.show(true);
    await page.step(1_000);
    page.show(false);
    isLost = false;
    page.show(true);
    await page.step(3_000);
    assert.match(left(), /^[45]:/);
    document.getElementById("account").lastChild.click();
  });
}
