// One buyer at one sale: what they are doing, and what has come of it. Holds the facts the panel is drawn
// from and carries out what its buttons ask for; `changed()` is called whenever a fact is new.

import { get, onDemand, paths, unreachable } from "./api.js";
import { purchase, shopFor, ticketStore } from "./purchase.js";
import { followsGate } from "./refusal-view.js";
import { orderPollMs, PURCHASE_TRIES_MAX } from "./schedule.js";
import { entryOf, read, takeFragment, write } from "./session.js";
// Modules on demand can be asked for again, but not what they import: that has to be there before them.
import "./sse.js";

const SHAKY = "The connection is shaky; what you see may be a moment old.";
// While a purchase waits for a module: then it had better try again as a whole.
const LOADS_MAX = 3;

export function createBuyer({ sale, session, storage, gate, clock, changed, load, sleep = (ms) => new Promise((done) => setTimeout(done, ms)) }) {
  // `wanted` outlives every refusal: "Try again" means the same again.
  const facts = { attempt: null, refusal: null, order: null, room: null, roomViews: null, wanted: 1, paying: false, declined: false, note: "" };
  let following = null;
  let leaveRoom = null;
  let payFailed = false;
  // Nobody could say yet whether the kept ticket is still good.
  let unjudged = false;
  // Raised when the buyer changes: what an older one started must neither speak nor act any more.
  let era = 0;

  const set = (news) => (Object.assign(facts, news), changed());
  const signed = () => ({ token: session.token() });
  const orderKey = () => `shop.order.${sale}.${session.user()}`;
  const payingKey = (id) => `shop.paying.${id}`;
  const tickets = (isOver) => ticketStore(storage, sale, session.user(), isOver);
  /** The place in the waiting room that this tab holds for this buyer. */
  const places = () => entryOf(storage, `shop.place.${sale}.${session.user()}`);
  /** The answer; `null` when the buyer has changed meanwhile, so that it is nobody's, or has to sign in first. */
  async function own(asked) {
    const asking = era;
    const answer = await asked;
    if (asking !== era) return null;
    return answer.status === 401 ? (refused(answer), null) : answer;
  }

  function pause(tries) {
    if (facts.order) set({ note: SHAKY });
    return sleep(orderPollMs({ failures: tries - 1, random: Math.random() }));
  }
  /** What an order needs, once there may be one. */
  const orderDesk = onDemand("order-stream", { load, pause });
  const entry = onDemand("entry", { load, pause, triesMax: LOADS_MAX });
  const waitingRoom = onDemand("room", { load, pause, triesMax: LOADS_MAX });
  const roomWords = onDemand("room-view", { load, pause });

  /** Waits in the room for as long as this buyer is here. */
  async function turn(token = session.token()) {
    leaveRoom?.abort();
    const { signal } = (leaveRoom = new AbortController());
    const room = await waitingRoom();
    const onPlace = (news) => signal.aborted || set({ room: news });
    return room ? room.waitForTurn({ sale, token, places: places(), signal, onPlace }) : unreachable();
  }

  /** Takes a place in the waiting room; the purchase itself is another press. */
  async function join() {
    if (facts.room) return;
    const asking = era;
    set({ room: { asking: true }, refusal: null, note: "" });
    const end = await turn();
    if (asking !== era || end?.pass || facts.attempt || facts.order) return;
    set({ room: null, note: end?.status ? "" : `The waiting room ${end ? "can't be reached" : "is too busy"} just now. Please try again.` });
    if (end?.status) refused(end);
  }

  async function buy(quantity) {
    if (facts.attempt) return;
    const asking = era;
    const isOver = () => asking !== era;
    const token = session.token();
    const store = tickets(isOver);
    const shop = shopFor({ gate, token, isOver, entry, turn: () => turn(token).then((news) => news?.pass ?? news) });
    payFailed = false;
    orderDesk();
    set({ attempt: { step: "ticket" }, wanted: quantity, refusal: null, order: null, note: "" });
    const onStep = (step) => isOver() || set({ attempt: { ...step, triesMax: PURCHASE_TRIES_MAX, retryAt: step.step === "waiting" ? clock.now() + step.waitMs : null } });
    const end = await purchase({ shop, store, quantity, sleep, random: Math.random, onStep });
    if (isOver()) return;
    // Whoever waits no more has no number in line.
    set({ attempt: null, room: facts.room?.pass ? facts.room : null });
    return end.order_id ? follow(end) : refused(end.refusal);
  }

  function refused(answer) {
    if (answer.status === 401) session.signOut();
    set({ refusal: { ...answer, at: performance.now() } });
    if (followsGate(answer.code)) setTimeout(gate.refresh, 300 + 900 * Math.random());
  }

  function follow(order, afterMs = 0) {
    const id = order.order_id;
    following?.abort();
    leaveRoom?.abort();
    places().clear();
    write(storage, orderKey(), id);
    if (payFailed) write(storage, payingKey(id), null);
    set({ order, room: null, refusal: null, paying: read(storage, payingKey(id)) !== null, declined: payFailed });
    payFailed = false;
    const { signal } = (following = new AbortController());
    const onOrder = (news) => set({ order: news, note: "" });
    const onTrouble = (code) => {
      if (code === "unauthenticated") return refused({ status: 401, code });
      set({ note: code === "order_not_found" ? "Your order can't be found yet. We keep looking." : SHAKY });
    };
    orderDesk().then(({ followOrder }) => signal.aborted || followOrder({ id, token: session.token, signal, onOrder, onTrouble, onMissing: missing, afterMs }));
  }

  function leave() {
    following?.abort();
    if (session.user()) write(storage, orderKey(), null);
    if (location.hash) history.replaceState(null, "", location.pathname);
    set({ order: null, refusal: null, note: "", paying: false, declined: false });
    gate.refresh();
  }

  const missing = () => (leave(), refused({ status: 404, code: "order_not_found" }));

  async function show(id) {
    const order = { order_id: id, status: "unknown" };
    set({ order });
    const answer = await own(get(paths.order(id), signed()));
    if (!answer) return;
    if (answer.ok) return answer.body.sale === sale ? follow(answer.body) : leave();
    if (answer.status === 404) return missing();
    // Unreadable just now is no reason to forget it: the follower keeps asking.
    follow(order, answer.retryAfterMs);
  }

  async function findMine() {
    const answer = await own(orderDesk().then(({ newestOrder }) => newestOrder(sale, signed())));
    if (answer) answer.order ? follow(answer.order) : set({ note: answer.note });
  }

  async function pay() {
    const id = facts.order.order_id;
    set({ note: "Opening the payment page…" });
    const answer = await own(orderDesk().then(({ startPayment }) => startPayment(id, signed())));
    if (!answer?.url) return answer && set({ note: answer.note });
    write(storage, payingKey(id), "1");
    location.assign(answer.url);
  }

  async function cancel() {
    const id = facts.order.order_id;
    const onSure = () => set({ note: "Cancelling…" });
    const answer = await own(orderDesk().then(({ cancelOrder }) => cancelOrder(id, signed(), onSure)));
    if (answer) set(answer.ok ? { order: answer.body, note: "" } : { note: answer.note });
  }

  /** After a load or a sign-in: go on where this tab stopped. */
  let resuming = Promise.resolve();
  const resume = () => (resuming = goOn());
  async function goOn() {
    era += 1;
    following?.abort();
    leaveRoom?.abort();
    Object.assign(facts, { attempt: null, order: null, room: null, declined: false, note: "", refusal: facts.refusal?.status === 401 && !session.user() ? facts.refusal : null });
    changed();
    // The payment page sends back so after a refused card: whoever has to sign in first is told afterwards.
    payFailed ||= takeFragment("payment") === "failed";
    if (!session.user()) return;
    const linked = /^#order=([a-z0-9-]{1,64})$/.exec(location.hash)?.[1];
    const known = linked ?? read(storage, orderKey());
    if (known) return show(known);
    if (payFailed) return findMine();
    if (tickets().read()) return takeUp();
    // Whoever waited here before a reload waits on.
    if (places().read()) join();
  }

  /** A ticket that is still good goes on by itself. An old one is only looked up: nobody who comes back after an hour
   * expects to buy by opening a page. The shop's clock judges, since a device's own may be minutes off. */
  async function takeUp() {
    const asking = era;
    if (!clock.synced()) await gate.refresh();
    unjudged = !clock.synced();
    const held = tickets().read();
    if (unjudged || asking !== era || facts.attempt || facts.order || !held) return;
    if (held.expires_at > clock.now()) return buy(held.quantity);
    tickets().clear();
    if (held.doubtful) show(held.order_id);
  }

  /** A gate asked after a refusal knows better than the refusal did. */
  function gateNews(askedAt) {
    if (gate.latest()?.room && !facts.roomViews) roomWords().then((roomViews) => set({ roomViews })), waitingRoom();
    if (facts.refusal && followsGate(facts.refusal.code) && askedAt > facts.refusal.at) facts.refusal = null;
    changed();
    if (unjudged) takeUp();
  }

  return { facts, buy, join, leave, findMine, pay, cancel, resume, resumed: () => resuming, gateNews, dismiss: () => set({ refusal: null, note: "" }) };
}
