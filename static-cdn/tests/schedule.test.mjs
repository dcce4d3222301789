import assert from "node:assert/strict";
import { test } from "node:test";
import { calmPollMs, gatePollMs, gateRetryMs, orderPollMs, PURCHASE_TRIES_MAX, purchaseRetryMs, retryAfterMs } from "../assets/js/schedule.js";

const chances = [0, 0.25, 0.5, 0.75, 0.999];
const upcoming = (msToOpen, random = 0.5, floorMs = 0) => gatePollMs({ state: "upcoming", msToOpen, random, floorMs });

test("the gate is asked seldom from afar and more often when it is near", () => {
  const paces = [86_400_000, 1_800_000, 120_000, 20_000].map((ms) => upcoming(ms));
  assert.deepEqual([...paces].sort((a, b) => b - a), paces);
  assert.ok(paces[0] >= 240_000 && paces.at(-1) >= 3_000);
});

test("whatever the pace, one asking falls just behind the opening and never before it", () => {
  for (const random of chances) {
    const wait = upcoming(2_500, random, 15_000);
    assert.ok(wait > 2_500 && wait <= 3_000, `${wait}`);
  }
});

test("a gate that is late is asked about once a second, not faster", () => {
  for (const random of chances) assert.ok(upcoming(-10, random) >= 850);
});

test("once open the page all but stops asking; ended is never asked again", () => {
  for (const random of chances) assert.ok(gatePollMs({ state: "open", msToOpen: -1, random }) >= 15_000);
  assert.ok(gatePollMs({ state: "sold_out", msToOpen: -1, random: 0 }) >= 4_000);
  assert.equal(gatePollMs({ state: "ended", msToOpen: -1, random: 0 }), null);
});

test("the floor slows every pace down", () => {
  assert.ok(gatePollMs({ state: "paused", msToOpen: -1, random: 0, floorMs: 15_000 }) >= 15_000);
});

test("failures space the askings out, up to a cap, and Retry-After is never undercut", () => {
  assert.ok(gateRetryMs({ failures: 1, random: 0 }) < gateRetryMs({ failures: 4, random: 0 }));
  assert.equal(gateRetryMs({ failures: 40, random: 0 }), 30_000);
  assert.ok(gateRetryMs({ failures: 1, retryAfterMs: 9_000, random: 0 }) >= 9_000);
});

test("a purchase waits at least Retry-After, jittered, bounded", () => {
  for (let tries = 1; tries <= PURCHASE_TRIES_MAX; tries += 1) {
    for (const random of chances) {
      const wait = purchaseRetryMs({ tries, retryAfterMs: 2_000, random });
      assert.ok(wait >= 2_000 && wait <= 15_000, `${wait}`);
    }
  }
  const spread = new Set(chances.map((random) => purchaseRetryMs({ tries: 1, retryAfterMs: 1_000, random })));
  assert.equal(spread.size, chances.length);
});

test("orders are read no more than every two seconds", () => {
  for (const random of chances) assert.ok(orderPollMs({ random }) >= 2_000);
  assert.ok(orderPollMs({ failures: 9, random: 1 }) <= 30_000);
  for (const random of chances) assert.ok(calmPollMs(random) >= 30_000 && calmPollMs(random) <= 60_000);
});

test("Retry-After is whole seconds or nothing", () => {
  assert.equal(retryAfterMs("3"), 3_000);
  for (const odd of [null, "", "soon", "-1", "1.5", "Wed, 21 Oct 2026 07:28:00 GMT"]) assert.equal(retryAfterMs(odd), 0);
});
