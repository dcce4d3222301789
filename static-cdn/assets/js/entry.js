// What a sale may ask for before it gives a ticket: some work for the machine, digits for its owner, a turn.

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

/**
 * Brings what a ticket is refused for, until there is one. `first` is the refusal, `ask(body)` asks again,
 * `wait()` waits for a pass.
 */
export async function enter({ first, ask, wait, solve = work, digits = readDigits }) {
  const body = {};
  let answer = first;
  for (let proofs = 0; proofs < PROOFS_MAX; ) {
    if (answer.code === "waiting_room" && !body.pass) {
      body.pass = await wait();
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
