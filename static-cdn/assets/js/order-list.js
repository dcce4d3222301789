// "Your orders", a page of them at a time.

import { get, paths } from "./api.js";
import { productOf } from "./catalogue.js";
import { h, setText } from "./dom.js";
import { dayAndTime, money } from "./format.js";
import { isTerminal } from "./order-stream.js";

const STATUS_LABEL = {
  queued: "Being written",
  pending_payment: "Waiting for payment",
  paid: "Paid",
  cancelled: "Cancelled",
  expired: "Expired",
  rejected: "Not taken",
  refunded: "Refunded",
};
const STATUS_TONE = { queued: "wait", pending_payment: "wait", paid: "good", cancelled: "calm", expired: "warn", rejected: "bad", refunded: "calm" };
const LIVE = { pending_payment: "Pay now", queued: "Follow" };

/** Puts `nodes` below `parent`, in this order, and touches only what is out of place: whoever has the focus keeps it. */
export function arrange(parent, nodes) {
  for (const child of [...parent.children]) if (!nodes.includes(child)) child.remove();
  nodes.forEach((node, place) => parent.children[place] !== node && parent.insertBefore(node, parent.children[place] ?? null));
}

/** `saleOf(id)` knows the sales on show; an older order's sale may be gone from them. */
export function createOrderList(root, { session, saleOf }) {
  const list = h("ul", { className: "rows" });
  const empty = h("p", { className: "empty", hidden: true }, "No orders are listed yet. One that you have just placed appears here within a minute or so.");
  const note = h("p", { className: "form-error", role: "status" });
  const more = h("button", { type: "button", className: "button button-small", hidden: true, onclick: () => load(next) }, "Show older orders");
  root.append(list, empty, note, more);
  let next = null;
  let orders = [];
  let rows = new Map();
  let known = false;

  /** A row keeps its elements for as long as its order is shown. */
  function createRow() {
    const picture = h("img", { alt: "", width: 44, height: 44, loading: "lazy" });
    const thumb = h("span", { className: "thumb" }, picture);
    const [title, sub, chip, action, rest] = [h("strong"), h("span", { className: "row-sub" }), h("span", { className: "chip" }), h("span"), h("span", { className: "visually-hidden" })];
    const link = h("a", { className: "button button-small" }, action, rest);
    const node = h("li", { className: "row" }, thumb, h("div", { className: "row-main" }, title, sub), chip, link);
    function show(order) {
      const sale = saleOf(order.sale) ?? { id: order.sale, title: order.sale };
      const { src, hue } = productOf(sale);
      if (picture.getAttribute("src") !== src) picture.setAttribute("src", src);
      thumb.style.setProperty("--hue", hue);
      setText(title, sale.title);
      setText(sub, `${order.quantity} × · ${money(order.amount_cents, order.currency)} · ${dayAndTime(order.created_at)}`);
      chip.dataset.tone = STATUS_TONE[order.status] ?? "calm";
      setText(chip, STATUS_LABEL[order.status] ?? order.status);
      link.setAttribute("href", `/s/${encodeURIComponent(order.sale)}#order=${encodeURIComponent(order.order_id)}`);
      setText(action, LIVE[order.status] ?? "Open");
      setText(rest, ` order of ${sale.title}`);
    }
    return { node, link, show };
  }

  /** Resolves with the answer; one for somebody who has left counts as none. */
  async function load(after = null) {
    const asked = session.token();
    const answer = await get(paths.orders(after), { token: asked });
    if (asked !== session.token()) return { ...answer, ok: false };
    if (answer.status === 401) session.signOut();
    else setText(note, answer.ok ? "" : "Your orders can't be read just now.");
    if (!answer.ok) return answer;
    // A refresh reads the first page only; older ones that were shown stay, as they were.
    const fresh = answer.body.orders;
    const ids = new Set(fresh.map((order) => order.order_id));
    const rest = orders.filter((order) => !ids.has(order.order_id));
    if (after !== null || orders.length === 0) next = answer.body.next ?? null;
    orders = after === null ? [...fresh, ...rest] : [...rest, ...fresh];
    known = true;
    draw();
    return answer;
  }

  function draw() {
    const had = document.activeElement === more;
    rows = new Map(orders.map(({ order_id: id }) => [id, rows.get(id) ?? createRow()]));
    for (const order of orders) rows.get(order.order_id).show(order);
    arrange(list, [...rows.values()].map(({ node }) => node));
    empty.hidden = !known || orders.length > 0;
    more.hidden = next === null;
    // The last page takes its button away: whoever pressed it goes on among the orders.
    if (had && more.hidden) [...rows.values()].at(-1)?.link.focus();
  }

  return {
    load,
    draw,
    clear() {
      orders = [];
      next = null;
      known = false;
      draw();
    },
    /** What the statuses were, as one string: whoever compares two of them knows if anything moved. */
    fingerprint: () => orders.map((order) => order.order_id + order.status).join(),
    anyLive: () => orders.some((order) => !isTerminal(order.status)),
  };
}
