// What a sale may ask for before a ticket.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { enter } from "../assets/js/entry.js";
import { installDom, settle } from "./fake-dom.mjs";
import { firstWord, solve } from "../assets/js/proof-worker.js";

const sha = (text) => createHash("sha256").update(text).digest();

test("the worker computes SHA-256", () => {
  for (let n = 0; n < 300; n += 1) {
    const text = "x".repeat(n);
    assert.equal(firstWord(text), sha(text).readUInt32BE(0), `${n} characters`);
  }
});

test("a solution does the work that was asked for", () => {
  for (const bits of [0, 1, 8, 12]) {
    const challenge = `c-${bits}`;
    assert.ok(Math.clz32(sha(`${challenge}:${solve({ challenge, bits })}`).readUInt32BE(0)) >= bits);
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
