// The countdown in the panel: large digits before the opening, a draining bar while there is time to pay,
// a quiet line for the rest. Ticking digits are never read out, only a few milestones are.

import { h, setText } from "./dom.js";
import { countdownParts, minutesSeconds, spanInWords } from "./format.js";

const MILESTONES_MS = [300_000, 60_000, 30_000, 10_000];

function digits() {
  const groups = ["days", "hours", "minutes", "seconds"].map((unit) => {
    const value = h("span", { className: "digit-value" });
    return { unit, value, node: h("span", { className: "digit" }, value, h("span", { className: "digit-unit" }, unit)) };
  });
  return {
    nodes: groups.map((group) => group.node),
    show(ms) {
      const parts = countdownParts(ms);
      for (const { unit, value, node } of groups) {
        // Days are left out when there are none; the other three keep the line from jumping.
        node.hidden = unit === "days" && parts.days === 0;
        setText(value, String(parts[unit]).padStart(2, "0"));
      }
    },
  };
}

export function countdown(announce) {
  const label = h("span", { className: "timer-label" });
  const clock = digits();
  const big = h("span", { className: "timer-digits" }, ...clock.nodes);
  const plain = h("span", { className: "timer-plain" });
  const fill = h("span", { className: "timer-fill" });
  const bar = h("span", { className: "timer-bar" }, fill);
  const node = h("div", { className: "timer", role: "timer", hidden: true }, label, big, plain, bar);
  let shown = null;
  let span = 0;
  let lastLeft = Infinity;

  return {
    node,
    /** `spanMs` is what a full bar stands for. */
    show(timer, spanMs) {
      if (timer?.to !== shown?.to || timer?.kind !== shown?.kind) lastLeft = Infinity;
      shown = timer;
      span = spanMs;
      node.hidden = !timer;
      if (!timer) return;
      node.dataset.kind = timer.kind;
      setText(label, timer.label);
      big.hidden = timer.kind !== "opens";
      plain.hidden = timer.kind === "opens";
      bar.hidden = timer.kind !== "pay" || span <= 0;
    },
    tick(now) {
      if (!shown) return;
      const left = Math.max(0, shown.to - now);
      if (shown.kind === "opens") clock.show(left);
      else setText(plain, shown.kind === "retry" ? `${Math.ceil(left / 1000)} s` : minutesSeconds(left));
      if (!bar.hidden) fill.style.transform = `scaleX(${Math.min(1, left / span)})`;
      node.dataset.urgent = String(shown.kind === "pay" && left < 60_000);
      // Several are passed at once after a sleep or in a tab that was hidden: the smallest is the true one.
      const passed = MILESTONES_MS.findLast((mark) => lastLeft > mark && left <= mark);
      if (passed && lastLeft !== Infinity && shown.kind !== "retry" && left > 0) announce(`${shown.label} ${spanInWords(passed)}.`);
      lastLeft = left;
    },
  };
}
