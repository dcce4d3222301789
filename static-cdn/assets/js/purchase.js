// From the press of the button to an order, through whatever the rush answers.
//
// One press is one ticket, and one ticket never makes two orders: after a 503 or a lost connection the same
// ticket is sent again, also after a reload. A ticket whose fate is unknown ("doubtful") is never dropped
// before its order has been looked up, or the buyer might end up with two.

import { PURCHASE_TRIES_MAX, purchaseRetryMs } from "./schedule.js";

const FRESH_TICKETS_MAX = 2;
const FRESH_PATHS_MAX = 2;

/** The ticket a tab holds for one buyer and one sale. */
export function ticketStore(storage, sale, user) {
  const key = `shop.ticket.${sale}.${user}`;
  return {
    read: () => {
      try {
        return JSON.parse(storage.getItem(key));
      } catch {
        return null;
      }
    },
    write: (held) => {
      try {
        storage.setItem(key, JSON.stringify(held));
      } catch {}
    },
    clear: () => {
      try {
        storage.removeItem(key);
      } catch {}
    },
  };
}

const isTransient = (answer) => answer.status === 0 || answer.status === 429 || answer.status >= 500;

/**
 * `shop` speaks to the platform: `ticket()`, `order(ticket, quantity)`, `find(orderId)`, `freshPath()`.
 * Ends in `{order_id, status}` or `{refusal}`, a refusal being the answer that ended it.
 */
export async function purchase({ shop, store, quantity, sleep, random, onStep }) {
  let held = store.read();
  let tries = 0;
  let freshTickets = 0;
  let freshPaths = 0;

  const keep = (next) => store.write((held = next));
  const drop = () => {
    held = null;
    store.clear();
  };
  const placed = (order) => {
    drop();
    return { order_id: order.order_id, status: order.status };
  };

  async function takeTicket() {
    onStep({ step: "ticket", tries });
    const answer = await shop.ticket();
    if (answer.ok) keep({ ...answer.body, quantity, doubtful: false });
    return answer;
  }

  async function sendOrder() {
    const before = held.doubtful;
    onStep({ step: "order", tries });
    // Written down before it is sent: the page may be reloaded while the answer is on its way.
    keep({ ...held, doubtful: true });
    const answer = await shop.order(held.ticket, held.quantity);
    // Such an answer says that this try, at least, did nothing.
    if (answer.status >= 400 && answer.status < 500) keep({ ...held, doubtful: before });
    return answer;
  }

  /** Waits if another try is due; otherwise the answer is the end of it. */
  async function again(answer) {
    tries += 1;
    if (!isTransient(answer) || tries >= PURCHASE_TRIES_MAX) return { refusal: answer };
    const waitMs = purchaseRetryMs({ tries, retryAfterMs: answer.retryAfterMs, random: random() });
    onStep({ step: "waiting", code: answer.code, status: answer.status, waitMs, tries, holdsTicket: held !== null });
    await sleep(waitMs);
    return null;
  }

  /** After a refusal: what became of the ticket? `null` when the purchase goes on with a new one. */
  async function giveUpTicket(answer) {
    // A refusal may come from a gateway that never saw the try that succeeded. Only where that is possible
    // is it worth asking: a whole crowd told "sold out" must not turn to the order store.
    if (held.doubtful || answer.code === "ticket_mismatch") {
      const found = await shop.find(held.order_id);
      if (found.ok) return placed(found.body);
      if (isTransient(found) || found.status === 401) return again(found);
    }
    drop();
    freshTickets += 1;
    const worthANewOne = answer.code === "invalid_ticket" && freshTickets <= FRESH_TICKETS_MAX;
    return worthANewOne ? null : { refusal: answer };
  }

  for (;;) {
    // Another quantity needs another ticket, once it is certain that this one bought nothing.
    const otherQuantity = held !== null && held.quantity !== quantity;
    const answer = otherQuantity ? { ok: false, status: 422, code: "invalid_ticket" } : held ? await sendOrder() : await takeTicket();
    if (answer.ok && answer.status === 202) return placed(answer.body);
    if (answer.ok) continue;

    let end;
    if (answer.code === "unknown_path" && freshPaths < FRESH_PATHS_MAX) {
      freshPaths += 1;
      await shop.freshPath();
      end = null;
    } else if (held === null || isTransient(answer) || answer.status === 401) {
      end = await again(answer);
    } else {
      end = await giveUpTicket(answer);
    }
    if (end) return end;
  }
}
