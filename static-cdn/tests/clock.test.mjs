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
