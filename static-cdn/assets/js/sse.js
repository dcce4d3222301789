// Server-sent events out of text that arrives in pieces.
//
// EventSource cannot send a bearer token, so the stream is read with fetch and taken apart here.

const BUFFER_CHARS_MAX = 64 * 1024;

/** Feed it text as it comes; it calls `onEvent({event, data})` for each whole event. */
export function createSseParser(onEvent) {
  let buffer = "";
  let event = "";
  let data = [];

  function line(text) {
    if (text === "") {
      if (data.length > 0) onEvent({ event: event || "message", data: data.join("\n") });
      event = "";
      data = [];
      return;
    }
    if (text.startsWith(":")) return;
    const colon = text.indexOf(":");
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
    if (field === "event") event = value;
    if (field === "data") data.push(value);
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
