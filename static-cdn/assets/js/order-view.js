// What the buyer of an order is told, status by status. Pure: an order in, words and actions out.

import { dayAndTime, money, shortId, timeOfDay, units } from "./format.js";

export const STATUS_LABEL = {
  queued: "Being written",
  pending_payment: "Waiting for payment",
  paid: "Paid",
  cancelled: "Cancelled",
  expired: "Expired",
  rejected: "Not taken",
  refunded: "Refunded",
};
export const STATUS_TONE = { queued: "wait", pending_payment: "wait", paid: "good", cancelled: "calm", expired: "warn", rejected: "bad", refunded: "calm" };

const pay = (label) => ({ action: "pay", label });
const CANCEL = { action: "cancel", label: "Cancel order" };
const ORDERS = { action: "orders", label: "See my orders" };
const again = (canBuy) => (canBuy ? { action: "again", label: "Buy again" } : null);

const VIEWS = {
  queued: () => ({
    tone: "wait",
    icon: "ticket",
    title: "You have a place",
    text: "Your units are set aside. The order is being written; you can pay in a moment.",
    busy: true,
    primary: { action: "pay", label: "Preparing payment…", disabled: true },
  }),
  pending_payment: ({ order, now, paying, sum }) => {
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
    return {
      tone: "live",
      icon: "bag",
      title: paying ? "Waiting for your payment" : "It's yours. Pay to keep it",
      text: paying
        ? `Just paid ${sum}? This page says so as soon as the payment is confirmed.`
        : `${sum}, kept for you until ${timeOfDay(order.pay_by)}.`,
      timer: { kind: "pay", to: order.pay_by, label: "Left to pay" },
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

/** `paying`: this tab has been to the payment page; `canBuy`: the sale is open; `mayBuyMore`: and the limit leaves room. */
export function orderView({ order, now, paying = false, canBuy = false, mayBuyMore = false }) {
  // Right after the 202 only id and status are known; the rest follows with the first event.
  const known = order.amount_cents !== undefined;
  const status = known || order.status !== "pending_payment" ? order.status : "queued";
  const facts = { order, now, paying, canBuy, mayBuyMore, sum: known ? sumOf(order) : "" };
  return { key: `order-${status}`, secondary: [], ...(VIEWS[status] ?? VIEWS.queued)(facts) };
}

function sumOf(order) {
  const sum = money(order.amount_cents, order.currency);
  return order.quantity === 1 ? sum : `${units(order.quantity)} for ${sum}`;
}

/** One line for a list of orders. */
export const orderLine = (order) => `${order.quantity} × · ${money(order.amount_cents, order.currency)} · ${dayAndTime(order.created_at)}`;
