// What the buyer of an order is told, status by status. Pure: an order in, words and actions out.

import { money, shortId, timeOfDay, units } from "./format.js";

const pay = (label) => ({ action: "pay", label });
const CANCEL = { action: "cancel", label: "Cancel order" };
const ORDERS = { action: "orders", label: "See my orders" };
const again = (canBuy) => (canBuy ? { action: "again", label: "Buy again" } : null);

const VIEWS = {
  looking: () => ({
    tone: "wait",
    icon: "clock",
    title: "Looking up your order…",
    text: "The shop has not said yet how it stands. This page keeps asking.",
    busy: true,
    secondary: [ORDERS],
  }),
  queued: () => ({
    tone: "wait",
    icon: "ticket",
    title: "You have a place",
    text: "Your units are set aside. The order is being written; you can pay in a moment.",
    busy: true,
    primary: { action: "pay", label: "Preparing payment…", disabled: true },
  }),
  pending_payment: ({ order, now, paying, declined, sum }) => {
    if (order.pay_by !== null && order.pay_by <= now) {
      return {
        tone: "wait",
        icon: "clock",
        title: "Time is up",
        text: "Checking whether your payment came in time…",
        busy: true,
        primary: { ...pay("Pay now"), disabled: true },
      };
    }
    const kept = `${sum}, kept for you until ${timeOfDay(order.pay_by)}.`;
    const timer = { kind: "pay", to: order.pay_by, label: "Left to pay" };
    if (declined) {
      return {
        key: "order-declined",
        tone: "warn",
        icon: "cross",
        title: "The payment did not go through",
        text: `Nothing was charged, and the order can still be paid: ${kept}`,
        timer,
        primary: pay("Try to pay again"),
        secondary: [CANCEL],
      };
    }
    return {
      tone: "live",
      icon: "bag",
      title: paying ? "Waiting for your payment" : "It's yours. Pay to keep it",
      text: paying
        ? `Just paid ${sum}? This page says so as soon as the payment is confirmed.`
        : kept,
      timer,
      primary: pay(paying ? "Back to the payment page" : `Pay ${money(order.amount_cents, order.currency)}`),
      secondary: [CANCEL],
    };
  },
  paid: ({ sum, order, mayBuyMore }) => ({
    tone: "good",
    icon: "check",
    title: "Paid. Thank you!",
    text: `${sum}. A confirmation is on its way; order …${shortId(order.order_id)}.`,
    primary: ORDERS,
    secondary: mayBuyMore ? [{ action: "again", label: "Buy another" }] : [],
  }),
  expired: ({ canBuy }) => ({
    tone: "warn",
    icon: "clock",
    title: "The time to pay has run out",
    text: "The units went back on sale and nothing was charged. Should a payment still arrive, it either completes this order or is refunded in full.",
    primary: again(canBuy),
    secondary: [ORDERS],
  }),
  cancelled: ({ canBuy }) => ({
    tone: "calm",
    icon: "back",
    title: "Order cancelled",
    text: "The units went back on sale and nothing was charged.",
    primary: again(canBuy),
    secondary: [ORDERS],
  }),
  rejected: ({ canBuy }) => ({
    tone: "bad",
    icon: "cross",
    title: "We couldn't take this order",
    text: "Nothing was charged, and nothing is left set aside for you.",
    primary: again(canBuy),
    secondary: [ORDERS],
  }),
  refunded: ({ order, canBuy }) => ({
    tone: "calm",
    icon: "back",
    title: "Refunded",
    text: `${money(order.amount_cents, order.currency)} is on its way back to you, by the way you paid.`,
    primary: again(canBuy),
    secondary: [ORDERS],
  }),
};

// Right after the 202 only id and status are known; the rest follows with the first event.
const UNTIL_KNOWN = { pending_payment: "queued", paid: "looking", refunded: "looking" };

/**
 * `paying`: this tab has been to the payment page; `declined`: and that payment failed; `canBuy`: the sale is open;
 * `mayBuyMore`: and the limit leaves room.
 */
export function orderView({ order, now, paying = false, declined = false, canBuy = false, mayBuyMore = false }) {
  const known = order.amount_cents !== undefined;
  const said = known ? order.status : (UNTIL_KNOWN[order.status] ?? order.status);
  // Only a place that the shop has confirmed is called one.
  const status = VIEWS[said] ? said : "looking";
  const facts = { order, now, paying, declined, canBuy, mayBuyMore, sum: known ? sumOf(order) : "" };
  return { key: `order-${status}`, secondary: [], ...VIEWS[status](facts) };
}

function sumOf(order) {
  const sum = money(order.amount_cents, order.currency);
  return order.quantity === 1 ? sum : `${units(order.quantity)} for ${sum}`;
}
