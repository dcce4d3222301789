// What the buying panel says and offers, for everything that can be known about a sale. Pure: facts in,
// one view out. The order of the questions is the order of what matters to the buyer: their order, the
// purchase under way, the answer to their last press, and only then the state of the sale.

import { dayAndTime, spanInWords } from "./format.js";
import { orderView } from "./order-view.js";
import { followsGate, refusalView } from "./refusal-view.js";

// A countdown to an end that is hours away only makes people nervous.
const ENDING_MS = 3_600_000;

const BUY = { action: "buy", label: "Buy now" };
const waiting = (label) => ({ action: "buy", label, disabled: true });
const SIGN_IN = { action: "sign-in", label: "Sign in now, be quicker then" };

const OPENING = "Opening…";
const countdownTo = (gate) => ({ kind: "opens", to: gate.opens_at, label: "Opens in" });
const opening = (gate) => ({ tone: "wait", icon: "clock", title: OPENING, text: "Any moment now. No need to reload.", timer: countdownTo(gate), busy: true, primary: waiting(OPENING) });
const GATE_VIEWS = {
  upcoming: ({ gate, now, user }) =>
    gate.opens_at <= now
      ? opening(gate)
      : {
          tone: "calm",
          icon: "clock",
          title: `Opens ${dayAndTime(gate.opens_at)}`,
          text: "In your time. The button wakes up by itself; no need to reload.",
          timer: countdownTo(gate),
          primary: waiting("Not open yet"),
          secondary: user ? [] : [SIGN_IN],
        },
  open: ({ gate, sale, now }) =>
    gate.buy
      ? {
          tone: "live",
          icon: "bolt",
          title: "On sale now",
          text: `Once you have a place, it is yours for ${spanInWords(sale.pay_within_s * 1000)}: time enough to pay.`,
          timer: gate.ends_at - now < ENDING_MS ? { kind: "ends", to: gate.ends_at, label: "Ends in" } : null,
          quantity: sale.per_user_limit > 1,
          primary: BUY,
        }
      : opening(gate),
  paused: () => ({
    tone: "warn",
    icon: "pause",
    title: "Paused for a moment",
    text: "The shop has stopped the sale for now. Stay here: this page goes on by itself when the sale does.",
    primary: waiting("Paused"),
  }),
  sold_out: () => ({
    tone: "calm",
    icon: "bag",
    title: "Sold out, for now",
    text: "Every unit is taken. Units that stay unpaid come back on sale; keep this page open, it notices by itself.",
    primary: waiting("Sold out"),
  }),
  ended: ({ gate, now }) => ({
    tone: "calm",
    icon: "flag",
    title: "This sale has ended",
    text: gate.ends_at <= now ? `It closed ${dayAndTime(gate.ends_at)}. Thank you for coming by.` : "It closed early. Thank you for coming by.",
    primary: { action: "home", label: "See other sales" },
  }),
};

function attemptView({ step, status, code, tries = 0, retryAt, triesMax, holdsTicket }) {
  // A busy purchase comes and goes between trying and waiting: for ears that is one thing.
  const speech = tries > 0 ? "attempt-again" : undefined;
  if (step !== "waiting") {
    const title = step === "ticket" ? "Getting your place…" : "Placing your order…";
    return { key: `attempt-${step}`, speech, tone: "wait", icon: "ticket", title, text: "This takes a moment. Please keep the page open.", busy: true, primary: { ...BUY, label: "One moment…", busy: true } };
  }
  const timer = { kind: "retry", to: retryAt, label: "Next try in" };
  const same = holdsTicket ? " Your ticket is kept, so you cannot buy twice by mistake." : "";
  const common = { speech, timer, busy: true, primary: { ...BUY, label: "Trying for you…", busy: true } };
  if (status === 429) {
    return { key: "attempt-limited", tone: "warn", icon: "slow", title: "A little too quick", text: `The shop asks us to slow down. We go on by ourselves.${same}`, ...common };
  }
  if (status === 0) {
    return { key: "attempt-unreachable", tone: "bad", icon: "offline", title: "No connection", text: `We keep trying.${same}`, ...common };
  }
  const counted = `Try ${tries + 1} of ${triesMax}.`;
  return { key: `attempt-busy-${code}`, tone: "wait", icon: "crowd", title: "Very busy right now", text: `Many people want this. No need to press again: we keep asking for you. ${counted}${same}`, ...common };
}

const unreachable = ({ status }) => ({
  key: "unreachable",
  tone: "bad",
  icon: "offline",
  title: "The shop can't be reached",
  text: `${status > 0 ? "It is very busy." : "Please check your connection."} This page keeps trying by itself.`,
  primary: waiting("Waiting for the shop…"),
});
const OLD_NEWS = "The shop can't be reached just now: what you see may be old. This page keeps trying by itself.";

function saleView(facts) {
  const view = facts.roomViews?.roomView(facts) ?? GATE_VIEWS[facts.gate.state](facts);
  // "Any moment now" is a promise only a shop that answers can keep.
  if (facts.trouble && view.title === OPENING) return unreachable(facts.trouble);
  return { key: `gate-${facts.gate.state}`, ...view };
}

/**
 * Facts: `sale, gate, now, user, room, attempt, refusal, order, paying, declined, trouble`, and `roomViews`, the module
 * `room-view.js` where there is a room (those unknown are null).
 */
export function panelView(facts) {
  const { sale, gate, order, attempt, refusal, trouble, now } = facts;
  if (trouble?.code === "sale_not_found") {
    return { key: "unknown", tone: "calm", icon: "bag", title: "There is no such sale", text: "The link may be old or mistyped.", primary: { action: "home", label: "See all sales" }, secondary: [] };
  }
  const canBuy = gate?.state === "open" && Boolean(gate.buy);
  let view;
  if (order) {
    const mayBuyMore = canBuy && sale !== null && order.quantity < sale.per_user_limit;
    view = orderView({ order, now, paying: facts.paying, declined: facts.declined, canBuy, mayBuyMore });
  } else if (attempt?.step === "ticket" && facts.room && !facts.room.pass && facts.roomViews) view = facts.roomViews.lineView(facts);
  else if (attempt) view = attemptView(attempt);
  else if (refusal && (gate || !followsGate(refusal.code))) view = refusalView({ refusal, canBuy, stateView: (state) => GATE_VIEWS[state](facts) });
  else if (gate && sale) view = saleView(facts);
  else if (trouble) view = unreachable(trouble);
  else view = { key: "loading", tone: "calm", icon: "clock", title: "Asking the shop…", text: "", busy: true, primary: waiting("One moment…") };
  // An order and a purchase have words of their own for a line that is down; an ended sale has no more news.
  const isOld = trouble && gate && gate.state !== "ended" && !order && !attempt && view.key !== "unreachable";
  return { timer: null, quantity: false, busy: false, primary: null, secondary: [], note: isOld ? OLD_NEWS : "", ...view };
}
