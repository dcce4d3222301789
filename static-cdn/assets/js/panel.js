// Draws the buying panel. The elements stay, their contents change: whoever has the keyboard focus on a
// button keeps it, and only what is new is read out.

import { countdown } from "./countdown.js";
import { h, icon, setText } from "./dom.js";
import { money } from "./format.js";
import { quantityPicker } from "./quantity.js";

// A title may count, or come and go: nobody wants to hear each step of a line or of a busy purchase.
const SPEAK_AGAIN_MS = 30_000;

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
  let wanted = 1;
  let spoken = { about: "loading" };

  root.setAttribute("aria-labelledby", "panel-title");
  root.replaceChildren(h("div", { className: "panel-head" }, badge, h("div", {}, title, text)), timer.node, quantity.node, primary, note, secondary);

  primary.addEventListener("click", () => {
    if (primary.getAttribute("aria-disabled") !== "true") onAction(view.primary.action, view);
  });

  /** How many a press would buy: what the picker says, or, where it is not shown, what was wanted before. */
  const count = () => (view.quantity && sale.per_user_limit > 1 ? quantity.value() : Math.min(wanted, sale?.per_user_limit ?? wanted));

  /** Buttons that buy say what it will cost. */
  function label() {
    const { action, disabled, busy, label: words, quantity: taken } = view.primary;
    const n = action === "take" ? taken : count();
    const buys = (action === "buy" || action === "take") && !disabled && !busy && sale;
    const many = action === "buy" && n > 1 ? words.replace(/^Buy now$/, `Buy ${n}`) : words;
    setText(primary, buys ? `${many} · ${money(sale.price_cents * n, sale.currency)}` : words);
  }

  function drawPrimary() {
    const had = document.activeElement === primary;
    primary.hidden = !view.primary;
    if (view.primary) {
      // Not `disabled`: the focus may rest on the button until it wakes, and pressing it does nothing.
      primary.setAttribute("aria-disabled", String(Boolean(view.primary.disabled || view.primary.busy)));
      primary.dataset.busy = String(Boolean(view.primary.busy));
      primary.dataset.action = view.primary.action;
      label();
    }
    if (had && primary.hidden) title.focus({ preventScroll: true });
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

  /**
   * Reads out what is new, as one sentence after the other: the live region keeps only the last text. Views with the
   * same `speech` are one situation.
   */
  function speak(next, note) {
    const about = next.speech ?? next.key;
    const retold = next.title !== spoken.title && clock.tick() - spoken.at >= SPEAK_AGAIN_MS;
    const news = about !== spoken.about || retold;
    const said = [news && `${next.title}. ${next.text}`, note !== spoken.note && note].filter(Boolean).join(" ");
    spoken = { ...(news ? { about, title: next.title, at: clock.tick() } : spoken), note };
    if (said) announce(said);
  }

  function render(next, facts) {
    const noted = facts.note || next.note;
    if (view?.icon !== next.icon) badge.replaceChildren(icon(next.icon));
    view = next;
    sale = facts.sale;
    wanted = facts.wanted ?? 1;
    root.dataset.tone = next.tone;
    root.dataset.state = next.key;
    root.setAttribute("aria-busy", String(next.busy));
    setText(title, next.title);
    setText(text, next.text);
    setText(note, noted);
    note.hidden = !noted;
    quantity.show(next.quantity ? sale.per_user_limit : 0);
    drawPrimary();
    drawSecondary(next.secondary.filter(Boolean));
    timer.show(next.timer, facts.timerSpan ?? 0);
    timer.tick(clock.now());
    speak(next, noted);
  }

  return { render, tick: () => timer.tick(clock.now()), quantity: count };
}
