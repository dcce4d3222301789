// What a sale may ask for before it gives a ticket: some work for the machine, digits for its owner, a turn.

import { h } from "./dom.js";

const WORK_MS_MAX = 110_000;
const PROOFS_MAX = 3;

/** The machine's part, on a thread of its own. */
function work(wanted) {
  if (wanted.bits === 0) return Promise.resolve("");
  return new Promise((done, failed) => {
    const worker = new Worker("/assets/js/proof-worker.js", { type: "module" });
    const end = (how, value) => {
      clearTimeout(timer);
      worker.terminate();
      how(value);
    };
    const timer = setTimeout(() => end(failed, new Error("too long")), WORK_MS_MAX);
    worker.onmessage = ({ data }) => end(done, data);
    worker.onerror = () => end(failed, new Error("no worker"));
    worker.postMessage({ challenge: wanted.challenge, bits: wanted.bits });
  });
}

/**
 * Shows the digits and waits for them; `null` when the buyer would rather not. The image comes as data: it can
 * draw, and nothing else.
 */
function readDigits(svg) {
  return new Promise((done) => {
    const src = `data:image/svg+xml,${encodeURIComponent(svg.replaceAll("currentColor", "#777"))}`;
    const input = h("input", { id: "digits", inputMode: "numeric", autocomplete: "off", maxLength: 5, required: true, autofocus: true, "aria-describedby": "digits-hint" });
    const dialog = h(
      "dialog",
      { className: "dialog", "aria-labelledby": "digits-title" },
      h("h2", { id: "digits-title" }, "Which digits are these?"),
      h(
        "form",
        { method: "dialog" },
        h("p", { id: "digits-hint" }, "The shop asks everybody during the rush, to keep machines out. Can't read them? Leave, and trying again brings other ones."),
        h("p", {}, h("img", { src, alt: "Five digits, drawn", width: 240 })),
        h("label", { htmlFor: "digits" }, "The digits in the picture"),
        input,
        h("div", { className: "dialog-buttons" }, h("button", { className: "button button-quiet", type: "button", onclick: () => dialog.close() }, "Leave"), h("button", { className: "button button-primary", value: "digits" }, "Go on")),
      ),
    );
    // Esc and "Leave" close it without a value.
    dialog.addEventListener("close", () => (dialog.remove(), done(dialog.returnValue === "digits" ? input.value : null)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Brings what a ticket is refused for, until there is one. `first` is the refusal, `ask(body)` asks again,
 * `wait()` waits for a pass, and gives the refusal that ended the wait where there was one.
 */
export async function enter({ first, ask, wait, solve = work, digits = readDigits }) {
  const body = {};
  let answer = first;
  for (let proofs = 0; proofs < PROOFS_MAX; ) {
    if (answer.code === "waiting_room" && !body.pass) {
      const pass = await wait();
      if (typeof pass !== "string") return pass ?? answer;
      body.pass = pass;
    } else if (answer.code === "proof_required" && answer.body?.proof) {
      proofs += 1;
      const wanted = answer.body.proof;
      const captcha = wanted.captcha ? await digits(wanted.captcha) : undefined;
      // Nothing is sent for somebody who left: an empty answer would only use the challenge up.
      if (captcha === null) return { ...answer, code: "proof_left" };
      const solution = await solve(wanted).catch(() => null);
      if (solution === null) return { ...answer, code: "proof_undone" };
      body.proof = { challenge: wanted.challenge, solution, captcha };
    } else {
      return answer;
    }
    answer = await ask(body);
  }
  return answer;
}
