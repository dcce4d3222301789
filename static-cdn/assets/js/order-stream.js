// Follows one order to its end: by its event stream, and by asking now and then while that cannot be had.

import { get, paths } from "./api.js";
import { orderPollMs } from "./schedule.js";
import { readEvents } from "./sse.js";

export const isTerminal = (status) => !["queued", "pending_payment"].includes(status);

const MISSING_MAX = 4;

/** Returns a function that stops it. `onTrouble(code)` is called when the order cannot be read. */
export function followOrder({ id, token, onOrder, onTrouble }) {
  const stop = new AbortController();
  const sleep = (ms) =>
    new Promise((done) => {
      const timer = setTimeout(done, ms);
      stop.signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
    });
  let last = null;
  const report = (order) => {
    last = order;
    if (!stop.signal.aborted) onOrder(order);
  };
  const finished = () => stop.signal.aborted || (last !== null && isTerminal(last.status));

  /** True when the stream brought at least one event. */
  async function stream() {
    let heard = false;
    const onEvent = ({ event, data }) => {
      if (event !== "status") return;
      heard = true;
      report(JSON.parse(data));
    };
    await readEvents(`${paths.order(id)}/events`, { token: token(), signal: stop.signal, onEvent });
    return heard;
  }

  async function run() {
    let failures = 0;
    let missing = 0;
    while (!finished()) {
      if (await stream()) failures = 0;
      if (finished()) return;
      const answer = await get(paths.order(id), { token: token(), signal: stop.signal });
      if (stop.signal.aborted) return;
      if (answer.ok) {
        missing = 0;
        report(answer.body);
      } else {
        failures += 1;
        missing = answer.status === 404 ? missing + 1 : 0;
        onTrouble(answer.code);
        // Right after a loss of the stock store an order may be unreadable for a moment, not for long.
        if (answer.status === 401 || missing >= MISSING_MAX) return;
      }
      if (!finished()) await sleep(orderPollMs({ failures, retryAfterMs: answer.retryAfterMs, random: Math.random() }));
    }
  }
  run();
  return () => stop.abort();
}
