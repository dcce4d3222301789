// What the panel does with a view: what may be pressed, what is read out, and when.
import assert from "node:assert/strict";
import { test } from "node:test";
import { countdown } from "../assets/js/countdown.js";
import { createPanel } from "../assets/js/panel.js";
import { panelView } from "../assets/js/panel-view.js";
import { FakeElement, installDom } from "./fake-dom.mjs";

const sale = { price_cents: 500, currency: "EUR", per_user_limit: 4 };
const plain = { tone: "calm", icon: "bag", text: "T.", timer: null, quantity: false, busy: false, primary: null, secondary: [], note: "" };
const BUY = { action: "buy", label: "Buy now" };

function rig() {
  installDom();
  const root = new FakeElement("section");
  document.body.append(root);
  const [heard, pressed] = [[], []];
  let tick = 0;
  const clock = { now: () => 0, tick: () => tick };
  const panel = createPanel(root, { clock, announce: (text) => heard.push(text), onAction: (action) => pressed.push(action) });
  const show = (view, facts = {}) => panel.render({ ...plain, ...view }, { sale, note: "", ...facts });
  const button = root.find((node) => node.className.includes("button-primary"));
  return { panel, root, show, heard, pressed, button, pass: (ms) => (tick += ms) };
}

test("where no picker is shown, a press means as many as were wanted before", () => {
  const { panel, show, button } = rig();
  show({ key: "refusal-busy", title: "Busy", primary: { action: "buy", label: "Try again" } }, { wanted: 3 });
  assert.equal(panel.quantity(), 3);
  assert.match(button.textContent, /^Try again · .*15/);
  show({ key: "refusal-busy", title: "Busy", primary: { action: "buy", label: "Try again" } }, { wanted: 9 });
  assert.equal(panel.quantity(), 4, "never more than the limit");
  show({ key: "gate-open", title: "On sale now", quantity: true, primary: BUY }, { wanted: 3 });
  assert.equal(panel.quantity(), 1, "the picker's word comes first");
});

test("a button that waits looks and acts disabled, and keeps the focus until it wakes", () => {
  const { show, button, pressed } = rig();
  show({ key: "gate-upcoming", title: "Opens", primary: { ...BUY, label: "Not open yet", disabled: true } });
  button.focus();
  button.click();
  assert.deepEqual([pressed.length, button.getAttribute("aria-disabled"), button.dataset.busy, Boolean(button.disabled)], [0, "true", "false", false]);
  show({ key: "gate-upcoming", title: "Opens", primary: { ...BUY, label: "Not open yet", disabled: true } });
  assert.equal(document.activeElement, button);
  show({ key: "attempt", title: "…", primary: { ...BUY, busy: true } });
  button.click();
  assert.deepEqual([pressed.length, button.getAttribute("aria-disabled"), button.dataset.busy], [0, "true", "true"]);
  show({ key: "gate-open", title: "On sale now", primary: BUY });
  assert.equal(document.activeElement, button);
  button.click();
  assert.deepEqual([pressed, button.getAttribute("aria-disabled")], [["buy"], "false"]);
});

test("a note is read out when it is new, by itself or after the title", () => {
  const { root, show, heard } = rig();
  const view = { key: "order", title: "Yours" };
  show(view);
  show(view, { note: "Opening the payment page…" });
  show(view, { note: "Opening the payment page…" });
  show(view);
  show(view, { note: "Opening the payment page…" });
  show({ ...view, key: "other", note: "Lost." });
  assert.deepEqual(heard, ["Yours. T.", "Opening the payment page…", "Opening the payment page…", "Yours. T. Lost."]);
  assert.equal(root.find((node) => node.className === "panel-note").textContent, "Lost.", "a view's own note is shown too");
});

test("a title that counts is read out twice a minute at most, a new situation at once", () => {
  const { show, heard, pass } = rig();
  for (let position = 99; position > 39; position -= 1) {
    show({ key: "room-line", title: `Number ${position}` });
    pass(1_000);
  }
  assert.deepEqual(heard, ["Number 99. T.", "Number 69. T."]);
  show({ key: "room-turn", title: "It is your turn" });
  assert.equal(heard.at(-1), "It is your turn. T.");
});

test("of several milestones passed at once the nearest is read out", () => {
  installDom();
  const heard = [];
  const timer = countdown((text) => heard.push(text));
  timer.show({ kind: "opens", to: 600_000, label: "Opens in" }, 0);
  timer.tick(0);
  timer.tick(600_000 - 29_000);
  timer.tick(600_000 - 9_900);
  assert.deepEqual(heard, ["Opens in 30 seconds.", "Opens in 10 seconds."]);
});

test("a purchase that tries eight times is told at its beginning, now and then, and at its end", () => {
  const { panel, heard, pass } = rig();
  const facts = (more) => ({ sale: { ...sale, pay_within_s: 300 }, gate: { state: "open", buy: "/b", opens_at: 0, ends_at: 9e12 }, now: 0, user: "ada", attempt: null, refusal: null, order: null, trouble: null, ...more });
  const say = (more) => panel.render(panelView(facts(more)), facts(more));
  say({});
  const before = heard.length;
  for (let tries = 0; tries < 8; tries += 1) {
    say({ attempt: { step: "ticket", tries } });
    pass(500);
    say({ attempt: { step: "waiting", status: 503, code: "overloaded", tries: tries + 1, triesMax: 8, retryAt: 5 } });
    pass(7_000);
  }
  say({ refusal: { status: 503, code: "overloaded", holdsTicket: false } });
  const said = heard.slice(before);
  assert.match(said[0], /Getting your place/);
  assert.match(said[1], /Very busy/, "the first wait is news");
  assert.match(said.at(-1), /Still too busy/);
  assert.ok(said.length <= 5, said.join("\n"));
});
