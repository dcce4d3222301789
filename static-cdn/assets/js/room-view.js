// What the panel says where a sale has a waiting room. Pure: facts in, one view out, or `null` where the
// gate's own view says all there is.

import { spanInWords } from "./format.js";

const waiting = (label) => ({ action: "buy", label, disabled: true });

const DRAW = "Whoever is here before the opening takes part in a draw: being first does not matter, being here does.";

const drawIn = (gate) => ({ kind: "opens", to: gate.opens_at, label: "Draw in" });

/** Somebody whose place the shop has not confirmed: nobody is told that they take part before they do. */
const askingView = ({ gate, now }) => ({
  key: "room-asking",
  tone: "wait",
  icon: "crowd",
  title: "Taking your place…",
  text: "The shop has not confirmed it yet. This page keeps asking; please keep it open.",
  timer: gate?.state === "upcoming" && gate.opens_at > now ? drawIn(gate) : null,
  busy: true,
  primary: waiting("One moment…"),
});

function beforeTheDraw({ gate, user, room }) {
  const timer = drawIn(gate);
  if (!user) {
    return { key: "room-sign-in", tone: "calm", icon: "person", title: "Take part in the draw", text: DRAW, timer, primary: { action: "sign-in-and-join", label: "Sign in and take part" } };
  }
  if (!room) return { key: "room-join", tone: "calm", icon: "person", title: "Take part in the draw", text: DRAW, timer, primary: { action: "join", label: "Take part" } };
  return {
    key: "room-joined",
    tone: "good",
    icon: "ticket",
    title: "You take part in the draw",
    text: "At the opening everybody here gets a number by lot, and people are let in one after the other. Keep this page open: it tells you.",
    timer,
    primary: waiting("In the waiting room"),
  };
}

/** Somebody who waits for their turn. */
export function lineView(facts) {
  const { gate, room } = facts;
  if (room.asking) return askingView(facts);
  const soldOut = gate?.state === "sold_out" || room.state === "sold_out";
  const away = room.wait_s > 0 ? ` About ${spanInWords(room.wait_s * 1000)} to go.` : "";
  return {
    key: soldOut ? "room-sold-out" : "room-line",
    tone: soldOut ? "calm" : "wait",
    icon: soldOut ? "bag" : "crowd",
    title: room.position ? `You are number ${room.position} in line` : "The draw is being made",
    text: soldOut ? "Every unit is taken for now. Units that stay unpaid come back, and your place is kept." : `People are let in one after the other.${away} Keep this page open.`,
    busy: !soldOut,
    primary: waiting("Waiting for your turn"),
  };
}

/** Facts as in `panel-view.js`; `room` is what the waiting room said last, `{asking: true}` before its first word, or `null`. */
export function roomView(facts) {
  const { sale, gate, room, now } = facts;
  if (!gate.room) return null;
  if (gate.state === "upcoming" && gate.opens_at > now) return room?.asking ? askingView(facts) : beforeTheDraw(facts);
  const canBuy = gate.state === "open" && Boolean(gate.buy);
  if (canBuy && !(room && (!room.pass || room.pass_ends_at > now))) {
    return {
      key: "room-open",
      tone: "live",
      icon: "crowd",
      title: "On sale, one after the other",
      text: "Press once and you are in line; when it is your turn, we order for you.",
      quantity: sale.per_user_limit > 1,
      primary: { action: "buy", label: "Buy now" },
    };
  }
  if (!room || !["upcoming", "open", "sold_out"].includes(gate.state)) return null;
  if (!room.pass) return lineView(facts);
  if (!canBuy) return null;
  return {
    key: "room-turn",
    tone: "live",
    icon: "bolt",
    title: "It is your turn",
    text: "You are let in. Press before your turn is over.",
    timer: { kind: "turn", to: room.pass_ends_at, label: "Your turn ends in" },
    quantity: sale.per_user_limit > 1,
    primary: { action: "buy", label: "Buy now" },
  };
}
