// What a sale may ask for before a ticket.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { enter } from "../assets/js/entry.js";
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
