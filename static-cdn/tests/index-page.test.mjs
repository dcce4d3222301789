// The front page: its sales and orders stay in step with the shop, and whoever has the focus keeps it.
import assert from "node:assert/strict";
import { test } from "node:test";
// What is imported on demand is at hand here, so that no test waits for a disk.
import "../assets/js/account.js";
import { createOrderList } from "../assets/js/order-list.js";
import { FakeElement, installDom, memory, serve, settle, tokenOf } from "./fake-dom.mjs";

const day = 86_400_000;
const sale = (id, more = {}) => ({ id, title: `Sale ${id}`, price_cents: 500, currency: "EUR", stock: 9, per_user_limit: 1, opens_at: Date.now() + day, ends_at: Date.now() + 2 * day, pay_within_s: 300, ...more });
const order = (id, status) => ({ order_id: id, sale: "a", quantity: 1, amount_cents: 500, currency: "EUR", status, created_at: 1, pay_by: 9e12 });

function list() {
  installDom();
  const root = new FakeElement("section");
  document.body.append(root);
  let orders = [];
  let next = null;
  serve(() => [200, { orders, next }]);
  const session = { token: () => "t" };
  const made = createOrderList(root, { session, saleOf: (id) => sale(id) });
  const links = () => [...root].filter((node) => node.tag === "a");
  return { root, made, links, load: (now, after = null) => ((orders = now), (next = after), made.load()), answer: (now) => ((orders = now), (next = null)) };
}

test("a refresh of the orders keeps every row, changes what moved, and leaves the focus alone", async () => {
  const { root, load, links } = list();
  await load([order("o2", "queued"), order("o1", "paid")]);
  const before = links();
  before[0].focus();
  await load([order("o2", "queued"), order("o1", "paid")]);
  assert.deepEqual(links(), before);
  await load([order("o3", "queued"), order("o2", "pending_payment"), order("o1", "paid")]);
  assert.deepEqual(links().slice(1), before);
  assert.equal(document.activeElement, before[0]);
  assert.match(before[0].textContent, /Pay now/);
  assert.match(root.textContent, /Waiting for payment/);
});

test("the button for older orders hands the focus on when it goes", async () => {
  const { root, load, answer, links } = list();
  await load([order("o2", "paid")], "o2");
  const more = root.lastChild;
  answer([order("o1", "paid")]);
  more.focus();
  more.click();
  await settle();
  assert.equal(more.hidden, true);
  assert.equal(links().length, 2);
  assert.equal(document.activeElement, links()[1]);
});

test("the sales are read again after a while and when the tab is seen again, and cards that stay the same stay", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  // The page's clock moves with the timers, or no wait would ever be over.
  let tick = 0;
  t.mock.method(performance, "now", () => tick);
  const step = async (ms) => ((tick += ms), t.mock.timers.tick(ms), await settle());
  const dom = installDom({ page: "index.html" });
  let sales = [sale("a"), sale("b")];
  let up = true;
  const asked = serve((what) => (what.endsWith("/sales") ? (up ? [200, { sales }] : [503, {}, { "retry-after": "60" }]) : [404, {}]));
  const readings = () => asked.filter(({ what }) => what === "GET /api/v1/sales").length;
  await import("../assets/js/index-page.js");
  await settle();
  const cards = () => document.getElementById("sales").children;
  assert.equal(cards().length, 2);
  const [first] = cards();
  first.find((node) => node.tag === "a").focus();

  sales = [sales[0], sale("c")];
  await step(310_000);
  assert.equal(readings(), 2, "a few minutes later");
  assert.equal(cards()[0], first);
  assert.match(cards()[1].textContent, /Sale c/);
  assert.equal(document.activeElement, first.find((node) => node.tag === "a"));
  const gates = (id) => asked.filter(({ what }) => what === `GET /api/v1/sales/${id}/gate`).length;
  const before = gates("b");
  await step(100_000);
  assert.equal(gates("b"), before, "a sale that is gone is watched no more");

  dom.show(false);
  await step(3_600_000);
  assert.equal(readings(), 2, "a hidden tab does not ask");
  up = false;
  dom.show(true);
  await settle();
  assert.equal(readings(), 3, "one that is seen again does");
  assert.equal(document.getElementById("sales-trouble").hidden, false);
  dom.show(false);
  dom.show(true);
  await settle();
  assert.equal(readings(), 3, "and never sooner than it was told");
  up = true;
  await step(95_000);
  assert.equal(readings(), 4);
  assert.equal(document.getElementById("sales-trouble").hidden, true);
  assert.equal(cards().length, 2);
});

test("a token handed over to the front page signs in there", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const tab = memory();
  globalThis.sessionStorage = tab;
  installDom({ page: "index.html", hash: `#token=${tokenOf({ sub: "ada" })}` });
  const asked = serve((what) => (what.includes("/orders") ? [200, { orders: [], next: null }] : what.endsWith("/gate") ? [404, {}] : [200, { sales: [sale("a")], notices: [] }]));
  await import("../assets/js/index-page.js?handed-over");
  await settle();
  assert.equal(location.hash, "");
  assert.equal(document.getElementById("account").lastChild.textContent, "Sign out");
  for (const part of ["/orders", "/gate"]) assert.ok(asked.some(({ what, bearer }) => what.includes(part) && bearer === tab.getItem("shop.token")), part);
  delete globalThis.sessionStorage;
});

test("orders that can't be read just now are asked for when the shop said, and not before", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  let tick = 0;
  t.mock.method(performance, "now", () => tick);
  const step = async (ms) => ((tick += ms), t.mock.timers.tick(ms), await settle());
  globalThis.sessionStorage = memory();
  t.after(() => delete globalThis.sessionStorage);
  const dom = installDom({ page: "index.html", hash: `#token=${tokenOf({ sub: "ada" })}` });
  let up = false;
  const asked = serve((what) => (!what.includes("/orders") ? [200, { sales: [], notices: [] }] : up ? [200, { orders: [order("o1", "queued")], next: null }] : [503, {}, { "retry-after": "60" }]));
  const readings = () => asked.filter(({ what }) => what.includes("/orders")).length;
  await import("../assets/js/index-page.js?busy-orders");
  await settle();
  const before = readings();
  dom.show(false);
  dom.show(true);
  await step(50_000);
  assert.equal(readings(), before);
  up = true;
  await step(45_000);
  assert.equal(readings(), before + 1);
});

/** The front page of ada's tab, in time that the test moves on. */
async function front(t, name, answers, { user = "ada", hash = "" } = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  let tick = 0;
  t.mock.method(performance, "now", () => tick);
  // Each wait is as short as it may be, so that what is not asked by its longest is never asked.
  t.mock.method(Math, "random", () => 0);
  globalThis.sessionStorage = memory(user ? { "shop.token": tokenOf({ sub: user }) } : {});
  t.after(() => delete globalThis.sessionStorage);
  const dom = installDom({ page: "index.html", hash });
  const asked = serve((what, call) => answers(what, call) ?? (what.endsWith("/sales") ? [200, { sales: [] }] : [404, {}]));
  await import(`../assets/js/index-page.js?${name}`);
  await settle();
  return {
    ...dom,
    asked,
    count: (part) => asked.filter(({ what }) => what.includes(part)).length,
    step: async (ms) => ((tick += ms), t.mock.timers.tick(ms), await settle()),
    texts: (id) => document.getElementById(id).children.filter((node) => !node.hidden).map((node) => node.textContent).filter(Boolean),
  };
}
const notices = [200, { notices: [{ id: "1", channel: "email", priority: "high", subject: "Paid", body: "Thanks.", created_at: 1 }] }];

test("orders and messages whose answer was lost are asked for again, and nothing is denied meanwhile", async (t) => {
  let lost = true;
  const page = await front(t, "lost", (what) => (what.includes("/orders") ? (lost ? null : [200, { orders: [order("o1", "paid")], next: null }]) : what.includes("mailbox") ? (lost ? [503, {}, { "retry-after": "1" }] : notices) : undefined));
  assert.deepEqual(page.texts("messages"), []);
  assert.deepEqual(page.texts("orders"), ["Your orders can't be read just now."]);
  const before = page.count("/orders");
  await page.step(5_000);
  assert.equal(page.count("/orders"), before + 1);
  lost = false;
  await page.step(10_000);
  assert.match(page.texts("orders").join(), /Paid/);
  assert.match(page.texts("messages").join(), /Thanks/);
});

test("a mailbox that failed once is asked again though no order moved; one that is not there is not", async (t) => {
  let mailbox = [503, {}];
  const page = await front(t, "mailbox", (what) => (what.includes("/orders") ? [200, { orders: [], next: null }] : what.includes("mailbox") ? mailbox : undefined));
  mailbox = [404, {}];
  await page.step(5_000);
  assert.equal(page.count("mailbox"), 2);
  assert.equal(document.getElementById("messages").hidden, true);
  await page.step(120_000);
  assert.equal(page.count("mailbox"), 2);
});

test("with no order on its way they are still read now and then: one may be waiting to be written", async (t) => {
  let orders = [];
  const page = await front(t, "calm", (what) => (what.includes("/orders") ? [200, { orders, next: null }] : what.includes("mailbox") ? [200, { notices: [] }] : undefined));
  assert.match(page.texts("orders").join(), /just placed/);
  assert.doesNotMatch(page.texts("orders").join(), /no orders yet/i);
  const before = page.count("/orders");
  await page.step(29_000);
  assert.equal(page.count("/orders"), before, "a crowd of those who have none is kept off the order store");
  orders = [order("o1", "pending_payment")];
  await page.step(2_000);
  assert.match(page.texts("orders").join(), /Waiting for payment/);
  const found = page.count("/orders");
  page.show(false);
  await page.step(600_000);
  assert.equal(page.count("/orders"), found, "a hidden tab does not ask");
  page.show(true);
  await settle();
  assert.equal(page.count("/orders"), found + 1);
});

for (const [how, hash] of [["the link", ""], ["an address", "#orders"]]) {
  test(`"My orders" by ${how} asks somebody signed out who they are, and leads them there`, async (t) => {
    const page = await front(t, `my-orders-${how}`, (what, { body }) => (what.includes("/orders") ? [200, { orders: [order("o1", "paid")], next: null }] : what.startsWith("GET /api/v1/demo/login") ? [405, {}] : what.includes("login") ? [200, { token: tokenOf({ sub: body.user }) }] : undefined), { user: null, hash });
    let scrolls = 0;
    document.getElementById("orders").scrollIntoView = () => (scrolls += 1);
    const dialog = () => document.body.find((node) => node.tag === "dialog");
    if (how === "the link") {
      assert.equal(dialog(), null, "nobody is asked for nothing");
      document.getElementById("my-orders").click();
      await settle();
    }
    assert.equal(dialog().open, true);
    dialog().find((node) => node.id === "user").value = "ada";
    dialog().find((node) => node.tag === "form").dispatchEvent(new Event("submit", { cancelable: true }));
    await settle();
    assert.deepEqual([dialog().open, document.getElementById("mine").hidden, scrolls], [false, false, 1]);
    assert.match(page.texts("orders").join(), /Paid/);
    document.getElementById("my-orders").click();
    await settle();
    assert.deepEqual([dialog().open, scrolls], [false, 2], "whoever is signed in is led there at once");
  });
}

test("whoever would rather not sign in stays where they are", async (t) => {
  const page = await front(t, "not-now", (what) => (what.includes("login") ? [405, {}] : undefined), { user: null, hash: "#orders" });
  document.getElementById("orders").scrollIntoView = assert.fail;
  document.body.find((node) => node.tag === "dialog").escape();
  await settle();
  assert.equal(document.getElementById("mine").hidden, true);
  assert.equal(page.count("/orders"), 0);
});
