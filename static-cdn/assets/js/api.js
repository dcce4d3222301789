// One way to speak to the shop. A request never throws: whatever happens, even silence, is an answer
// with a `code`, and what to do about it is decided by those who asked.

import { retryAfterMs } from "./schedule.js";

const TIMEOUT_MS = 12_000;

export const unreachable = (sentAt = performance.now()) => ({ ok: false, status: 0, code: "unreachable", body: null, retryAfterMs: 0, sentAt, receivedAt: performance.now() });

/** One signal for the caller's wish to stop and for our patience. */
function deadline(signal, ms) {
  const control = new AbortController();
  const abort = () => control.abort();
  const timer = setTimeout(abort, ms);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  return {
    signal: control.signal,
    clear() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    },
  };
}

/** What `fetch` is told. */
export function init(method, { body, token, signal, accept = "application/json" }) {
  const headers = { accept };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  return { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal, credentials: "omit" };
}

export async function request(method, path, options = {}) {
  const sentAt = performance.now();
  const limit = deadline(options.signal, options.timeoutMs ?? TIMEOUT_MS);
  try {
    const response = await fetch(path, init(method, { ...options, signal: limit.signal }));
    const receivedAt = performance.now();
    // Something between us and the shop may answer in HTML: then the status of a refusal alone speaks. But what the shop
    // grants is in the body, always: without one the answer was lost on its way.
    const body = await response.json().catch(() => null);
    if (response.ok && body === null) return unreachable(sentAt);
    return {
      ok: response.ok,
      status: response.status,
      code: response.ok ? null : (body?.code ?? `http_${response.status}`),
      body,
      retryAfterMs: retryAfterMs(response.headers.get("retry-after")),
      sentAt,
      receivedAt,
    };
  } catch {
    return unreachable(sentAt);
  } finally {
    limit.clear();
  }
}

const bring = (file) => import(file);

/**
 * A module that is imported when it is first wanted. One that did not come is asked for as if it were another, since
 * browsers remember a failure. Resolves with `null` when `triesMax` askings in a row have failed.
 */
export function onDemand(name, { load = bring, pause, triesMax = Infinity }) {
  let coming = null;
  let failures = 0;
  async function come() {
    for (let tries = 1; ; tries += 1) {
      try {
        return await load(`./${name}.js${failures ? `?again=${failures}` : ""}`);
      } catch {
        failures += 1;
        if (tries >= triesMax) return (coming = null);
        await pause(tries);
      }
    }
  }
  return () => (coming ??= come());
}

const id = encodeURIComponent;
export const get = (path, options) => request("GET", path, options);
export const post = (path, body, options) => request("POST", path, { ...options, body });

export const paths = {
  sales: "/api/v1/sales",
  sale: (sale) => `/api/v1/sales/${id(sale)}`,
  room: (sale) => `/api/v1/sales/${id(sale)}/waiting-room`,
  gate: (sale) => `/api/v1/sales/${id(sale)}/gate`,
  order: (order) => `/api/v1/orders/${id(order)}`,
  orders: (after, limit = 20) => `/api/v1/orders?limit=${limit}${after ? `&after=${id(after)}` : ""}`,
  login: "/api/v1/demo/login",
  mailbox: "/api/v1/demo/mailbox",
};
