// Who is signed in, for as long as this tab lives. The token is never written anywhere that outlasts it.

const TOKEN_KEY = "shop.token";

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

export function createSession(storage, wallNow) {
  const listeners = new Set();
  const tell = () => listeners.forEach((listener) => listener());

  function token() {
    const kept = read(storage, TOKEN_KEY);
    const { exp } = kept ? claimsOf(kept) : {};
    return kept && !(exp * 1000 <= wallNow()) ? kept : null;
  }
  return {
    token,
    user: () => (token() ? (claimsOf(token()).sub ?? "you") : null),
    signIn(fresh) {
      write(storage, TOKEN_KEY, fresh);
      tell();
    },
    signOut() {
      write(storage, TOKEN_KEY, null);
      tell();
    },
    onChange: (listener) => listeners.add(listener),
  };
}

// A browser may forbid storage altogether; the shop then works until the next reload.
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
