import assert from "node:assert/strict";
import { test } from "node:test";
import { request } from "../assets/js/api.js";
import { purchase, shopFor } from "../assets/js/purchase.js";
import { PURCHASE_TRIES_MAX } from "../assets/js/schedule.js";

const refused = (status, code, more = {}) => ({ ok: false, status, code, retryAfterMs: 0, body: { code, ...more } });
const BUSY = refused(503, "overloaded");
const LOST = refused(0, "unreachable");
const placed = { ok: true, status: 202, body: { order_id: "order-1", status: "queued" } };
const NOT_FOUND = refused(404, "order_not_found");

/** A platform that answers from lists, and remembers what it was asked. */
function rig({ tickets = [], orders = [], finds = [], held = null, quantity = 1 }) {
  let issued = 0;
  const asked = [];
  const store = { held, read: () => store.held, write: (next) => (store.held = next), clear: () => (store.held = null) };
  const shop = {
    async ticket() {
      asked.push("ticket");
      issued += 1;
      return tickets.shift() ?? { ok: true, status: 200, body: { ticket: `t${issued}`, order_id: `order-${issued}`, expires_at: 1 } };
    },
    async order(ticket, count) {
      asked.push(`order ${ticket} ${count}`);
      assert.equal(store.held.doubtful, true, "written down before it is sent");
      return orders.shift() ?? placed;
    },
    async find(id) {
      asked.push(`find ${id}`);
      return finds.shift() ?? NOT_FOUND;
    },
    async freshPath() {
      asked.push("path");
    },
  };
  const steps = [];
  const run = () => purchase({ shop, store, quantity, sleep: async () => {}, random: () => 0.5, onStep: (step) => steps.push(step) });
  return { run, asked, steps, store };
}

test("a ticket, an order, and nothing is kept", async () => {
  const { run, asked, store } = rig({});
  assert.deepEqual(await run(), { order_id: "order-1", status: "queued" });
  assert.deepEqual(asked, ["ticket", "order t1 1"]);
  assert.equal(store.held, null);
});

test("after a 503, a 429 or a lost line the same ticket goes again", async () => {
  const { run, asked, steps } = rig({ orders: [BUSY, LOST, refused(429, "rate_limited")] });
  assert.equal((await run()).order_id, "order-1");
  assert.deepEqual(asked, ["ticket", "order t1 1", "order t1 1", "order t1 1", "order t1 1"]);
  const waits = steps.filter(({ step }) => step === "waiting");
  assert.equal(waits.length, 3);
  assert.ok(waits.every(({ waitMs, holdsTicket }) => waitMs > 0 && holdsTicket));
});

test("a ticket kept over a reload is sent, no new one taken", async () => {
  const { run, asked } = rig({ held: { ticket: "kept", order_id: "order-k", quantity: 1, doubtful: true } });
  await run();
  assert.deepEqual(asked, ["order kept 1"]);
});

test("the tries are bounded, and the ticket survives giving up", async () => {
  const { run, asked, store } = rig({ orders: Array(20).fill(BUSY) });
  const { refusal } = await run();
  assert.deepEqual([refusal.code, refusal.holdsTicket], ["overloaded", true]);
  assert.equal(asked.filter((entry) => entry.startsWith("order")).length, PURCHASE_TRIES_MAX);
  assert.equal(store.held.ticket, "t1");
  const none = await rig({ tickets: Array(20).fill(BUSY) }).run();
  assert.deepEqual([none.refusal.code, none.refusal.holdsTicket], ["overloaded", false]);
});

test("a plain refusal ends it without asking the order store", async () => {
  for (const refusal of [refused(409, "sold_out"), refused(409, "limit_reached"), refused(409, "not_enough", { available: 2 })]) {
    const { run, asked, store } = rig({ orders: [refusal] });
    assert.equal((await run()).refusal, refusal);
    assert.deepEqual(asked, ["ticket", "order t1 1"]);
    assert.equal(store.held, null);
  }
});

test("a refusal after a doubtful try is checked against the order itself", async () => {
  const found = { ok: true, status: 200, body: { order_id: "order-1", status: "pending_payment" } };
  const { run, asked } = rig({ orders: [LOST, refused(409, "sold_out"), refused(409, "sold_out")], finds: [BUSY, found] });
  assert.deepEqual(await run(), { order_id: "order-1", status: "pending_payment" });
  assert.deepEqual(asked.slice(-1), ["find order-1"]);
});

test("an expired ticket is replaced, a bounded number of times", async () => {
  const once = rig({ orders: [refused(422, "invalid_ticket")] });
  assert.equal((await once.run()).order_id, "order-1");
  assert.deepEqual(once.asked, ["ticket", "order t1 1", "ticket", "order t2 1"]);
  const always = rig({ orders: Array(9).fill(refused(422, "invalid_ticket")) });
  assert.equal((await always.run()).refusal.code, "invalid_ticket");
  assert.equal(always.asked.filter((entry) => entry === "ticket").length, 3);
});

test("another quantity takes another ticket, but only once the first one is known to have bought nothing", async () => {
  const sure = rig({ held: { ticket: "kept", order_id: "order-k", quantity: 1, doubtful: false }, quantity: 2 });
  await sure.run();
  assert.deepEqual(sure.asked, ["ticket", "order t1 2"]);
  const unsure = rig({ held: { ticket: "kept", order_id: "order-k", quantity: 1, doubtful: true }, quantity: 2 });
  await unsure.run();
  assert.deepEqual(unsure.asked, ["find order-k", "ticket", "order t1 2"]);
});

test("ticket_mismatch leads to the order that ticket already has", async () => {
  const found = { ok: true, status: 200, body: { order_id: "order-1", status: "paid" } };
  const { run } = rig({ orders: [refused(409, "ticket_mismatch")], finds: [found] });
  assert.deepEqual(await run(), { order_id: "order-1", status: "paid" });
});

test("a moved buy path is looked up, and only so often", async () => {
  const { run, asked } = rig({ tickets: Array(9).fill(refused(404, "unknown_path")) });
  assert.equal((await run()).refusal.code, "unknown_path");
  assert.deepEqual(asked, ["ticket", "path", "ticket", "path", "ticket"]);
});

test("signed out in the middle: the ticket waits for the same buyer", async () => {
  const { run, store } = rig({ orders: [refused(401, "unauthenticated")] });
  assert.equal((await run()).refusal.status, 401);
  assert.equal(store.held.ticket, "t1");
});

/** An answer whose body breaks off, as when a line goes down in the middle of it. */
const torn = (status) => new Response(new ReadableStream({ start: (body) => (body.enqueue(new TextEncoder().encode('{"ticket":')), body.error(new TypeError("connection lost"))) }), { status });

test("an answer that was granted and lost on its way is a line that is down; a refusal speaks without its body", async (t) => {
  for (const status of [200, 202]) {
    t.mock.method(globalThis, "fetch", async () => torn(status));
    const answer = await request("POST", "/buy/tickets");
    assert.deepEqual([answer.ok, answer.status, answer.code], [false, 0, "unreachable"]);
  }
  t.mock.method(globalThis, "fetch", async () => torn(503));
  assert.deepEqual([(await request("GET", "/x")).status, (await request("GET", "/x")).code], [503, "http_503"]);
  t.mock.method(globalThis, "fetch", async () => new Response("<h1>Sign in to the network</h1>", { status: 200 }));
  assert.equal((await request("GET", "/x")).code, "unreachable", "whose network answers for the shop has not reached it");
});

test("a ticket, and an order, whose answers broke off are asked for again", async (t) => {
  const [asked, tries] = [[], {}];
  t.mock.method(globalThis, "fetch", async (path, { body }) => {
    asked.push(`${path} ${body ? JSON.parse(body).ticket : ""}`.trim());
    const status = path.endsWith("/tickets") ? 200 : 202;
    tries[path] = (tries[path] ?? 0) + 1;
    return tries[path] === 1 ? torn(status) : Response.json(status === 200 ? { ticket: "t2", order_id: "o2", expires_at: 9 } : { order_id: "o2", status: "queued" }, { status });
  });
  const { store } = rig({});
  const gate = { latest: () => ({ buy: "/buy" }), refresh: async () => {} };
  const shop = shopFor({ gate, token: "t", isOver: () => false });
  const end = await purchase({ shop, store, quantity: 1, sleep: async () => {}, random: () => 0, onStep: () => {} });
  assert.equal(end.order_id, "o2");
  assert.deepEqual(asked, ["/buy/tickets", "/buy/tickets", "/buy/orders t2", "/buy/orders t2"]);
});
