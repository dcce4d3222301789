// An order in hand: follows it to its end, by its event stream, and by asking now and then while that cannot be
// had; pays it and cancels it. Loaded when there is an order, or one is on its way.

import { get, paths, post } from "./api.js";
import { h } from "./dom.js";
import { orderPollMs } from "./schedule.js";
import { readEvents } from "./sse.js";

export const isTerminal = (status) => !["queued", "pending_payment"].includes(status);

const MISSING_MAX = 4;

/**
 * Begins `afterMs` from now and goes on until `signal` says so. `onTrouble(code)` is called when the order cannot
 * be read, `onMissing()` when there is no such order.
 */
export async function followOrder({ id, token, signal, onOrder, onTrouble, onMissing, afterMs = 0 }) {
  const sleep = (ms) =>
    new Promise((done) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        done();
      };
      const timer = setTimeout(end, ms);
      signal.addEventListener("abort", end);
    });
  let last = null;
  const report = (order) => {
    last = order;
    if (!signal.aborted) onOrder(order);
  };
  const finished = () => signal.aborted || (last !== null && isTerminal(last.status));

  /** True when the stream brought at least one event. */
  async function stream() {
    let heard = false;
    const onEvent = ({ event, data }) => {
      if (event !== "status") return;
      heard = true;
      report(JSON.parse(data));
    };
    await readEvents(`${paths.order(id)}/events`, { token: token(), signal, onEvent });
    return heard;
  }

  let failures = 0;
  let missing = 0;
  if (afterMs > 0) await sleep(afterMs);
  while (!finished()) {
    if (await stream()) failures = 0;
    if (finished()) return;
    const answer = await get(paths.order(id), { token: token(), signal });
    if (signal.aborted) return;
    if (answer.ok) {
      missing = 0;
      report(answer.body);
    } else {
      failures += 1;
      missing = answer.status === 404 ? missing + 1 : 0;
      // Right after a loss of the stock store an order may be unreadable for a moment, not for long.
      if (missing >= MISSING_MAX) return onMissing();
      onTrouble(answer.code);
      if (answer.status === 401) return;
    }
    if (!finished()) await sleep(orderPollMs({ failures, retryAfterMs: answer.retryAfterMs, random: Math.random() }));
  }
}

/** The answer carries the `url` of the payment page, or else a `note` for the buyer. */
export async function startPayment(id, options) {
  const answer = await post(`${paths.order(id)}/payment`, undefined, options);
  if (!answer.ok) return { ...answer, note: answer.code === "not_payable" ? "This order can't be paid just now." : "The payment desk is busy. Please press again in a moment." };
  const url = new URL(answer.body.payment_url, location.href);
  return ["http:", "https:"].includes(url.protocol) ? { ...answer, url } : { ...answer, note: "The payment page can't be opened." };
}

/** Resolves to whether the buyer means it. */
function askToCancel() {
  return new Promise((done) => {
    const button = (kind, value, label, more) => h("button", { className: `button button-${kind}`, value, ...more }, label);
    const dialog = h(
      "dialog",
      { className: "dialog", "aria-labelledby": "cancel-title" },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: "cancel-title" }, "Cancel this order?"),
        h("p", {}, "Your units go back on sale at once, and somebody else may take them. Nothing is charged."),
        h("div", { className: "dialog-buttons" }, button("quiet", "cancel", "Yes, cancel it"), button("primary", "keep", "Keep my order", { autofocus: true })),
      ),
    );
    dialog.addEventListener("close", () => (dialog.remove(), done(dialog.returnValue === "cancel")));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Once the buyer is sure, and `onSure()` has said so. The answer is the order, or carries a `note` for the buyer. */
export async function cancelOrder(id, options, onSure) {
  if (!(await askToCancel())) return { ok: false, note: "" };
  onSure();
  const answer = await post(`${paths.order(id)}/cancel`, undefined, options);
  return { ...answer, note: answer.code === "not_cancellable" ? "This order can no longer be cancelled." : "Cancelling did not work just now. Please try again." };
}

/**
 * The buyer's newest order at a sale that is still worth something. Asked for by one buyer, never by a crowd. The list
 * lacks what is still being written: not to find an order there does not mean that there is none.
 */
export async function newestOrder(sale, options) {
  const answer = await get(paths.orders(null, 100), options);
  if (!answer.ok) return { ...answer, note: "Your orders can't be read just now. Please try again." };
  const here = answer.body.orders.filter((order) => order.sale === sale);
  const order = here.find(({ status }) => status === "pending_payment") ?? here.find(({ status }) => ["queued", "paid"].includes(status));
  return { ...answer, order, note: "No order that holds a unit is listed yet. One that you have just placed is there in a moment: please look again." };
}
