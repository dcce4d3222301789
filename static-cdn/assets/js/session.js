// Who is signed in, for as long as this tab lives: the token, which is never written anywhere that outlasts
// the tab, and its place in the page's head.

import { onDemand } from "./api.js";
import { h } from "./dom.js";

const TOKEN_KEY = "shop.token";

/** Where cookies are blocked the mere mention of the storage throws: the shop then works until the next reload. */
export function tabStorage(find = () => sessionStorage) {
  try {
    const storage = find();
    storage.setItem("shop.probe", "1");
    storage.removeItem("shop.probe");
    return storage;
  } catch {
    const kept = new Map();
    return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) };
  }
}

// Even a storage that works may be full.
export function read(storage, key) {
  try {
    return storage.getItem(key);
  } catch {
    return null;
  }
}
export function write(storage, key, value) {
  try {
    if (value === null) storage.removeItem(key);
    else storage.setItem(key, value);
  } catch {}
}

export const entryOf = (storage, key) => ({ read: () => read(storage, key), write: (text) => write(storage, key, text), clear: () => write(storage, key, null) });

/** Reads `name` from the address's fragment, once: what was handed over there is not for a bookmark to keep. */
export function takeFragment(name) {
  const parts = new URLSearchParams(location.hash.slice(1));
  const value = parts.get(name);
  if (value === null) return null;
  parts.delete(name);
  const rest = String(parts);
  history.replaceState(null, "", location.pathname + location.search + (rest && `#${rest}`));
  return value;
}

/** What the token says of itself. Nothing here is trusted: only the server's check counts. */
export function claimsOf(token) {
  try {
    const part = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(part), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return {};
  }
}

export const USER_NAME = /^[a-z0-9-]{1,64}$/;

/** `now` is the shop's time: a phone's own clock may be minutes off, and would end a good session. */
export function createSession(storage, now) {
  const listeners = new Set();
  const tell = () => listeners.forEach((listener) => listener());

  function token() {
    const kept = read(storage, TOKEN_KEY);
    const { exp } = kept ? claimsOf(kept) : {};
    return kept && !(exp * 1000 <= now()) ? kept : null;
  }
  const user = () => (token() ? (claimsOf(token()).sub ?? "you") : null);
  function signIn(fresh) {
    write(storage, TOKEN_KEY, fresh);
    tell();
  }
  return {
    token,
    user,
    signIn,
    /** `#token=<jwt>` is how an identity provider sends a buyer back. A link must not change who is signed in. */
    takeHandedOver() {
      const fresh = takeFragment("token");
      const { sub } = fresh ? claimsOf(fresh) : {};
      // A token that is over even by the phone's clock holds nobody's place.
      const { sub: holder, exp } = claimsOf(token() ?? "");
      if (sub && (!holder || holder === sub || exp * 1000 <= Date.now())) signIn(fresh);
    },
    signOut() {
      write(storage, TOKEN_KEY, null);
      tell();
    },
    onChange: (listener) => listeners.add(listener),
  };
}

/** The page's head. `ask()` opens the dialog, which few need, and resolves to whether somebody signed in. */
export function createAccount(root, session, load) {
  const desk = onDemand("account", { load, triesMax: 1 });
  let dialog = null;
  let isLost = false;
  let shown = "";

  async function ask() {
    const module = await desk();
    isLost = !module;
    draw();
    if (isLost) return false;
    return (dialog ??= module.createDialog(session)).ask();
  }
  function draw() {
    const user = session.user();
    const label = user ? "Sign out" : isLost ? "Not reachable. Try again" : "Sign in";
    if (shown === label + user) return;
    shown = label + user;
    const had = root.contains(document.activeElement);
    root.replaceChildren(
      ...(user ? [h("a", { className: "who", href: "/#orders", "aria-label": `Signed in as ${user}: my orders` }, h("span", { className: "avatar", "aria-hidden": "true" }, user[0].toUpperCase()), h("span", { className: "who-name" }, user))] : []),
      h("button", { className: "button button-small", type: "button", onclick: user ? session.signOut : ask }, label),
    );
    // Whoever pressed the button that is gone goes on at the one in its place.
    if (had) root.lastChild.focus();
  }
  session.onChange(draw);
  draw();
  return { ask, draw };
}
