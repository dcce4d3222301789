// "Your orders", a page of them at a time.

import { get, paths } from "./api.js";
import { productOf } from "./catalogue.js";
import { h } from "./dom.js";
import { orderLine, STATUS_LABEL, STATUS_TONE } from "./order-view.js";
import { isTerminal } from "./order-stream.js";

const LIVE = { pending_payment: "Pay now", queued: "Follow" };

/** `saleOf(id)` knows the sales on show; an older order's sale may be gone from them. */
export function createOrderList(root, { session, saleOf }) {
  const list = h("ul", { className: "rows" });
  const empty = h("p", { className: "empty", hidden: true }, "No orders yet. They appear here as soon as you have a place in a sale.");
  const note = h("p", { className: "form-error", role: "status" });
  const more = h("button", { type: "button", className: "button button-small", hidden: true, onclick: () => load(next) }, "Show older orders");
  root.append(list, empty, note, more);
  let next = null;
  let orders = [];

  function row(order) {
    const sale = saleOf(order.sale) ?? { id: order.sale, title: order.sale };
    const { src, hue } = productOf(sale);
    const thumb = h("span", { className: "thumb" }, h("img", { src, alt: "", width: 44, height: 44, loading: "lazy" }));
    thumb.style.setProperty("--hue", hue);
    return h(
      "li",
      { className: "row" },
      thumb,
      h("div", { className: "row-main" }, h("strong", {}, sale.title), h("span", { className: "row-sub" }, orderLine(order))),
      h("span", { className: "chip", "data-tone": STATUS_TONE[order.status] ?? "calm" }, STATUS_LABEL[order.status] ?? order.status),
      h("a", { className: "button button-small", href: `/s/${encodeURIComponent(order.sale)}#order=${encodeURIComponent(order.order_id)}` }, LIVE[order.status] ?? "Open", h("span", { className: "visually-hidden" }, ` order of ${sale.title}`)),
    );
  }

  async function load(after = null) {
    const asked = session.token();
    const answer = await get(paths.orders(after), { token: asked });
    if (asked !== session.token()) return;
    if (answer.status === 401) return session.signOut();
    note.textContent = answer.ok ? "" : "Your orders can't be read just now.";
    if (!answer.ok) return;
    // A refresh reads the first page only; older ones that were shown stay, as they were.
    const fresh = answer.body.orders;
    const ids = new Set(fresh.map((order) => order.order_id));
    const rest = orders.filter((order) => !ids.has(order.order_id));
    if (after !== null || orders.length === 0) next = answer.body.next ?? null;
    orders = after === null ? [...fresh, ...rest] : [...rest.filter((order) => orders.includes(order)), ...fresh];
    draw();
  }

  function draw() {
    list.replaceChildren(...orders.map(row));
    empty.hidden = orders.length > 0;
    more.hidden = next === null;
  }

  return {
    load,
    draw,
    clear() {
      orders = [];
      next = null;
      list.replaceChildren();
    },
    /** What the statuses were, as one string: whoever compares two of them knows if anything moved. */
    fingerprint: () => orders.map((order) => order.order_id + order.status).join(),
    anyLive: () => orders.some((order) => !isTerminal(order.status)),
  };
}
