// One sale on the front page.

import { productOf } from "./catalogue.js";
import { h, setText } from "./dom.js";
import { dayAndTime, minutesSeconds, money, spanInWords, units } from "./format.js";
import { watchGate } from "./gate.js";

const CHIP = { upcoming: "Opens soon", open: "On sale now", paused: "Paused", sold_out: "Sold out", ended: "Ended" };
const HOUR_MS = 3_600_000;

const byItsTimes = (sale, now) => (now < sale.opens_at ? "upcoming" : now < sale.ends_at ? "open" : "ended");

function line(sale, state, now) {
  const left = sale.opens_at - now;
  if (state === "upcoming" && left > 24 * HOUR_MS) return `Opens ${dayAndTime(sale.opens_at)}`;
  if (state === "upcoming") return left > HOUR_MS ? `Opens in ${spanInWords(left)}` : `Opens in ${minutesSeconds(left)}`;
  if (state === "open") return `Ends ${dayAndTime(sale.ends_at)}`;
  if (state === "sold_out") return "Unpaid units may come back";
  return state === "paused" ? "Goes on soon" : `Ended ${dayAndTime(Math.min(sale.ends_at, now))}`;
}

/** A front page may stay open for hours: its cards ask the gate at a stroll. */
const STROLL_MS = 15_000;

export function createSaleCard(sale, { clock, token }) {
  const { src, hue } = productOf(sale);
  const chip = h("span", { className: "chip" });
  const when = h("span", { className: "card-when" });
  const picture = h("span", { className: "stage card-stage" }, h("img", { src, alt: "", width: 240, height: 225 }));
  picture.style.setProperty("--hue", hue);
  const node = h(
    "li",
    { className: "card" },
    picture,
    h(
      "div",
      { className: "card-body" },
      chip,
      h("h3", {}, h("a", { href: `/s/${encodeURIComponent(sale.id)}` }, sale.title)),
      h("p", { className: "card-price" }, money(sale.price_cents, sale.currency), h("span", { className: "card-offer" }, `${units(sale.stock)} on offer`)),
      when,
    ),
  );
  let gate = null;
  let watch = null;

  function tick() {
    const now = clock.now();
    const state = gate?.state ?? byItsTimes(sale, now);
    setText(chip, CHIP[state]);
    chip.dataset.state = node.dataset.state = state;
    setText(when, line(sale, state, now));
  }
  const onGate = (news) => {
    gate = news;
    tick();
  };
  /** Its gate is asked for as long as it is watched. */
  function setWatched(wanted) {
    if (!wanted) watch?.stop();
    watch = wanted ? (watch ?? watchGate({ sale: sale.id, clock, token, onGate, onTrouble: () => {}, floorMs: STROLL_MS })) : null;
  }
  tick();
  return { node, tick, setWatched };
}
