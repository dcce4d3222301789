// What a sale may ask for before a ticket.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { enter } from "../assets/js/entry.js";
import { installDom, settle } from "./fake-dom.mjs";
import { solve, stateAfter } from "../assets/js/proof-worker.js";

const sha = (text) => createHash("sha256").update(text).digest();

const hex = (state) => [...state].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
/** Text of every length that a block can end in, then of any. */
const text = (length) => Array.from({ length }, () => String.fromCharCode(32 + Math.floor(95 * Math.random()))).join("");

test("the worker computes SHA-256", () => {
  for (let n = 0; n < 2_000; n += 1) {
    const said = text(n < 300 ? n : Math.floor(400 * Math.random()));
    assert.equal(hex(stateAfter(said)), sha(said).toString("hex"), said);
  }
});

test("a solution does the work that was asked for, is short enough, and is the first there is", () => {
  const zeros = (said) => Math.clz32(sha(said).readUInt32BE(0));
  for (const bits of [0, 1, 8, 12]) assert.ok(zeros(`c:${solve({ challenge: "c", bits })}`) >= bits);
  for (let length = 0; length < 200; length += 1) {
    const challenge = text(length);
    const solution = solve({ challenge, bits: 6 });
    assert.ok(zeros(`${challenge}:${solution}`) >= 6, challenge);
    assert.ok(Buffer.byteLength(solution) <= 32, "the shop takes no more");
    // Counted in letters from a on: what came before was rightly passed over.
    const [fill, count] = [solution.slice(0, -8), [...solution.slice(-8)].reduce((n, letter) => n * 16 + letter.charCodeAt(0) - 97, 0)];
    const counted = (n) => n.toString(16).padStart(8, "0").replace(/./g, (digit) => String.fromCharCode(97 + Number.parseInt(digit, 16)));
    for (let n = 0; n < count; n += 1) assert.ok(zeros(`${challenge}:${fill}${counted(n)}`) < 6);
  }
});

const refused = (code, body = {}) => ({ ok: false, status: 403, code, body: { code, ...body } });
const issued = { ok: true, status: 200, body: { ticket: "t" } };

test("what is asked for is brought, one after the other", async () => {
  const sent = [];
  const answers = [refused("proof_required", { proof: { challenge: "c", bits: 2, captcha: "<svg/>" } }), issued];
  const answer = await enter({
    first: refused("waiting_room"),
    ask: async (body) => (sent.push(structuredClone(body)), answers.shift()),
    wait: async () => "pass",
    solve: async () => "7",
    digits: async () => "12345",
  });
  assert.equal(answer, issued);
  assert.deepEqual(sent, [{ pass: "pass" }, { pass: "pass", proof: { challenge: "c", solution: "7", captcha: "12345" } }]);
});

test("nobody works for ever, and a sold-out room ends the wait", async () => {
  let asked = 0;
  const again = refused("proof_required", { proof: { challenge: "c", bits: 2 } });
  assert.equal(await enter({ first: again, ask: async () => ((asked += 1), again), solve: async () => "1" }), again);
  assert.equal(asked, 3);
  const closed = refused("waiting_room");
  assert.equal(await enter({ first: closed, ask: async () => closed, wait: async () => null }), closed);
});

test("a sign-in that ran out in the waiting room is the answer", async () => {
  const out = { ok: false, status: 401, code: "unauthenticated" };
  assert.equal(await enter({ first: refused("waiting_room"), ask: assert.fail, wait: async () => out }), out);
});

const digitsWanted = refused("proof_required", { proof: { challenge: "c", bits: 0, captcha: "<svg/>" } });

test("the digits are asked for in a dialog that says what it is", async () => {
  installDom();
  const sent = [];
  const end = enter({ first: digitsWanted, ask: async (body) => (sent.push(body), issued) });
  await settle();
  const dialog = document.body.find((node) => node.tag === "dialog");
  assert.equal(dialog.className, "dialog");
  const title = document.getElementById(dialog.getAttribute("aria-labelledby"));
  assert.ok(dialog.contains(title) && title.textContent.length > 0);
  assert.ok(dialog.find((node) => node.tag === "label").htmlFor === document.activeElement.id);
  document.activeElement.value = "12345";
  dialog.close(dialog.find((node) => node.tag === "button" && node.value !== "").value);
  assert.equal(await end, issued);
  assert.equal(sent[0].proof.captcha, "12345");
});

test("whoever leaves the digits, by Esc or by the button, is asked no more, and the challenge is not used up", async () => {
  for (const leave of [(dialog) => dialog.escape(), (dialog) => dialog.find((node) => node.textContent === "Leave").click()]) {
    installDom();
    const end = enter({ first: digitsWanted, ask: assert.fail });
    await settle();
    leave(document.body.find((node) => node.tag === "dialog"));
    const answer = await end;
    assert.deepEqual([answer.ok, answer.code], [false, "proof_left"]);
    assert.equal(document.body.find((node) => node.tag === "dialog"), null);
  }
});

test("work that takes too long, or that no worker does, is told as what it is", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const workers = [];
  globalThis.Worker = class {
    constructor() {
      workers.push(this);
    }
    postMessage() {}
    terminate() {
      this.isOver = true;
    }
  };
  t.after(() => delete globalThis.Worker);
  const first = refused("proof_required", { proof: { challenge: "c", bits: 30 } });
  for (const end of [() => t.mock.timers.tick(110_000), () => workers.at(-1).onerror()]) {
    const entering = enter({ first, ask: assert.fail });
    await settle();
    end();
    assert.equal((await entering).code, "proof_undone");
    assert.equal(workers.at(-1).isOver, true);
  }
});

test("what ended the wait is the answer, also a line that is down", async () => {
  for (const end of [{ ok: false, status: 410, code: "ended" }, { ok: false, status: 0, code: "unreachable" }]) {
    assert.equal(await enter({ first: refused("waiting_room"), ask: assert.fail, wait: async () => end }), end);
  }
});
