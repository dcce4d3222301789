// Watches one sale's gate: asks it at the pace `schedule.js` sets, rests while the tab is hidden, keeps the
// clock in step. It reports; it decides nothing.

import { get, paths } from "./api.js";
import { gatePollMs, gateRetryMs } from "./schedule.js";

/** With the buyer's token, if there is one: all strangers of an address share one allowance. */
export function watchGate({ sale, clock, onGate, onTrouble, token = () => null, floorMs = 0 }) {
  let latest = null;
  let failures = 0;
  let timer = null;
  let asking = null;
  let stopped = false;
  // What the shop has asked for.
  let notBefore = 0;

  async function ask() {
    clearTimeout(timer);
    const answer = await get(paths.gate(sale), { token: token() });
    if (stopped) return;
    if (answer.ok) {
      failures = 0;
      latest = answer.body;
      clock.observe(latest.now, answer.sentAt, answer.receivedAt);
      onGate(latest, answer.sentAt);
      plan(gatePollMs({ state: latest.state, msToOpen: latest.opens_at - clock.now(), random: Math.random(), floorMs }));
    } else {
      failures += 1;
      const waitMs = gateRetryMs({ failures, retryAfterMs: answer.retryAfterMs, random: Math.random() });
      notBefore = answer.retryAfterMs > 0 ? performance.now() + waitMs : 0;
      onTrouble(answer, failures);
      plan(answer.code === "sale_not_found" ? null : waitMs);
    }
  }

  /** However many want to know at once, one request is under way; too soon, it is put off. */
  function refresh() {
    const early = asking ? 0 : notBefore - performance.now();
    if (early > 0) return plan(early);
    if (!stopped) return (asking ??= ask().finally(() => (asking = null)));
  }

  function plan(waitMs) {
    clearTimeout(timer);
    if (stopped || waitMs === null || document.hidden) return;
    // It may fire a touch early by the other clock.
    timer = setTimeout(() => refresh((notBefore = 0)), waitMs);
  }

  function visibility() {
    clearTimeout(timer);
    // An ended sale has no more news, unless it was asked for the time and did not answer.
    if (document.hidden || (latest?.state === "ended" && failures === 0)) return;
    // The machine may have slept: what the clock learned before may be stale.
    clock.forget();
    refresh();
  }
  const wake = () => failures > 0 && refresh();

  document.addEventListener("visibilitychange", visibility);
  addEventListener("online", wake);
  refresh();

  return {
    refresh,
    latest: () => latest,
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", visibility);
      removeEventListener("online", wake);
    },
  };
}
