import assert from "node:assert/strict";
import { test } from "node:test";
import { createSseParser, readEvents } from "../assets/js/sse.js";

function parse(...chunks) {
  const events = [];
  const feed = createSseParser((event) => events.push(event));
  chunks.forEach(feed);
  return events;
}

test("an event is its fields up to the empty line", () => {
  assert.deepEqual(parse('event: status\ndata: {"a":1}\n\n'), [{ event: "status", data: '{"a":1}' }]);
});

test("every way to cut the text gives the same events", () => {
  const text = ": hello\r\n\r\nevent: status\r\ndata: one\r\ndata: two\r\n\r\nevent:status\ndata:three\n\n\rdata: x\r\r";
  const whole = parse(text, "\n");
  assert.equal(whole.length, 3);
  for (let cut = 1; cut < text.length; cut += 1) assert.deepEqual(parse(text.slice(0, cut), text.slice(cut), "\n"), whole);
  assert.deepEqual(parse(...text, "\n"), whole);
});

test("keepalives, unknown fields and events without data are passed over", () => {
  assert.deepEqual(parse(": ping\n\nid: 7\nretry: 10\n\nevent: status\n\n"), []);
});

test("an unfinished event is not an event", () => {
  assert.deepEqual(parse("event: status\ndata: half"), []);
});

test("one leading space belongs to the syntax, the next to the value", () => {
  assert.deepEqual(parse("data:  x\n\n"), [{ event: "message", data: " x" }]);
});

test("a line without end is refused instead of kept", () => {
  assert.throws(() => parse("data: ".padEnd(100_000, "x")));
});

/** Has the next stream say these pieces, and keeps what was asked for. */
function streamOf(t, pieces, { end = true } = {}) {
  const asked = {};
  t.mock.method(globalThis, "fetch", async (path, { signal }) => {
    Object.assign(asked, { path, signal });
    const body = new ReadableStream({
      start(stream) {
        signal.addEventListener("abort", () => stream.error(new Error("aborted")), { once: true });
        pieces.forEach((piece) => stream.enqueue(new TextEncoder().encode(piece)));
        if (end) stream.close();
      },
    });
    return new Response(body);
  });
  return asked;
}

test("a stream is read to its end", async (t) => {
  const asked = streamOf(t, ["data: o", "ne\n\ndata: two\n\n"]);
  const heard = [];
  await readEvents("/events", { onEvent: ({ data }) => heard.push(data) });
  assert.deepEqual([heard, asked.path, asked.signal.aborted], [["one", "two"], "/events", true]);
});

test("who has heard enough hangs up, and so does who is told to stop", async (t) => {
  const asked = streamOf(t, ["data: one\n\n"], { end: false });
  let over = false;
  await readEvents("/events", { onEvent: () => (over = true), isOver: () => over });
  assert.ok(asked.signal.aborted);
  const stop = new AbortController();
  await readEvents("/events", { signal: stop.signal, onEvent: () => stop.abort() });
  assert.ok(asked.signal.aborted);
});

test("a stream that nobody serves, or that falls silent, ends without an error", async (t) => {
  t.mock.method(globalThis, "fetch", async () => Promise.reject(new TypeError("no network")));
  await readEvents("/events", { onEvent: assert.fail });
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const asked = streamOf(t, [": keepalive\n\n"], { end: false });
  const reading = readEvents("/events", { onEvent: assert.fail });
  for (let turn = 0; turn < 50; turn += 1) await null;
  await new Promise(setImmediate);
  t.mock.timers.tick(44_000);
  assert.ok(!asked.signal.aborted);
  t.mock.timers.tick(2_000);
  assert.ok(asked.signal.aborted);
  await reading;
});
