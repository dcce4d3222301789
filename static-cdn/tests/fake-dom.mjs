// As much of a document as the pages' modules touch, for tests: elements, focus, dialogs, an address, a shop.
// It is no kinder than a browser where it matters: a node that is taken out, even to be put elsewhere, loses
// the focus, and a dialog gives the focus back only to what is still there.
import { readFileSync } from "node:fs";

export class FakeElement extends EventTarget {
  constructor(tag) {
    super();
    Object.assign(this, { tag, id: "", className: "", hidden: false, tabIndex: 0, value: "", type: "", href: "", src: "", alt: "", autofocus: false, method: "", htmlFor: "", open: false, returnValue: "" });
    this.childNodes = [];
    this.parent = null;
    this.dataset = {};
    this.attributes = new Map();
    this.style = { setProperty: (name, value) => (this.style[name] = value) };
  }
  get children() {
    return this.childNodes.filter((node) => node instanceof FakeElement);
  }
  get firstChild() {
    return this.childNodes[0] ?? null;
  }
  get lastChild() {
    return this.childNodes.at(-1) ?? null;
  }
  get isConnected() {
    return this === document.body || Boolean(this.parent?.isConnected);
  }
  get textContent() {
    return this.childNodes.map((node) => node.textContent ?? node).join("");
  }
  set textContent(text) {
    this.replaceChildren(...(text === "" ? [] : [String(text)]));
  }
  setAttribute(name, value) {
    this.attributes.set(name, String(value));
  }
  getAttribute(name) {
    return this.attributes.get(name) ?? null;
  }
  removeAttribute(name) {
    this.attributes.delete(name);
  }
  contains(node) {
    for (let at = node; at; at = at.parent) if (at === this) return true;
    return false;
  }
  remove() {
    if (!this.parent) return;
    if (this.contains(document.activeElement)) document.activeElement = document.body;
    this.parent.childNodes = this.parent.childNodes.filter((node) => node !== this);
    this.parent = null;
  }
  insertBefore(node, before) {
    if (node instanceof FakeElement) {
      node.remove();
      node.parent = this;
    }
    this.childNodes.splice(before ? this.childNodes.indexOf(before) : this.childNodes.length, 0, node);
  }
  append(...nodes) {
    nodes.forEach((node) => this.insertBefore(node, null));
  }
  replaceChildren(...nodes) {
    this.children.forEach((child) => child.remove());
    this.childNodes = [];
    this.append(...nodes);
  }
  *[Symbol.iterator]() {
    yield this;
    for (const child of this.children) yield* child;
  }
  /** The first element below that fits. */
  find(fits) {
    return [...this].find(fits) ?? null;
  }
  focus() {
    if (this.isConnected) document.activeElement = this;
  }
  select() {}
  scrollIntoView() {}
  click() {
    // A disabled control hears nothing.
    if (!this.disabled) this.dispatchEvent(new Event("click"));
  }
  showModal() {
    this.invoker = document.activeElement;
    this.open = true;
    document.activeElement = document.body;
    this.find((node) => node.autofocus)?.focus();
  }
  close(returnValue) {
    if (!this.open) return;
    this.open = false;
    if (returnValue !== undefined) this.returnValue = returnValue;
    if (this.invoker?.isConnected) this.invoker.focus();
    queueMicrotask(() => this.dispatchEvent(new Event("close")));
  }
  /** What Esc does. */
  escape() {
    if (this.dispatchEvent(new Event("cancel", { cancelable: true }))) this.close();
  }
}

/** Puts a document and a window in place; the elements with an id come from `page`. */
export function installDom({ page = null, path = "/", hash = "" } = {}) {
  const document = new FakeElement("#document");
  Object.assign(document, {
    body: new FakeElement("body"),
    hidden: false,
    title: "",
    createElement: (tag) => new FakeElement(tag),
    createElementNS: (_, tag) => new FakeElement(tag),
    getElementById: (id) => document.body.find((node) => node.id === id),
  });
  document.activeElement = document.body;
  globalThis.document = document;
  const html = page ? readFileSync(new URL(`../${page}`, import.meta.url), "utf8") : "";
  for (const [, tag, id] of html.matchAll(/<(\w+)[^>]*?\sid="([^"]+)"/g)) document.body.append(Object.assign(new FakeElement(tag), { id }));
  const window = new EventTarget();
  globalThis.addEventListener = window.addEventListener.bind(window);
  globalThis.removeEventListener = window.removeEventListener.bind(window);
  const origin = "http://shop.test";
  globalThis.location = { pathname: path, search: "", hash, href: origin + path, went: [], assign: (url) => location.went.push(String(url)), reload() {} };
  globalThis.history = {
    replaceState(_, __, url) {
      const to = new URL(url, origin);
      Object.assign(location, { pathname: to.pathname, search: to.search, hash: to.hash, href: to.href });
    },
  };
  return { window, say: (type) => window.dispatchEvent(new Event(type)), show: (seen) => ((document.hidden = !seen), document.dispatchEvent(new Event("visibilitychange"))) };
}

/** A storage like a tab's. */
export function memory(entries = {}) {
  const kept = new Map(Object.entries(entries));
  return { kept, getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) };
}

/**
 * Answers every fetch: `answers` is asked with `"METHOD path"`, the body and the bearer, and gives
 * `[status, body, headers]`; `null` is a lost line. What was asked is kept.
 */
export function serve(answers) {
  const asked = [];
  globalThis.fetch = async (path, { method, body, headers, signal }) => {
    const call = { what: `${method} ${path}`, body: body && JSON.parse(body), bearer: headers.authorization?.slice(7) };
    asked.push(call);
    const answer = await answers(call.what, call);
    if (!answer) throw new TypeError("no network");
    const [status, content, more = {}] = answer;
    signal?.throwIfAborted();
    return new Response(JSON.stringify(content), { status, headers: more });
  };
  return asked;
}

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
export const tokenOf = (claims) => `${encode({ alg: "HS256" })}.${encode(claims)}.signature`;
/** Lets everything run that waits for nothing but its turn. */
export async function settle(turns = 30) {
  for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
}
