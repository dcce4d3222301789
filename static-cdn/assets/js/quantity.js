// How many: a number between one and what a buyer may have, by buttons or by typing.

import { h } from "./dom.js";

export function quantityPicker(onChange) {
  const field = h("input", { type: "number", id: "quantity", inputMode: "numeric", min: "1", value: "1", required: true, autocomplete: "off" });
  const less = h("button", { type: "button", "aria-label": "One less", onclick: () => set(value() - 1) }, "−");
  const more = h("button", { type: "button", "aria-label": "One more", onclick: () => set(value() + 1) }, "+");
  const hint = h("span", { className: "quantity-hint" });
  const node = h("div", { className: "quantity", hidden: true }, h("label", { htmlFor: "quantity" }, "Quantity"), h("span", { className: "stepper" }, less, field, more), hint);
  let max = 1;

  const value = () => Math.min(max, Math.max(1, Math.trunc(Number(field.value)) || 1));
  function set(next) {
    field.value = String(Math.min(max, Math.max(1, next)));
    // Not `disabled`: at the end of the range the button must not lose the keyboard's focus.
    less.setAttribute("aria-disabled", String(value() <= 1));
    more.setAttribute("aria-disabled", String(value() >= max));
    onChange();
  }
  field.addEventListener("input", onChange);
  field.addEventListener("change", () => set(value()));

  return {
    node,
    value,
    /** 0 hides it. */
    show(limit) {
      node.hidden = limit < 2;
      if (limit < 2 || limit === max) return;
      max = limit;
      field.max = String(limit);
      hint.textContent = `max. ${limit}`;
      less.setAttribute("aria-disabled", String(value() <= 1));
      more.setAttribute("aria-disabled", String(value() >= max));
    },
  };
}
