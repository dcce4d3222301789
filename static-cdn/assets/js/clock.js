// The shop's clock, as well as this page can know it.
//
// A sale opens by the stock store's clock, and a buyer's own clock may be minutes off. Each gate answer
// carries the server's `now`; it was read about half a round trip before the answer arrived. The answer
// with the shortest round trip has the least room for error, so that one is believed.

const SAMPLE_COUNT_MAX = 8;
// Clocks drift, and a laptop's timer may stop while it sleeps: an old sample is worth less than a fresh one.
const SAMPLE_AGE_MS_MAX = 10 * 60 * 1000;

/** `tick` must never jump when the user sets the computer's clock: `performance.now` fits. */
export function createClock(tick, wallNow) {
  let samples = [];
  let offset = null;

  return {
    observe(serverNow, sentAt, receivedAt) {
      const roundTrip = receivedAt - sentAt;
      if (!Number.isFinite(serverNow) || !(roundTrip >= 0)) return;
      samples = samples
        .filter((sample) => receivedAt - sample.at < SAMPLE_AGE_MS_MAX)
        .slice(1 - SAMPLE_COUNT_MAX);
      samples.push({ at: receivedAt, roundTrip, offset: serverNow + roundTrip / 2 - receivedAt });
      offset = samples.reduce((best, next) => (next.roundTrip < best.roundTrip ? next : best)).offset;
    },
    /** After a sleep the tick may have stood still: what was learned before means nothing. */
    forget() {
      samples = [];
    },
    synced: () => offset !== null,
    now: () => (offset === null ? wallNow() : tick() + offset),
    tick,
  };
}
