// One buyer at one sale: what they are doing, and what has come of it. Holds the facts the panel is drawn
// from and carries out what its buttons ask for; `changed()` is called whenever a fact is new.

import { get, paths, post } from "./api.js";
import { followOrder } from "./order-stream.js";
import { purchase, ticketStore } from "./purchase.js";
import { followsGate } from "./refusal-view.js";
import { PURCHASE_TRIES_MAX } from "./schedule.js";
import { read, write } from "./session.js";

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
// How a sale without a buy path answers, in the words its gate would use.
const CLOSED = { ended: [410, "ended"], paused: [403, "paused"], sold_out: [409, "sold_out"] };

export function createBuyer({ sale, session, gate, clock, changed }) {
  const facts = { attempt: null, refusal: null, order: null, room: null, paying: false, note: "" };
  let unfollow = null;
  let leaveRoom = null;
  // Raised when the buyer changes: what an older one started must not speak any more.
  let era = 0;

  const set = (news) => {
    Object.assign(facts, news);
    changed();
  };
  const signed = () => ({ token: session.token() });
  const orderKey = () => `shop.order.${sale}.${session.user()}`;
  const payingKey = (id) => `shop.paying.${id}`;
  const tickets = () => ticketStore(sessionStorage, sale, session.user());
  /** The place in the waiting room that this tab holds for this buyer. */
  function places() {
    const key = `shop.place.${sale}.${session.user()}`;
    return { read: () => read(sessionStorage, key), write: (place) => write(sessionStorage, key, place), clear: () => write(sessionStorage, key, null) };
  }

  function shop() {
    const onPath = async (rest, body) => {
      if (!gate.latest()) await gate.refresh();
      const now = gate.latest();
      if (now?.buy) return post(`${now.buy}/${rest}`, body, signed());
      const [status, code] = now ? (CLOSED[now.state] ?? [403, "not_open"]) : [0, "unreachable"];
      return { ok: false, status, code, body: null, retryAfterMs: 0 };
    };
    return {
      ticket: async () => {
        const ask = (body) => onPath("tickets", body);
        const first = await ask(undefined);
        if (!["waiting_room", "proof_required"].includes(first.code)) return first;
        // Most sales ask for nothing: what brings it comes when it is needed.
        const entry = await import("./entry.js").catch(() => null);
        return entry ? entry.enter({ first, ask, wait: async () => (await turn())?.pass }) : first;
      },
      order: (ticket, quantity) => onPath("orders", { ticket, quantity }),
      find: (id) => get(paths.order(id), signed()),
      freshPath: () => gate.refresh(),
    };
  }

  /** Waits in the room for as long as this buyer is here. */
  async function turn() {
    leaveRoom?.abort();
    leaveRoom = new AbortController();
    const { signal } = leaveRoom;
    const { waitForTurn } = await import("./room.js").catch(() => ({ waitForTurn: () => null }));
    return waitForTurn({ sale, ...signed(), places: places(), signal, onPlace: (room) => signal.aborted || set({ room }) });
  }

  /** Takes a place in the waiting room; the purchase itself is another press. */
  async function join() {
    if (facts.room) return;
    const mine = era;
    set({ room: { state: "upcoming", position: null }, refusal: null, note: "" });
    const isLetIn = Boolean(await turn());
    if (mine !== era || isLetIn || facts.attempt || facts.order) return;
    set({ room: null, note: "The waiting room can't be reached just now. Please try again." });
  }

  async function buy(quantity) {
    if (facts.attempt) return;
    const mine = era;
    set({ attempt: { step: "ticket" }, refusal: null, order: null, note: "" });
    const onStep = (step) => mine === era && set({ attempt: { ...step, triesMax: PURCHASE_TRIES_MAX, retryAt: step.step === "waiting" ? clock.now() + step.waitMs : null } });
    const end = await purchase({ shop: shop(), store: tickets(), quantity, sleep, random: Math.random, onStep });
    if (mine !== era) return;
    set({ attempt: null });
    if (end.order_id) return follow(end);
    refused(end.refusal);
  }

  function refused(answer) {
    if (answer.status === 401) session.signOut();
    set({ refusal: { ...answer, at: performance.now() } });
    if (followsGate(answer.code)) setTimeout(gate.refresh, 300 + 900 * Math.random());
  }

  function follow(order) {
    unfollow?.();
    leaveRoom?.abort();
    places().clear();
    write(sessionStorage, orderKey(), order.order_id);
    set({ order, room: null, refusal: null, paying: read(sessionStorage, payingKey(order.order_id)) !== null });
    unfollow = followOrder({
      id: order.order_id,
      token: session.token,
      onOrder: (news) => set({ order: news, note: "" }),
      onTrouble: (code) => {
        if (code === "unauthenticated") return refused({ status: 401, code });
        set({ note: code === "order_not_found" ? "Your order can't be found yet. We keep looking." : "The connection is shaky; what you see may be a moment old." });
      },
    });
  }

  function leave() {
    unfollow?.();
    unfollow = null;
    if (session.user()) write(sessionStorage, orderKey(), null);
    if (location.hash) history.replaceState(null, "", location.pathname);
    set({ order: null, refusal: null, note: "", paying: false });
    gate.refresh();
  }

  async function show(id) {
    const mine = era;
    const answer = await get(paths.order(id), signed());
    if (mine !== era) return;
    if (answer.ok && answer.body.sale === sale) return follow(answer.body);
    if (answer.ok || answer.status === 404) return leave();
    if (answer.status === 401) return refused(answer);
    // Unreadable just now is no reason to forget it: the follower keeps asking.
    follow({ order_id: id, status: "queued" });
  }

  /** The buyer's newest order here that is still worth something. Asked for by a press only, never by a crowd. */
  async function findMine() {
    const answer = await get(paths.orders(null, 100), signed());
    const mine = (answer.body?.orders ?? []).filter((order) => order.sale === sale);
    const found = mine.find((order) => order.status === "pending_payment") ?? mine.find((order) => ["queued", "paid"].includes(order.status));
    if (answer.ok && found) return follow(found);
    if (answer.status === 401) return refused(answer);
    set({ note: answer.ok ? "None of your orders holds a unit any more. Please try again." : "Your orders can't be read just now. Please try again." });
  }

  async function pay() {
    const id = facts.order.order_id;
    set({ note: "Opening the payment page…" });
    const answer = await post(`${paths.order(id)}/payment`, undefined, signed());
    if (answer.status === 401) return refused(answer);
    if (!answer.ok) return set({ note: answer.code === "not_payable" ? "This order can't be paid just now." : "The payment desk is busy. Please press again in a moment." });
    const url = new URL(answer.body.payment_url, location.href);
    if (!["http:", "https:"].includes(url.protocol)) return set({ note: "The payment page can't be opened." });
    write(sessionStorage, payingKey(id), "1");
    location.assign(url);
  }

  async function cancel() {
    const answer = await post(`${paths.order(facts.order.order_id)}/cancel`, undefined, signed());
    if (answer.status === 401) return refused(answer);
    if (answer.ok) return set({ order: answer.body, note: "" });
    set({ note: answer.code === "not_cancellable" ? "This order can no longer be cancelled." : "Cancelling did not work just now. Please try again." });
  }

  /** After a load or a sign-in: go on where this tab stopped. */
  let resuming = Promise.resolve();
  const resume = () => (resuming = goOn());
  async function goOn() {
    era += 1;
    unfollow?.();
    leaveRoom?.abort();
    Object.assign(facts, { attempt: null, order: null, room: null, note: "", refusal: facts.refusal?.status === 401 && !session.user() ? facts.refusal : null });
    changed();
    if (!session.user()) return;
    const linked = /^#order=([a-z0-9-]{1,64})$/.exec(location.hash)?.[1];
    const known = linked ?? read(sessionStorage, orderKey());
    if (known) return show(known);
    const held = tickets().read();
    // Whoever waited here before a reload waits on.
    if (!held && places().read()) join();
    if (!held) return;
    // A ticket that is still good goes on by itself. An old one is only looked up: nobody who comes back
    // after an hour expects to buy by opening a page.
    if (held.expires_at > clock.now()) return buy(held.quantity);
    tickets().clear();
    if (held.doubtful) show(held.order_id);
  }

  /** A gate asked after a refusal knows better than the refusal did. */
  function gateNews(askedAt) {
    if (facts.refusal && followsGate(facts.refusal.code) && askedAt > facts.refusal.at) facts.refusal = null;
    changed();
  }

  return { facts, buy, join, leave, findMine, pay, cancel, resume, resumed: () => resuming, gateNews, dismiss: () => set({ refusal: null, note: "" }) };
}
