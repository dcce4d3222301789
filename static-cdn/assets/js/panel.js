// Draws the buying panel. The elements stay, their contents change: whoever has the keyboard focus on a
// button keeps it, and only what is new is read out.

import { countdown } from "./countdown.js";
import { h, icon, setText } from "./dom.js";
import { money } from "./format.js";
import { quantityPicker } from "./quantity.js";

/** `announce` reads a sentence out; `onAction(action, view)` is told what was pressed. */
export function createPanel(root, { clock, announce, onAction }) {
  const badge = h("span", { className: "panel-icon" });
  const title = h("h2", { id: "panel-title", tabIndex: -1 });
  const text = h("p", { className: "panel-text" });
  const timer = countdown(announce);
  const note = h("p", { className: "panel-note", hidden: true });
  const primary = h("button", { type: "button", className: "button button-primary" });
  const secondary = h("div", { className: "panel-more" });
  const quantity = quantityPicker(() => label());
  let view = null;
  let sale = null;

  root.setAttribute("aria-labelledby", "panel-title");
  root.replaceChildren(h("div", { className: "panel-head" }, badge, h("div", {}, title, text)), timer.node, quantity.node, primary, note, secondary);

  primary.addEventListener("click", () => {
    if (primary.getAttribute("aria-disabled") !== "true") onAction(view.primary.action, view);
  });

  /** Buttons that buy say what it will cost. */
  function label() {
    const { action, disabled, busy, label: words, quantity: taken } = view.primary;
    const count = action === "take" ? taken : view.quantity ? quantity.value() : 1;
    const buys = (action === "buy" || action === "take") && !disabled && !busy && sale;
    const many = action === "buy" && count > 1 ? words.replace(/^Buy now$/, `Buy ${count}`) : words;
    setText(primary, buys ? `${many} · ${money(sale.price_cents * count, sale.currency)}` : words);
  }

  function drawPrimary() {
    const had = document.activeElement === primary;
    primary.hidden = !view.primary;
    if (view.primary) {
      primary.disabled = Boolean(view.primary.disabled);
      primary.setAttribute("aria-disabled", String(Boolean(view.primary.busy)));
      primary.dataset.action = view.primary.action;
      label();
    }
    if (had && (primary.hidden || primary.disabled)) title.focus({ preventScroll: true });
  }

  function drawSecondary(next) {
    if (JSON.stringify(next) === secondary.dataset.shown) return;
    const had = secondary.contains(document.activeElement);
    secondary.dataset.shown = JSON.stringify(next);
    secondary.replaceChildren(
      ...next.map((item) => h("button", { type: "button", className: "button button-quiet", "data-action": item.action, onclick: () => onAction(item.action, view) }, item.label)),
    );
    if (had) title.focus({ preventScroll: true });
  }

  function render(next, facts) {
    const news = view?.key !== next.key || view?.title !== next.title;
    if (view?.icon !== next.icon) badge.replaceChildren(icon(next.icon));
    view = next;
    sale = facts.sale;
    root.dataset.tone = next.tone;
    root.dataset.state = next.key;
    root.setAttribute("aria-busy", String(next.busy));
    setText(title, next.title);
    setText(text, next.text);
    setText(note, facts.note ?? "");
    note.hidden = !facts.note;
    quantity.show(next.quantity ? sale.per_user_limit : 0);
    drawPrimary();
    drawSecondary(next.secondary.filter(Boolean));
    timer.show(next.timer, facts.timerSpan ?? 0);
    timer.tick(clock.now());
    if (news && next.key !== "loading") announce(`${next.title}. ${next.text}`);
  }

  return { render, tick: () => timer.tick(clock.now()), quantity: quantity.value };
}
