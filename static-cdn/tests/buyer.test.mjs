// One buyer at one sale, against a shop that answers as told.
import assert from "node:assert/strict";
import { test } from "node:test";
// What is imported on demand is at hand here, so that no test waits for a disk.
import "../assets/js/order-stream.js";
import "../assets/js/room.js";
import "../assets/js/room-view.js";
import { createBuyer } from "../assets/js/buyer.js";
import { createClock } from "../assets/js/clock.js";
import { createSession } from "../assets/js/session.js";
import { panelView } from "../assets/js/panel-view.js";
import { installDom, memory, serve, settle, tokenOf } from "./fake-dom.mjs";

const BUSY = [503, { code: "overloaded" }, { "retry-after": "1" }];
const order = (status, more = {}) => ({ order_id: "o1", sale: "s", quantity: 1, amount_cents: 500, currency: "EUR", status, created_at: 1, pay_by: 9e12, ...more });
const now = Date.now();
const sale = { id: "s", price_cents: 500, currency: "EUR", per_user_limit: 4, pay_within_s: 300 };

/** A buyer who is signed in; `answers(what, call)` is the shop. */
function rig(answers, { load, kept = {}, user = "ada", hash = "", gateState = { state: "open", buy: "/buy", opens_at: 0, ends_at: 9e12 } } = {}) {
  installDom({ path: "/s/s", hash });
  const storage = memory(kept);
  const session = createSession(storage, () => 0);
  if (user) session.signIn(tokenOf({ sub: user }));
  const asked = serve(answers);
  const gate = { latest: () => gateState, refresh: async () => {} };
  const clock = createClock(() => performance.now(), Date.now);
  const sleeps = [];
  // A sleep lasts until the test lets it end, or is over at once.
  const pauses = { held: false };
  const sleep = () => (pauses.held ? new Promise((done) => sleeps.push(done)) : Promise.resolve());
  const buyer = createBuyer({ sale: "s", session, storage, gate, clock, changed: () => {}, sleep, load });
  session.onChange(buyer.resume);
  const view = () => panelView({ ...buyer.facts, sale, gate: gateState, now, user: session.user(), trouble: null });
  return { buyer, session, storage, asked, sleeps, pauses, view, orders: () => asked.filter(({ what }) => what === "POST /buy/orders") };
}

test("trying again sends the kept ticket, for as many as were wanted", async () => {
  let issued = 0;
  const shop = (what) => (what.endsWith("/tickets") ? [200, { ticket: `t${(issued += 1)}`, order_id: "o1", expires_at: 9e12 }] : BUSY);
  const { buyer, orders } = rig(shop);
  await buyer.buy(3);
  assert.equal(buyer.facts.refusal.code, "overloaded");
  assert.equal(buyer.facts.wanted, 3);
  await buyer.buy(buyer.facts.wanted);
  assert.equal(issued, 1);
  assert.ok(orders().length > 8 && orders().every(({ body }) => body.ticket === "t1" && body.quantity === 3));
});

test("what was wanted outlives a sign-in that had run out", async () => {
  const { buyer, session } = rig(() => [401, { code: "unauthenticated" }]);
  await buyer.buy(2);
  assert.equal(buyer.facts.refusal.status, 401);
  session.signIn(tokenOf({ sub: "ada" }));
  await settle();
  assert.equal(buyer.facts.wanted, 2);
});

test("another buyer ends the loop of the one before: nothing is sent in their name", async () => {
  const shop = (what) => (what.endsWith("/tickets") ? [200, { ticket: "a's", order_id: "o1", expires_at: 9e12 }] : BUSY);
  const { buyer, session, storage, asked, sleeps, pauses } = rig(shop);
  pauses.held = true;
  const buying = buyer.buy(1);
  await settle();
  assert.equal(sleeps.length, 1);
  const before = asked.length;
  session.signIn(tokenOf({ sub: "bob" }));
  await settle();
  sleeps.forEach((wake) => wake());
  await Promise.race([buying, settle(60)]);
  const after = asked.slice(before).map(({ what, bearer }) => `${what} ${bearer}`);
  assert.deepEqual(after, []);
  assert.equal(buyer.facts.attempt, null);
  assert.match(storage.getItem("shop.ticket.s.ada"), /a's/, "the ticket waits for its own buyer");
});

test("one token from beginning to end, whatever the tab holds later", async () => {
  const tokens = [];
  let changeOver = () => {};
  const shop = (what, { bearer }) => {
    tokens.push(bearer);
    changeOver();
    return what.endsWith("/tickets") ? [200, { ticket: "t", order_id: "o1", expires_at: 9e12 }] : [409, { code: "sold_out" }];
  };
  const { buyer, storage } = rig(shop);
  // Written behind the session's back, as another script of the same tab might: nobody was told.
  changeOver = () => storage.setItem("shop.token", tokenOf({ sub: "bob" }));
  await buyer.buy(1);
  assert.equal(new Set(tokens).size, 1);
});

test("an order that can't be read is looked up, and no place is claimed", async () => {
  let answer = [503, { code: "unavailable" }, { "retry-after": "30" }];
  const { buyer, session, view, storage } = rig(() => answer, { kept: { "shop.order.s.ada": "o1" } });
  const resumed = buyer.resume();
  assert.equal(view().key, "order-looking", "from the beginning: nobody is to buy a second time meanwhile");
  await resumed;
  await settle();
  assert.equal(view().key, "order-looking");
  assert.doesNotMatch(view().title, /place/);
  assert.equal(storage.getItem("shop.order.s.ada"), "o1");
  session.signOut();
});

test("an order that does not exist is forgotten, and said to be", async (t) => {
  const first = rig(() => [404, { code: "order_not_found" }], { kept: { "shop.order.s.ada": "o1" } });
  await first.buyer.resume();
  assert.equal(first.view().key, "refusal-order_not_found");
  assert.equal(first.storage.getItem("shop.order.s.ada"), null);

  t.mock.timers.enable({ apis: ["setTimeout"] });
  let answer = [200, order("queued")];
  const later = rig((what) => (what.endsWith("/events") ? [404, {}] : answer), { kept: { "shop.order.s.ada": "o1" } });
  await later.buyer.resume();
  await settle();
  assert.equal(later.view().key, "order-queued");
  answer = [404, { code: "order_not_found" }];
  for (let turn = 0; turn < 6; turn += 1) {
    t.mock.timers.tick(40_000);
    await settle();
  }
  assert.equal(later.view().key, "refusal-order_not_found");
  assert.equal(later.buyer.facts.order, null);
  assert.equal(later.storage.getItem("shop.order.s.ada"), null);
});

test("a refused card is told of once, and the order can be paid again", async () => {
  const kept = { "shop.order.s.ada": "o1", "shop.paying.o1": "1" };
  const shop = (what) => (what.endsWith("/events") ? [404, {}] : [200, order("pending_payment")]);
  const { buyer, session, view, storage } = rig(shop, { kept, hash: "#payment=failed" });
  await buyer.resume();
  await settle();
  assert.equal(location.hash, "");
  assert.equal(storage.getItem("shop.paying.o1"), null);
  assert.equal(view().key, "order-declined");
  assert.match(view().text, /Nothing was charged/);
  assert.equal(view().primary.action, "pay");
  session.signOut();
});

test("the news of a refused card waits for the sign-in, and is not told of a later order", async () => {
  const shop = (what) =>
    what.endsWith("/tickets") ? [200, { ticket: "t", order_id: "o2", expires_at: 9e12 }]
    : what.endsWith("/orders") ? [202, { order_id: "o2", status: "pending_payment" }]
    : what.startsWith("GET /api/v1/orders?") ? [200, { orders: [] }]
    : [200, order("pending_payment", { order_id: "o2" })];
  const { buyer, session, view } = rig(shop, { user: null, hash: "#payment=failed" });
  await buyer.resume();
  assert.equal(location.hash, "");
  session.signIn(tokenOf({ sub: "ada" }));
  await settle();
  await buyer.buy(1);
  await settle();
  assert.equal(view().key, "order-pending_payment");
  session.signOut();
});

test("a sign-in that runs out in the waiting room costs no place", async () => {
  const gateState = { state: "upcoming", room: true, opens_at: 9e12, ends_at: 9e12 };
  const { buyer, session, storage, asked, view } = rig(() => [401, { code: "unauthenticated" }], { kept: { "shop.place.s.ada": "p1" }, gateState });
  await buyer.join();
  assert.equal(view().key, "refusal-unauthenticated");
  assert.equal(storage.getItem("shop.place.s.ada"), "p1");
  serve((what, { body }) => (asked.push(body), [200, { place: "p1", state: "upcoming", position: null, pass: "in" }]));
  session.signIn(tokenOf({ sub: "ada" }));
  await settle();
  assert.equal(asked.at(-1).place, "p1", "the same place is taken up again");
});

test("an answer for a buyer who has left is nobody's", async () => {
  let answer = null;
  const { buyer, session, storage } = rig(() => new Promise((done) => (answer = done)));
  buyer.facts.order = order("pending_payment");
  const paying = buyer.pay();
  await settle();
  session.signIn(tokenOf({ sub: "bob" }));
  answer([200, { payment_url: "/pay/r1", reference: "r1" }]);
  await paying;
  assert.deepEqual(location.went, []);
  assert.equal(storage.getItem("shop.paying.o1"), null);
});

test("what follows an order is asked for again when the shop was too busy to give it", async () => {
  const tried = [];
  const load = async (file) => {
    tried.push(file);
    if (tried.length < 3) throw new TypeError("no network");
    return { followOrder: ({ onOrder }) => onOrder(order("paid")) };
  };
  const { buyer, view } = rig(() => [200, order("queued")], { load, kept: { "shop.order.s.ada": "o1" } });
  await buyer.resume();
  await settle();
  assert.deepEqual(tried, ["./order-stream.js", "./order-stream.js?again=1", "./order-stream.js?again=2"]);
  assert.equal(view().key, "order-paid");
});

test("an order is cancelled by whoever says so twice, and by nobody else", async () => {
  const shop = (what) => (what.endsWith("/cancel") ? [200, order("cancelled")] : what.endsWith("/events") ? [404, {}] : [200, order("pending_payment")]);
  const { buyer, session, asked, view } = rig(shop, { kept: { "shop.order.s.ada": "o1" } });
  await buyer.resume();
  await settle();
  const dialog = () => document.body.find((node) => node.tag === "dialog");
  const cancels = () => asked.filter(({ what }) => what === "POST /api/v1/orders/o1/cancel").length;
  for (const leave of [() => dialog().escape(), () => dialog().close(document.activeElement.value)]) {
    buyer.cancel();
    await settle();
    assert.equal(document.activeElement.textContent, "Keep my order");
    assert.ok(document.getElementById(dialog().getAttribute("aria-labelledby")).textContent.length > 0);
    leave();
    await settle();
    assert.deepEqual([dialog(), cancels(), view().key], [null, 0, "order-pending_payment"]);
  }
  buyer.cancel();
  await settle();
  dialog().close(dialog().find((node) => /^Yes/.test(node.textContent) && node.tag === "button").value);
  await settle();
  assert.deepEqual([cancels(), view().key], [1, "order-cancelled"]);
  session.signOut();
});

/** Gives the real module after `failures` failed askings, and fails like a browser: what failed once fails again. */
function losing(name, failures) {
  const tried = [];
  const load = async (file) => {
    if (!file.includes(`/${name}.js`)) return import(`../assets/js/${file.slice(2)}`);
    assert.ok(!tried.includes(file), "a browser remembers that this one failed");
    tried.push(file);
    if (tried.length <= failures) throw new TypeError("no network");
    return import(`../assets/js/${name}.js`);
  };
  return { tried, load };
}
const ROOM = { state: "open", buy: "/buy", room: true, opens_at: 0, ends_at: 9e12 };
const letIn = (what, { body } = {}) =>
  what.endsWith("/waiting-room") ? [200, { state: "open", pass: "in", pass_ends_at: 9e12 }]
  : what.endsWith("/tickets") ? (body?.pass ? [200, { ticket: "t", order_id: "o1", expires_at: 9e12 }] : [403, { code: "waiting_room" }])
  : what === "POST /buy/orders" ? [202, { order_id: "o1", status: "queued" }]
  : what.endsWith("/events") ? [404, {}] : [200, order("paid")];

for (const name of ["entry", "room", "order-stream"]) {
  test(`${name}.js lost once at the rush costs a moment, and not the purchase`, async () => {
    const { tried, load } = losing(name, 1);
    const { buyer, view } = rig(letIn, { load, gateState: ROOM });
    await buyer.buy(1);
    await settle();
    assert.equal(view().key, "order-paid");
    assert.deepEqual(tried, [`./${name}.js`, `./${name}.js?again=1`]);
  });
}

for (const name of ["entry", "room"]) {
  test(`${name}.js that does not come is a line that is down, no closed room, and the next press asks anew`, async () => {
    const lost = losing(name, 24);
    const { buyer, view } = rig(letIn, { load: lost.load, gateState: ROOM });
    await buyer.buy(1);
    assert.equal(view().key, "refusal-unreachable");
    assert.equal(lost.tried.length, 24, "three askings in each of eight tries");
    await buyer.buy(1);
    await settle();
    assert.equal(view().key, "order-paid");
  });
}

test("where the gate tells of a room, its words come and so does its door, before anybody presses", async () => {
  const { tried, load } = losing("room-view", 1);
  const asked = [];
  const { buyer, view, asked: sent } = rig(letIn, { load: (file) => (asked.push(file), load(file)), gateState: ROOM });
  assert.equal(view().key, "gate-open", "until then the gate's own words do");
  buyer.gateNews(0);
  await settle();
  assert.equal(view().key, "room-open");
  assert.equal(tried.length, 2);
  assert.ok(asked.includes("./room.js"));
  assert.deepEqual(sent, [], "no place is taken for somebody who did not ask for one");
});

for (const state of ["upcoming", "open"]) {
  test(`nobody is told of a place, or of a draw, before the shop has given it: ${state}`, async () => {
    let answer = null;
    const gateState = { ...ROOM, state, opens_at: state === "upcoming" ? 9e12 : 0 };
    const { buyer, session, view } = rig((what) => (what.endsWith("/waiting-room") ? new Promise((done) => (answer = done)) : [404, {}]), { gateState });
    buyer.gateNews(0);
    buyer.join();
    await settle();
    assert.deepEqual([view().key, view().tone, view().busy, view().primary.disabled], ["room-asking", "wait", true, true]);
    assert.doesNotMatch(view().title + view().text, /take part|the draw is|in line/i);
    answer([200, { place: "p1", state, position: state === "open" ? 4 : null }]);
    await settle();
    assert.equal(view().key, state === "open" ? "room-line" : "room-joined");
    session.signOut();
  });
}

test("an order that is still being written is in no list, and is not said to be none", async () => {
  const shop = (what) => (what.startsWith("GET /api/v1/orders?") ? [200, { orders: [order("expired")] }] : what.endsWith("/tickets") ? [200, { ticket: "t", order_id: "o2", expires_at: 9e12 }] : [409, { code: "limit_reached" }]);
  const { buyer, view } = rig(shop);
  await buyer.buy(1);
  await buyer.findMine();
  assert.match(buyer.facts.note, /just placed.*in a moment/);
  assert.doesNotMatch(buyer.facts.note, /none of your/i);
  assert.equal(view().primary.action, "my-order", "looking again is one press");
});

const streamed = (...told) => new Response(told.map((news) => `event: place\ndata: ${JSON.stringify(news)}\n\n`).join(""));

test("a sale that ends while somebody waits in line has ended: no closed room, and no number in line", async () => {
  const { buyer, view, storage } = rig((what) => (what.endsWith("/tickets") ? [403, { code: "waiting_room" }] : [200, { place: "p1", state: "open", position: 7 }]), { gateState: ROOM });
  buyer.gateNews(0);
  const answered = globalThis.fetch;
  globalThis.fetch = (path, options) => (path.endsWith("/events") ? Promise.resolve(streamed({ state: "ended", position: 7 })) : answered(path, options));
  await buyer.buy(1);
  assert.deepEqual([buyer.facts.refusal.code, view().key, view().title], ["ended", "refusal-ended", "This sale has ended"]);
  assert.deepEqual([buyer.facts.room, storage.getItem("shop.place.s.ada")], [null, null]);
});

test("a place kept for a sale that has ended is no waiting room that can't be reached", async () => {
  const gateState = { state: "ended", room: true, opens_at: 0, ends_at: 1 };
  const { buyer, view, storage } = rig(() => [410, { code: "ended" }], { kept: { "shop.place.s.ada": "p1" }, gateState });
  buyer.gateNews(0);
  await buyer.resume();
  await settle();
  assert.equal(view().title, "This sale has ended");
  assert.equal(buyer.facts.note, "");
  assert.equal(storage.getItem("shop.place.s.ada"), null);
});
