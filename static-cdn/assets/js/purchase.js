// From the press of the button to an order, through whatever the rush answers.
//
// One press is one ticket, and one ticket never makes two orders: after a 503 or a lost connection the same
// ticket is sent again, also after a reload. A ticket whose fate is unknown ("doubtful") is never dropped
// before its order has been looked up, or the buyer might end up with two.

import { get, paths, post, unreachable } from "./api.js";
import { PURCHASE_TRIES_MAX, purchaseRetryMs } from "./schedule.js";
import { read, write } from "./session.js";

const FRESH_TICKETS_MAX = 2;
const FRESH_PATHS_MAX = 2;

/** The ticket a tab holds for one buyer and one sale. What `isOver()` writes no more. */
export function ticketStore(storage, sale, user, isOver = () => false) {
  const key = `shop.ticket.${sale}.${user}`;
  return {
    read: () => {
      try {
        return JSON.parse(read(storage, key));
      } catch {
        return null;
      }
    },
    write: (held) => isOver() || write(storage, key, JSON.stringify(held)),
    clear: () => isOver() || write(storage, key, null),
  };
}

// How a sale without a buy path answers, in the words its gate would use.
const CLOSED = { ended: [410, "ended"], paused: [403, "paused"], sold_out: [409, "sold_out"] };
const SIGNED_OUT = { ok: false, status: 401, code: "unauthenticated", body: null, retryAfterMs: 0 };

/**
 * The platform, for one purchase: all of it under the `token` it began with. Once `isOver()`, the buyer has
 * changed: nothing more is sent, least of all in another's name. `turn()` waits in the waiting room, `entry()` brings what few sales ask for.
 */
export function shopFor({ gate, token, isOver, turn, entry }) {
  const onPath = async (rest, body) => {
    if (!gate.latest()) await gate.refresh();
    if (isOver()) return SIGNED_OUT;
    const now = gate.latest();
    if (now?.buy) return post(`${now.buy}/${rest}`, body, { token });
    const [status, code] = now ? (CLOSED[now.state] ?? [403, "not_open"]) : [0, "unreachable"];
    return { ok: false, status, code, body: null, retryAfterMs: 0 };
  };
  return {
    ticket: async () => {
      const ask = (body) => onPath("tickets", body);
      const first = await ask(undefined);
      if (!["waiting_room", "proof_required"].includes(first.code)) return first;
      const door = await entry();
      return door ? door.enter({ first, ask, wait: async () => (isOver() ? SIGNED_OUT : turn()) }) : unreachable();
    },
    order: (ticket, quantity) => onPath("orders", { ticket, quantity }),
    find: async (id) => (isOver() ? SIGNED_OUT : get(paths.order(id), { token })),
    freshPath: () => gate.refresh(),
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
    if (!isTransient(answer) || tries >= PURCHASE_TRIES_MAX) return { refusal: { ...answer, holdsTicket: held !== null } };
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
