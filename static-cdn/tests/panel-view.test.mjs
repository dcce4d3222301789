import assert from "node:assert/strict";
import { test } from "node:test";
import { panelView } from "../assets/js/panel-view.js";
import * as roomViews from "../assets/js/room-view.js";

const sale = { id: "s", title: "S", price_cents: 19_900, currency: "EUR", stock: 500, per_user_limit: 2, opens_at: 1_000_000, ends_at: 9_000_000, pay_within_s: 300 };
const gateIn = (state) => ({ state, opens_at: sale.opens_at, ends_at: sale.ends_at, ...(state === "open" ? { buy: "/api/v1/buy/x" } : {}) });
const order = (status, more = {}) => ({ order_id: "o", sale: "s", quantity: 1, amount_cents: 19_900, currency: "EUR", status, created_at: 1, pay_by: status === "queued" ? null : 2_000_000, ...more });
const view = (facts) => panelView({ sale, gate: gateIn("open"), now: 1_500_000, user: "ada", attempt: null, refusal: null, order: null, trouble: null, roomViews, ...facts });
const refusal = (status, code, body = {}) => ({ refusal: { status, code, body } });
const waiting = (status) => ({ attempt: { step: "waiting", status, code: "c", tries: 1, triesMax: 8, retryAt: 5, holdsTicket: true } });

const EVERY = {
  loading: { gate: null, sale: null },
  unreachable: { gate: null, trouble: { code: "unreachable" } },
  unknown: { gate: null, sale: null, trouble: { code: "sale_not_found" } },
  ...Object.fromEntries(["upcoming", "open", "paused", "sold_out", "ended"].map((state) => [state, { gate: gateIn(state) }])),
  ticket: { attempt: { step: "ticket" } },
  order: { attempt: { step: "order" } },
  busy: waiting(503),
  limited: waiting(429),
  lost: waiting(0),
  ...Object.fromEntries(["queued", "pending_payment", "paid", "expired", "cancelled", "rejected", "refunded"].map((status) => [`order ${status}`, { order: order(status) }])),
  ...Object.fromEntries(
    [[401, "unauthenticated"], [403, "not_open"], [403, "paused"], [404, "unknown_path"], [409, "sold_out"], [409, "limit_reached"], [410, "ended"], [422, "invalid_ticket"], [422, "invalid_quantity"], [429, "rate_limited"], [503, "overloaded"], [0, "unreachable"]].map(([status, code]) => [`refused ${code}`, refusal(status, code)]),
  ),
  "room, nobody signed in": { gate: { ...gateIn("upcoming"), room: true }, now: 1, user: null },
  "room, not joined": { gate: { ...gateIn("upcoming"), room: true }, now: 1 },
  "room, asked for a place": { gate: { ...gateIn("upcoming"), room: true }, now: 1, room: { asking: true } },
  "room, joined": { gate: { ...gateIn("upcoming"), room: true }, now: 1, room: { state: "upcoming", position: null } },
  "room, open, not joined": { gate: { ...gateIn("open"), room: true } },
  "room, in line": { gate: { ...gateIn("open"), room: true }, room: { state: "open", position: 7, wait_s: 3 } },
  "room, sold out": { gate: { ...gateIn("sold_out"), room: true }, room: { state: "sold_out", position: 7, wait_s: 3 } },
  "room, let in": { gate: { ...gateIn("open"), room: true }, room: { state: "open", pass: "p", pass_ends_at: 1_600_000 } },
  looking: { order: { order_id: "o", status: "unknown" } },
  declined: { order: order("pending_payment"), declined: true },
  ...Object.fromEntries([[403, "proof_left"], [403, "proof_undone"], [403, "proof_required"], [404, "order_not_found"]].map(([status, code]) => [`refused ${code}`, refusal(status, code)])),
  "refused not_enough": refusal(409, "not_enough", { available: 2 }),
};

test("every situation has a view of its own that says something and offers at most one main thing", () => {
  const keys = new Set();
  for (const [name, facts] of Object.entries(EVERY)) {
    const seen = view(facts);
    assert.ok(seen.title.length > 0, name);
    assert.ok(seen.primary === null || seen.primary.label.length > 0, name);
    assert.ok(["calm", "live", "wait", "good", "warn", "bad"].includes(seen.tone), name);
    assert.ok(!keys.has(seen.key), `${name} looks like another: ${seen.key}`);
    keys.add(seen.key);
  }
});

test("buying is possible only through an open gate that names its path", () => {
  for (const state of ["upcoming", "paused", "sold_out"]) assert.equal(view({ gate: gateIn(state) }).primary.disabled, true, state);
  assert.equal(view({ gate: { ...gateIn("open"), buy: undefined } }).primary.disabled, true);
  assert.ok(!view({}).primary.disabled);
  assert.equal(view({ gate: gateIn("ended") }).primary.action, "home");
});

test("a countdown that has run out does not open anything by itself", () => {
  const seen = view({ gate: gateIn("upcoming"), now: sale.opens_at + 1 });
  assert.equal(seen.primary.disabled, true);
  assert.match(seen.title, /Opening/);
});

test("an order comes before a purchase, a purchase before a refusal, a refusal before the gate", () => {
  const all = { order: order("paid"), attempt: { step: "ticket" }, ...refusal(409, "sold_out") };
  assert.equal(view(all).key, "order-paid");
  assert.equal(view({ ...all, order: null }).key, "attempt-ticket");
  assert.equal(view({ ...all, order: null, attempt: null }).key, "refusal-sold_out");
});

test("an order can be paid and cancelled while it waits for payment, and only then", () => {
  const pending = view({ order: order("pending_payment") });
  assert.deepEqual([pending.primary.action, pending.secondary[0].action, pending.timer.to], ["pay", "cancel", 2_000_000]);
  assert.equal(view({ order: order("queued") }).primary.disabled, true);
  assert.equal(view({ order: order("queued") }).secondary.length, 0);
  const late = view({ order: order("pending_payment"), now: 2_000_001 });
  assert.equal(late.primary.disabled, true);
  assert.equal(late.secondary.length, 0);
});

test("right after the 202 only id and status are known, and that is enough", () => {
  assert.equal(view({ order: { order_id: "o", status: "pending_payment" } }).key, "order-queued");
});

test("not enough offers what is left", () => {
  const seen = view(EVERY["refused not_enough"]);
  assert.deepEqual(seen.primary, { action: "take", label: "Take 2", quantity: 2 });
});

test("buying again is offered only while the sale is open", () => {
  assert.equal(view({ order: order("expired") }).primary.action, "again");
  assert.equal(view({ order: order("expired"), gate: gateIn("ended") }).primary, null);
});

test("the quantity is asked for only where more than one may be had", () => {
  assert.equal(view({}).quantity, true);
  assert.equal(view({ sale: { ...sale, per_user_limit: 1 } }).quantity, false);
});

test("a waiting room is joined before the opening, and buying takes a turn that is not over", () => {
  assert.equal(view(EVERY["room, nobody signed in"]).primary.action, "sign-in-and-join");
  assert.equal(view(EVERY["room, not joined"]).primary.action, "join");
  assert.equal(view(EVERY["room, joined"]).primary.disabled, true);
  assert.match(view(EVERY["room, in line"]).title, /number 7/);
  assert.equal(view(EVERY["room, in line"]).primary.disabled, true);
  const turn = EVERY["room, let in"];
  assert.deepEqual([view(turn).key, view(turn).primary.action], ["room-turn", "buy"]);
  assert.equal(view({ ...turn, now: 1_600_000 }).key, "room-open");
  assert.equal(view({ ...turn, gate: gateIn("open") }).key, "gate-open", "a sale without a room");
});

test("whoever pressed before their turn sees the line and not a spinner", () => {
  const pressed = { ...EVERY["room, in line"], attempt: { step: "ticket" } };
  assert.equal(view(pressed).key, "room-line");
  assert.equal(view({ ...pressed, room: EVERY["room, let in"].room }).key, "attempt-ticket");
  assert.equal(view({ ...pressed, roomViews: null }).key, "attempt-ticket", "nor waits for the words to come");
});

test("a ticket is called kept only where there is one", () => {
  const busy = (holdsTicket) => view({ refusal: { status: 503, code: "overloaded", holdsTicket } }).text;
  assert.match(busy(true), /ticket is kept/);
  assert.doesNotMatch(busy(false), /ticket/);
});

test("unknown codes still get an answer", () => {
  assert.equal(view(refusal(418, "teapot")).key, "refusal-other");
  assert.equal(view(refusal(502, "http_502")).key, "refusal-busy");
});

test("a shop that does not answer is said to be lost, whatever was known before", () => {
  const lost = { trouble: { status: 0, code: "unreachable" } };
  for (const state of ["upcoming", "open", "paused", "sold_out"]) {
    assert.match(view({ gate: gateIn(state), now: 1, ...lost }).note, /can't be reached/, state);
    assert.equal(view({ gate: gateIn(state), now: 1 }).note, "", state);
  }
  assert.match(view({ ...refusal(409, "sold_out"), ...lost }).note, /can't be reached/);
  assert.equal(view({ gate: gateIn("ended"), ...lost }).note, "", "an ended sale has no more news");
  assert.equal(view({ order: order("queued"), ...lost }).note, "");
  assert.equal(view({ attempt: { step: "ticket" }, ...lost }).note, "");
});

test("offline at the opening nobody is promised any moment now", () => {
  const lost = { trouble: { status: 0, code: "unreachable" } };
  for (const gate of [gateIn("upcoming"), { ...gateIn("open"), buy: undefined }]) {
    assert.match(view({ gate }).text, /Any moment/);
    assert.equal(view({ gate, ...lost }).key, "unreachable");
    assert.match(view({ gate, trouble: { status: 503, code: "overloaded" } }).text, /very busy/);
  }
});

test("an open sale says so, and nobody is promised an order that lots may decide", () => {
  assert.equal(view({}).title, "On sale now");
  for (const facts of Object.values(EVERY)) assert.doesNotMatch(`${view(facts).title} ${view(facts).text}`, /first come/i);
});

test("only what the shop has confirmed is called a place", () => {
  for (const status of ["unknown", "something-new"]) assert.equal(view({ order: { order_id: "o", status } }).key, "order-looking");
  for (const status of ["paid", "refunded"]) assert.equal(view({ order: { order_id: "o", status } }).key, "order-looking", `${status}, sum unknown`);
});

test("a refusal that speaks of the sale's state waits for that state", () => {
  for (const code of ["not_open", "ended", "sold_out", "paused"]) {
    assert.equal(view({ gate: null, ...refusal(403, code) }).key, "loading");
    assert.equal(view({ ...refusal(403, code) }).key, `refusal-${code}`);
  }
});
