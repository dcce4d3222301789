// When to ask again. Everything here is arithmetic: time and chance come in as arguments.
//
// A flash sale's page is open in very many windows at once. If they all asked at the same moment, or all
// came back together after a refusal, the pages themselves would be the attack; hence jitter everywhere.

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;

/** [the opening is at most this far away, ask this often] */
const UPCOMING_PACE = [
  [3 * SECOND_MS, SECOND_MS],
  [30 * SECOND_MS, 4 * SECOND_MS],
  [5 * MINUTE_MS, 15 * SECOND_MS],
  [60 * MINUTE_MS, MINUTE_MS],
];
const UPCOMING_FAR_MS = 5 * MINUTE_MS;
const PACE_MS = { open: 20 * SECOND_MS, paused: 5 * SECOND_MS, sold_out: 5 * SECOND_MS };
// Pages aim just behind the opening, spread over this much, so that the gate says "open" at the first asking.
const OPENING_SPREAD_MS = 400;

/** Milliseconds until the gate is worth asking again; `null` when it never will be. */
export function gatePollMs({ state, msToOpen, random, floorMs = 0 }) {
  if (state === "ended") return null;
  const jitter = 0.85 + 0.3 * random;
  if (state !== "upcoming") return Math.max(floorMs, (PACE_MS[state] ?? 10 * SECOND_MS) * jitter);
  const step = UPCOMING_PACE.find(([within]) => msToOpen <= within);
  const pace = Math.max(floorMs, (step ? step[1] : UPCOMING_FAR_MS) * jitter);
  if (msToOpen <= 0) return pace;
  return Math.min(pace, msToOpen + 40 + OPENING_SPREAD_MS * random);
}

/** After `failures` failed askings in a row (1 = the first). */
export function gateRetryMs({ failures, retryAfterMs = 0, random }) {
  const grown = Math.min(30 * SECOND_MS, SECOND_MS * 2 ** (failures - 1));
  return Math.max(retryAfterMs, grown) * (1 + 0.5 * random);
}

export const PURCHASE_TRIES_MAX = 8;

/**
 * Before try number `tries + 1` of a purchase. Retry-After is a floor, never shortened: a page that comes
 * back early only makes the rush longer. Without one (a lost connection) the wait doubles up to a cap.
 */
export function purchaseRetryMs({ tries, retryAfterMs = 0, random }) {
  const grown = Math.min(12 * SECOND_MS, 600 * 2 ** (tries - 1));
  const floor = Math.max(retryAfterMs, grown / 2);
  return Math.round(floor + random * Math.max(grown / 2, floor / 2));
}

/** Between two readings of an order when its stream cannot be had. */
export function orderPollMs({ failures = 0, retryAfterMs = 0, random }) {
  const grown = Math.min(20 * SECOND_MS, 2 * SECOND_MS * 2 ** failures);
  return Math.max(retryAfterMs, grown) * (1 + 0.5 * random);
}

/** Between two readings of a buyer's orders while none is on its way. */
export const calmPollMs = (random) => 30 * SECOND_MS * (1 + random);

/** Between two readings of the list of sales. */
export const salesPollMs = (random) => 4 * MINUTE_MS * (0.75 + 0.5 * random);

/** `Retry-After` comes as whole seconds; anything else counts as absent. */
export function retryAfterMs(header) {
  return /^\d{1,6}$/.test(header ?? "") ? Number(header) * SECOND_MS : 0;
}
