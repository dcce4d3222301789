import assert from "node:assert/strict";
import { test } from "node:test";
import { claimsOf, createSession, USER_NAME } from "../assets/js/session.js";

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const tokenOf = (claims) => `${encode({ alg: "HS256" })}.${encode(claims)}.signature`;

function memory() {
  const kept = new Map();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) };
}

test("a session is its token's subject until the token expires", () => {
  let now = 1_000_000;
  const session = createSession(memory(), () => now);
  const seen = [];
  session.onChange(() => seen.push(session.user()));
  session.signIn(tokenOf({ sub: "ada-7", exp: 2_000 }));
  assert.equal(session.user(), "ada-7");
  now = 2_000_000;
  assert.equal(session.user(), null);
  assert.equal(session.token(), null);
  session.signOut();
  assert.deepEqual(seen, ["ada-7", null]);
});

test("a token that is none has no claims", () => {
  for (const odd of ["", "x", "a.b.c", "a.!!.c"]) assert.deepEqual(claimsOf(odd), {});
});

test("a browser without storage is a browser nobody is signed in on", () => {
  const refuse = () => {
    throw new Error("denied");
  };
  const session = createSession({ getItem: refuse, setItem: refuse, removeItem: refuse }, () => 0);
  session.signIn(tokenOf({ sub: "ada" }));
  assert.equal(session.user(), null);
});

test("names are what the shop accepts", () => {
  for (const good of ["alice", "a-1", "x".repeat(64)]) assert.match(good, USER_NAME);
  for (const bad of ["", "Alice", "a b", "x".repeat(65), "é"]) assert.doesNotMatch(bad, USER_NAME);
});
