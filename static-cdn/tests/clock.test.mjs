import assert from "node:assert/strict";
import { test } from "node:test";
import { createClock } from "../assets/js/clock.js";

function at(start) {
  let tick = start;
  return { clock: createClock(() => tick, () => 5_000_000), set: (next) => (tick = next) };
}

test("without any answer the buyer's own clock has to do", () => {
  const { clock } = at(0);
  assert.equal(clock.synced(), false);
  assert.equal(clock.now(), 5_000_000);
});

test("half the round trip is added to the server's time", () => {
  const { clock, set } = at(1_000);
  clock.observe(90_000, 1_000, 1_200);
  set(1_200);
  assert.equal(clock.now(), 90_100);
  set(2_200);
  assert.equal(clock.now(), 91_100);
});

test("the quickest answer is believed, not the latest", () => {
  const { clock, set } = at(0);
  clock.observe(100_000, 0, 20);
  clock.observe(100_900, 500, 2_500);
  set(3_000);
  assert.equal(clock.now(), 102_990);
});

test("a slow answer counts again once the quick one is old or forgotten", () => {
  const { clock, set } = at(0);
  clock.observe(100_000, 0, 20);
  clock.forget();
  clock.observe(200_000, 1_000, 2_000);
  set(2_000);
  assert.equal(clock.now(), 200_500);
  const late = 2_000 + 11 * 60_000;
  clock.observe(900_000, late - 3_000, late);
  set(late);
  assert.equal(clock.now(), 901_500);
});

test("nonsense is not learned from", () => {
  const { clock } = at(0);
  clock.observe(undefined, 0, 10);
  clock.observe(100, 10, 0);
  assert.equal(clock.synced(), false);
});

test("a tick that stood still during a sleep does not hold the old time against the new", () => {
  const { clock, set } = at(0);
  clock.observe(100_000, 0, 20);
  // An hour's sleep later the tick has moved by ten seconds only, and the fresh answer is a slow one.
  clock.observe(3_710_000, 10_000, 10_400);
  set(10_400);
  assert.equal(clock.now(), 3_710_200);
  clock.observe(3_712_000, 12_000, 12_010);
  set(12_010);
  assert.equal(clock.now(), 3_712_005);
});

test("what two round trips explain is no sleep", () => {
  const { clock, set } = at(0);
  clock.observe(100_000, 0, 100);
  clock.observe(102_000, 1_000, 3_000);
  set(3_000);
  assert.equal(clock.now(), 102_950, "1 050 ms apart, of which 1 300 may be chance");
});

test("a sleep is noticed by the two clocks of the machine parting", () => {
  let [tick, wall] = [0, 5_000];
  const clock = createClock(() => tick, () => wall);
  [tick, wall] = [1_000, 6_010];
  assert.equal(clock.slipped(), false);
  [tick, wall] = [2_000, 3_606_010];
  assert.equal(clock.slipped(), true);
  assert.equal(clock.slipped(), false, "said once");
});

test("before the shop has said the time, nothing it dated is judged", () => {
  const { clock, set } = at(0);
  assert.equal(clock.serverNow(), 0);
  clock.observe(90_000, 0, 0);
  set(500);
  assert.equal(clock.serverNow(), 90_500);
});
