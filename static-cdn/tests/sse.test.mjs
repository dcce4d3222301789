import assert from "node:assert/strict";
import { test } from "node:test";
import { createSseParser } from "../assets/js/sse.js";

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
