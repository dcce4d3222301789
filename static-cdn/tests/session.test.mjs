import assert from "node:assert/strict";
import { test } from "node:test";
// What is imported on demand is at hand here, so that no test waits for a disk.
import { createDialog } from "../assets/js/account.js";
import { createClock } from "../assets/js/clock.js";
import { claimsOf, createAccount, createSession, tabStorage, USER_NAME } from "../assets/js/session.js";
import { FakeElement, installDom, memory, serve, settle, tokenOf } from "./fake-dom.mjs";

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

test("where storage is blocked, or refuses everything, the shop works until the next reload", () => {
  const refuse = () => {
    throw new Error("denied");
  };
  for (const find of [refuse, () => null, () => ({ getItem: refuse, setItem: refuse, removeItem: refuse })]) {
    const session = createSession(tabStorage(find), () => 0);
    session.signIn(tokenOf({ sub: "ada" }));
    assert.equal(session.user(), "ada");
    session.signOut();
    assert.equal(session.user(), null);
  }
  const tab = memory();
  assert.equal(tabStorage(() => tab), tab, "and a storage that works is used");
  assert.equal(tab.kept.size, 0);
});

test("a phone whose clock is an hour ahead keeps its session: the shop's clock judges", () => {
  const exp = 10_000;
  const clock = createClock(() => 0, () => (exp + 3_600) * 1000);
  const session = createSession(memory(), clock.serverNow);
  session.signIn(tokenOf({ sub: "ada", exp }));
  assert.equal(session.user(), "ada");
  clock.observe((exp - 5) * 1000, 0, 0);
  assert.equal(session.user(), "ada");
  clock.observe((exp + 5) * 1000, 0, 0);
  assert.equal(session.user(), null);
});

test("a token handed over in the address is taken once and removed from it", () => {
  const token = tokenOf({ sub: "ada" });
  installDom({ path: "/s/x", hash: `#order=o-1&token=${token}` });
  const session = createSession(memory(), () => 0);
  session.takeHandedOver();
  assert.equal(session.token(), token);
  assert.equal(location.hash, "#order=o-1", "what else was there stays");
  session.signOut();
  session.takeHandedOver();
  assert.equal(session.user(), null);
});

test("a link can't change who is signed in, renew is all it can; nonsense signs nobody in", () => {
  const session = createSession(memory(), () => 0);
  const handOver = (token) => (installDom({ hash: `#token=${token}` }), session.takeHandedOver());
  handOver("nonsense");
  assert.deepEqual([session.user(), location.hash], [null, ""]);
  handOver(tokenOf({ sub: "ada" }));
  handOver(tokenOf({ sub: "eve" }));
  assert.deepEqual([session.user(), location.hash], ["ada", ""]);
  session.signIn(tokenOf({ sub: "bob", exp: 1 }));
  handOver(tokenOf({ sub: "ada" }));
  assert.equal(session.user(), "ada", "a token that has run out holds nobody's place, even before the shop has said the time");
  const renewed = tokenOf({ sub: "ada", exp: 9e9 });
  handOver(renewed);
  assert.equal(session.token(), renewed);
  installDom({ hash: "#orders" });
  session.takeHandedOver();
  assert.equal(location.hash, "#orders");
});

/** A page's head with the real dialog behind it. */
function head(answers) {
  installDom();
  const root = new FakeElement("div");
  document.body.append(root);
  const asked = serve(answers);
  const session = createSession(memory(), () => 0);
  const account = createAccount(root, session, () => import("../assets/js/account.js"));
  const dialog = () => document.body.find((node) => node.tag === "dialog");
  return { root, session, account, asked, dialog };
}
const demo = (what) => (what.startsWith("GET") ? [405, { code: "method_not_allowed" }] : [200, { token: tokenOf({ sub: "ada" }) }]);

test("signing in and out leaves the focus on the button that took the place of the pressed one", async () => {
  const { root, session, dialog } = head(demo);
  root.lastChild.focus();
  root.lastChild.click();
  await settle();
  const form = dialog().find((node) => node.tag === "form");
  assert.equal(document.activeElement.id, "user");
  form.find((node) => node.id === "user").value = "Ada";
  form.dispatchEvent(new Event("submit", { cancelable: true }));
  await settle();
  assert.equal(session.user(), "ada");
  assert.equal(dialog().open, false);
  assert.equal(document.activeElement, root.lastChild);
  assert.equal(root.lastChild.textContent, "Sign out");
  root.lastChild.click();
  assert.equal(document.activeElement.textContent, "Sign in");
});

test("a shop without the demo's sign-in says where signing in happens, from the beginning", async () => {
  const { account, dialog } = head(() => [404, { code: "not_found" }]);
  const answer = account.ask();
  await settle();
  const [form, elsewhere] = dialog().children.slice(1);
  assert.deepEqual([form.hidden, elsewhere.hidden], [true, false]);
  assert.doesNotMatch(elsewhere.textContent, /demonstration/);
  assert.match(elsewhere.textContent, /account service.*come here from there/);
  assert.equal(elsewhere.find((node) => node.tag === "a"), null, "and nobody is sent to a link that leads nowhere");
  dialog().escape();
  assert.equal(await answer, false);
});

test("signing in elsewhere is a link that tells which page to come back to", async () => {
  const { session } = head(() => [404, { code: "not_found" }]);
  installDom({ path: "/s/aurora", hash: "#order=o1" });
  const { ask } = createDialog(session, "https://account.test/in?shop=1&back={page}");
  ask();
  await settle();
  const dialog = document.body.find((node) => node.tag === "dialog");
  const link = dialog.find((node) => node.tag === "a");
  assert.equal(link.href, "https://account.test/in?shop=1&back=http%3A%2F%2Fshop.test%2Fs%2Faurora");
  assert.equal(link.parent.parent.hidden, false);
});

test("a dialog that could not be loaded is asked for again, as if for another", async () => {
  installDom();
  const root = new FakeElement("div");
  document.body.append(root);
  const tried = [];
  const load = async (file) => {
    tried.push(file);
    if (tried.length === 1) throw new TypeError("no network");
    return { createDialog: () => ({ ask: async () => true }) };
  };
  const account = createAccount(root, createSession(memory(), () => 0), load);
  assert.equal(await account.ask(), false);
  assert.match(root.textContent, /Try again/);
  assert.equal(await account.ask(), true);
  assert.deepEqual(tried, ["./account.js", "./account.js?again=1"]);
});

test("the head follows a session that runs out", () => {
  installDom();
  const root = new FakeElement("div");
  let now = 0;
  const session = createSession(memory(), () => now);
  session.signIn(tokenOf({ sub: "ada", exp: 5 }));
  const { draw } = createAccount(root, session);
  now = 6_000;
  draw();
  assert.equal(root.textContent, "Sign in");
});

test("names are what the shop accepts", () => {
  for (const good of ["alice", "a-1", "x".repeat(64)]) assert.match(good, USER_NAME);
  for (const bad of ["", "Alice", "a b", "x".repeat(65), "é"]) assert.doesNotMatch(bad, USER_NAME);
});
