// The shop's clock, as well as this page can know it.
//
// A sale opens by the stock store's clock, and a buyer's own clock may be minutes off. Each gate answer
// carries the server's `now`; it was read about half a round trip before the answer arrived. The answer
// with the shortest round trip has the least room for error, so that one is believed.

const SAMPLE_COUNT_MAX = 8;
// Clocks drift: an old sample is worth less than a fresh one.
const SAMPLE_AGE_MS_MAX = 10 * 60 * 1000;
// What two samples may differ by beyond what their round trips explain.
const SLACK_MS = 250;

/** `tick` must never jump when the user sets the computer's clock: `performance.now` fits. */
export function createClock(tick, wallNow) {
  let samples = [];
  let offset = null;
  const lead = () => wallNow() - tick();
  let leadSeen = lead();

  return {
    observe(serverNow, sentAt, receivedAt) {
      const roundTrip = receivedAt - sentAt;
      if (!Number.isFinite(serverNow) || !(roundTrip >= 0)) return;
      const fresh = { at: receivedAt, roundTrip, offset: serverNow + roundTrip / 2 - receivedAt };
      samples = samples.filter((sample) => receivedAt - sample.at < SAMPLE_AGE_MS_MAX).slice(1 - SAMPLE_COUNT_MAX);
      const quickest = (best, next) => (next.roundTrip < best.roundTrip ? next : best);
      const best = samples.length > 0 ? samples.reduce(quickest) : fresh;
      // The tick may stand still while the machine sleeps: then all that was learned before is wrong by the sleep.
      if (Math.abs(fresh.offset - best.offset) > (fresh.roundTrip + best.roundTrip) / 2 + SLACK_MS) samples = [];
      samples.push(fresh);
      offset = samples.reduce(quickest).offset;
    },
    /** After a sleep the tick may have stood still: what was learned before means nothing. */
    forget() {
      samples = [];
    },
    /** True when the tick has stood still, or the computer's clock was set, since this was last asked. */
    slipped() {
      const before = leadSeen;
      leadSeen = lead();
      return Math.abs(leadSeen - before) > SLACK_MS * 4;
    },
    synced: () => offset !== null,
    now: () => (offset === null ? wallNow() : tick() + offset),
    /** For judging what the server dated: 0 while its time is not known. */
    serverNow: () => (offset === null ? 0 : tick() + offset),
    tick,
  };
}
