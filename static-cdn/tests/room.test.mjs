// A place in the waiting room, from taking it to the turn.
import assert from "node:assert/strict";
import { test } from "node:test";

import { waitForTurn } from "../assets/js/room.js";

const keep = () => {
  let kept = null;
  return { read: () => kept, write: (place) => (kept = place), clear: () => (kept = null) };
};
const place = (more = {}) => ({ ok: true, status: 200, retryAfterMs: 0, body: { place: "p1", state: "upcoming", position: null, ...more } });
const refused = (status) => ({ ok: false, status, code: "c", retryAfterMs: 0, body: null });

/** A room that gives these answers and this news, one after the other. */
function room(answers, news = []) {
  const seen = { sent: [], told: [], pauses: 0 };
  const places = keep();
  const signal = AbortSignal.timeout(5_000);
  const ask = async (_, body) => (seen.sent.push(body.place), answers.shift() ?? refused(503));
  const end = waitForTurn({ sale: "s", token: "t", places, signal, onPlace: (now) => seen.told.push(now), ask, news: async () => news.shift() ?? null, pause: async () => (seen.pauses += 1) });
  return { seen, places, end };
}

test("a place is taken, kept, and given back until there is a pass", async () => {
  const { seen, places, end } = room([place(), place({ position: 3 })], [null, { state: "open", pass: "let in" }]);
  assert.equal((await end).pass, "let in");
  assert.deepEqual(seen.sent, [undefined, "p1"]);
  assert.equal(places.read(), "p1");
  assert.equal(seen.told.length, 2);
});

test("a room that is full or away is asked again, but not for ever", async () => {
  const { seen, end } = room([refused(503), refused(0), place({ pass: "now" })]);
  assert.equal((await end).pass, "now");
  assert.equal(seen.pauses, 2);
  const gone = room([]);
  assert.equal(await gone.end, null);
  assert.equal(gone.seen.sent.length, 20);
  const away = room(Array(20).fill(refused(0)));
  assert.equal((await away.end).status, 0, "out of reach is not full");
});

test("the end of the sale, a refusal, and leaving end the wait", async () => {
  const over = room([place()], [{ state: "ended" }]);
  assert.deepEqual([(await over.end).status, (await over.end).code, over.places.read()], [410, "ended", null]);
  const ended = room([place(), refused(410)]);
  assert.equal((await ended.end).status, 410);
  assert.equal(ended.places.read(), null, "a place that is good for nothing is not kept");
  const gone = await room([place(), refused(404)]).end;
  assert.deepEqual([gone.status, gone.code], [404, "waiting_room"], "a room that is taken away is a closed one");
  const stop = new AbortController();
  const ask = async () => (stop.abort(), place());
  assert.equal(await waitForTurn({ sale: "s", token: "t", places: keep(), signal: stop.signal, onPlace: () => {}, ask, news: async () => null }), null);
});

test("a sign-in that has run out is said to have, and costs no place", async () => {
  const out = room([place(), refused(401)]);
  assert.equal((await out.end).status, 401);
  assert.equal(out.places.read(), "p1");
});

test("the newest place is kept, whoever told it, and none that is told to somebody who left", async () => {
  const [places, stop, sent] = [keep(), new AbortController(), []];
  const ask = async (_, body) => (sent.push(body.place), place());
  const news = async ({ onPlace }) => {
    for (const told of [{ place: "p2" }, { position: 3 }]) onPlace(told);
    if (sent.length < 2) return null;
    stop.abort();
    onPlace({ place: "p3" });
    return null;
  };
  await waitForTurn({ sale: "s", token: "t", places, signal: stop.signal, onPlace: () => {}, ask, news, pause: async () => {} });
  assert.deepEqual(sent, [undefined, "p2"]);
  assert.equal(places.read(), "p2");
});

test("a turn that has come brings no place", async () => {
  const { places, end } = room([place(), { ...place(), body: { state: "open", pass: "now" } }]);
  await end;
  assert.equal(places.read(), "p1");
});

test("a place whose answer broke off is asked for again, and kept meanwhile", async (t) => {
  const places = keep();
  places.write("p1");
  const sent = [];
  t.mock.method(globalThis, "fetch", async (_, { body }) => {
    sent.push(JSON.parse(body).place);
    return sent.length === 1 ? new Response('{"place":', { status: 200 }) : Response.json({ state: "open", pass: "in" });
  });
  const end = await waitForTurn({ sale: "s", token: "t", places, signal: AbortSignal.timeout(5_000), onPlace: () => {}, pause: async () => {} });
  assert.equal(end.pass, "in");
  assert.deepEqual([sent, places.read()], [["p1", "p1"], "p1"]);
});
