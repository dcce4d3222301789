// Server-sent events, read with fetch: EventSource cannot send a bearer token.

import { init } from "./api.js";

const BUFFER_CHARS_MAX = 64 * 1024;
// The server says something every 15 s: so long without a word, the line is dead.
const SILENCE_MS_MAX = 45_000;

/** Feed it text; it calls `onEvent({event, data})` for each whole event. */
export function createSseParser(onEvent) {
  let [buffer, event, data] = ["", "", []];

  function line(text) {
    const [, field, value = ""] = /^([^:]*)(?:: ?([^]*))?$/.exec(text);
    if (field === "event") event = value;
    if (field === "data") data.push(value);
    if (text !== "") return;
    if (data.length > 0) onEvent({ event: event || "message", data: data.join("\n") });
    [event, data] = ["", []];
  }

  return function feed(chunk) {
    buffer += chunk;
    // A lone CR at the end may be the first half of a CRLF: it waits for what follows.
    for (let end; (end = /\r\n|\n|\r(?!$)/.exec(buffer)); ) {
      const text = buffer.slice(0, end.index);
      buffer = buffer.slice(end.index + end[0].length);
      line(text);
    }
    if (buffer.length > BUFFER_CHARS_MAX) throw new Error("event stream line too long");
  };
}

/** Reads the events at `path` until the line ends, breaks or falls silent, or `signal` or `isOver()` says so. */
export async function readEvents(path, { token, signal, onEvent, isOver = () => false }) {
  if (signal?.aborted) return;
  const line = new AbortController();
  const hangUp = () => line.abort();
  signal?.addEventListener("abort", hangUp, { once: true });
  let silence = setTimeout(hangUp, SILENCE_MS_MAX);
  try {
    const response = await fetch(path, init("GET", { token, signal: line.signal, accept: "text/event-stream" }));
    if (!response.ok || !response.body) return;
    const feed = createSseParser(onEvent);
    const [reader, text] = [response.body.getReader(), new TextDecoder()];
    for (let piece; !isOver() && !(piece = await reader.read()).done; ) {
      clearTimeout(silence);
      silence = setTimeout(hangUp, SILENCE_MS_MAX);
      feed(text.decode(piece.value, { stream: true }));
    }
  } catch {
    // No news.
  } finally {
    clearTimeout(silence);
    hangUp();
    signal?.removeEventListener("abort", hangUp);
  }
}
