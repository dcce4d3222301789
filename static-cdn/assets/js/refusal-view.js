// What a buyer is told when a purchase ended without an order: one view per code of the contract.

import { units } from "./format.js";

const TRY_AGAIN = { action: "buy", label: "Try again" };
const ORDERS = { action: "my-order", label: "Show my order" };

const VIEWS = {
  unauthenticated: () => ({
    tone: "warn",
    icon: "person",
    title: "Please sign in to buy",
    text: "You are not signed in, or it was too long ago. Nothing is lost.",
    primary: { action: "sign-in-and-buy", label: "Sign in and buy" },
  }),
  limit_reached: () => ({
    tone: "calm",
    icon: "check",
    title: "You already have yours",
    text: "This sale has a limit per person, and your orders have reached it. It counts again once one of them is cancelled or runs out.",
    primary: ORDERS,
  }),
  not_enough: ({ refusal }) => {
    const n = refusal.body?.available ?? 0;
    return {
      tone: "warn",
      icon: "bag",
      title: n > 0 ? `Only ${n} left` : "Not that many left",
      text: n > 0 ? `You asked for more than there is just now. ${n === 1 ? "One unit" : units(n)} can still be yours.` : "Fewer are left than you asked for.",
      quantity: n === 0,
      primary: n > 0 ? { action: "take", label: `Take ${n}`, quantity: n } : TRY_AGAIN,
      secondary: [{ action: "dismiss", label: "No, thank you" }],
    };
  },
  rate_limited: () => ({ tone: "warn", icon: "slow", title: "A little too quick", text: "The shop asks for a short break. Wait a few seconds, then try again." }),
  unreachable: () => ({
    tone: "bad",
    icon: "offline",
    title: "The shop can't be reached",
    text: "Please check your connection. If a place was given to you, trying again finds it: you cannot buy twice by mistake.",
  }),
  waiting_room: () => ({ tone: "wait", icon: "crowd", title: "The waiting room is closed", text: "There is no place in line just now. Trying again takes the next one." }),
  proof_left: () => ({ tone: "calm", icon: "back", title: "You left before the digits", text: "Nothing was ordered. Trying again brings a new picture." }),
  proof_undone: () => ({ tone: "warn", icon: "slow", title: "The proof was not finished", text: "During the rush the shop asks every device for some work, and this one could not finish it. Nothing was ordered. Trying again brings a new task." }),
  proof_required: () => ({ tone: "warn", icon: "cross", title: "That was not right", text: "The shop asks everybody for a small proof during the rush. Trying again brings a new one." }),
  invalid_ticket: () => ({ tone: "warn", icon: "ticket", title: "Your ticket ran out", text: "It was good for a short time only. Nothing was charged; a new one is a press away." }),
  unknown_path: () => ({ tone: "warn", icon: "back", title: "This page is out of date", text: "The sale has moved on since it was loaded.", primary: { action: "reload", label: "Reload the page" } }),
  order_not_found: () => ({ tone: "warn", icon: "bag", title: "We can't find that order", text: "It was never placed, or it belongs to another account.", primary: { action: "orders", label: "See my orders" }, secondary: [{ action: "dismiss", label: "Back to the sale" }] }),
  busy: ({ refusal }) => ({ tone: "wait", icon: "crowd", title: "Still too busy", text: `We asked several times. ${refusal.holdsTicket ? "Your ticket is kept, so trying again goes on where we stopped." : "Nothing was ordered; you can try again."}` }),
  other: () => ({ tone: "bad", icon: "cross", title: "That did not work", text: "Something went wrong on the way, and nothing was charged. Please try again." }),
};

/** These follow the sale's state: the next word from the gate outdates them. */
const STATE = { sold_out: "sold_out", paused: "paused", not_open: "upcoming", ended: "ended" };
export const followsGate = (code) => Object.hasOwn(STATE, code);

/** `stateView` is what the panel says of a sale in a given state. */
export function refusalView({ refusal, canBuy, stateView }) {
  if (followsGate(refusal.code)) return { ...stateView(STATE[refusal.code]), key: `refusal-${refusal.code}` };
  const busy = refusal.status >= 500;
  const code = VIEWS[refusal.code] ? refusal.code : busy ? "busy" : "other";
  const view = VIEWS[code]({ refusal });
  return { key: `refusal-${code}`, primary: TRY_AGAIN, secondary: canBuy && code === "limit_reached" ? [{ action: "dismiss", label: "Back to the sale" }] : [], ...view };
}
