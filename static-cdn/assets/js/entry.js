// What a sale may ask for before it gives a ticket: some work for the machine, digits for its owner, a turn.

import { openStream, paths, post } from "./api.js";
import { createSseParser } from "./sse.js";

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

/** Shows the digits and waits for them. The image comes as data: it can draw, and nothing else. */
function readDigits(svg) {
  return new Promise((done) => {
    const dialog = document.createElement("dialog");
    const form = document.createElement("form");
    form.method = "dialog";
    const image = document.createElement("img");
    image.alt = "Five digits";
    image.width = 240;
    image.src = `data:image/svg+xml,${encodeURIComponent(svg.replaceAll("currentColor", "#777"))}`;
    const input = document.createElement("input");
    Object.assign(input, { inputMode: "numeric", autocomplete: "off", maxLength: 5, required: true });
    input.setAttribute("aria-label", "The digits in the picture");
    const button = document.createElement("button");
    button.textContent = "Go on";
    form.append(image, input, button);
    dialog.append(form);
    dialog.addEventListener("close", () => (dialog.remove(), done(input.value)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Waits for the turn; resolves with a pass, or `null` when there is none to be had. */
async function turn({ sale, token, onPlace }) {
  const key = `shop.place.${sale}`;
  for (let tries = 0; tries < 50; tries += 1) {
    const held = sessionStorage.getItem(key) ?? undefined;
    const answer = await post(paths.room(sale), { place: held }, { token });
    if (!answer.ok) return null;
    if (answer.body.pass) return answer.body.pass;
    sessionStorage.setItem(key, answer.body.place);
    onPlace(answer.body);
    const response = await openStream(`${paths.room(sale)}/events`, { token });
    let pass = null;
    let over = false;
    const feed = createSseParser(({ data }) => {
      const now = JSON.parse(data);
      onPlace(now);
      pass = now.pass ?? null;
      over = now.state === "ended";
    });
    try {
      const [reader, text] = [response.body.getReader(), new TextDecoder()];
      for (let piece; !pass && !over && !(piece = await reader.read()).done; ) feed(text.decode(piece.value, { stream: true }));
      reader.cancel();
    } catch {
      await new Promise((done) => setTimeout(done, 1000 + 2000 * Math.random()));
    }
    if (pass) return pass;
    if (over) return null;
  }
  return null;
}

/** Asks for a ticket and brings what is asked for. `ask(body)` sends the request. */
export async function enter({ ask, sale, token, onPlace, solve = work, digits = readDigits, wait = turn }) {
  const body = {};
  let answer = await ask(undefined);
  for (let proofs = 0; proofs < PROOFS_MAX; ) {
    if (answer.code === "waiting_room" && !body.pass) {
      body.pass = await wait({ sale, token, onPlace });
      if (!body.pass) return answer;
    } else if (answer.code === "proof_required" && answer.body?.proof) {
      proofs += 1;
      const wanted = answer.body.proof;
      const captcha = wanted.captcha ? await digits(wanted.captcha) : undefined;
      const solution = await solve(wanted).catch(() => null);
      if (solution === null) return answer;
      body.proof = { challenge: wanted.challenge, solution, captcha };
    } else {
      return answer;
    }
    answer = await ask(body);
  }
  return answer;
}
