// "Your messages": the demo's mailbox, where the notices end up that a real shop would send.

import { get, paths } from "./api.js";
import { h, icon } from "./dom.js";
import { dayAndTime } from "./format.js";

const CHANNEL = { email: ["mail", "E-mail"], sms: ["sms", "Text message"], shipping: ["shipping", "Shipping"] };

function notice({ channel, priority, subject, body, created_at }) {
  const [symbol, name] = CHANNEL[channel] ?? ["mail", channel];
  return h(
    "li",
    { className: "row row-message" },
    h("span", { className: "row-icon", "data-priority": priority }, icon(symbol)),
    h("div", { className: "row-main" }, h("strong", {}, subject), h("p", {}, body), h("span", { className: "row-sub" }, `${name}${priority === "high" ? " · important" : ""} · ${dayAndTime(created_at)}`)),
  );
}

/** Hides itself where there is no such mailbox: outside the demo, messages arrive by real ways. */
export function createMailbox(root, { session }) {
  const list = h("ul", { className: "rows" });
  const empty = h("p", { className: "empty" }, "Nothing yet. Confirmations and reminders land here.");
  root.append(list, empty);
  let shown = "";

  return {
    async load() {
      const asked = session.token();
      const answer = await get(paths.mailbox, { token: asked });
      if (asked !== session.token()) return;
      root.hidden = answer.status === 404;
      if (!answer.ok) return;
      const notices = answer.body.notices;
      empty.hidden = notices.length > 0;
      const ids = notices.map(({ id }) => id).join();
      if (ids !== shown) list.replaceChildren(...notices.map(notice));
      shown = ids;
    },
    clear() {
      shown = "";
      list.replaceChildren();
    },
  };
}
