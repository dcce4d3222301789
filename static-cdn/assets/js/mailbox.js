// "Your messages": the demo's mailbox, where the notices end up that a real shop would send.

import { get, paths } from "./api.js";
import { h, icon } from "./dom.js";
import { dayAndTime } from "./format.js";

const MAIL = "M3.5 6h17v12.5h-17V6Zm.5.5 8 6.5 8-6.5";
const CHANNEL = {
  email: [MAIL, "E-mail"],
  sms: ["M4 5h16v11h-8l-5 4v-4H4V5Zm4 5.5h.01M12 10.5h.01M16 10.5h.01", "Text message"],
  shipping: ["M3 6.5h11v10H3v-10Zm11 3.5h4l3 3v3.5h-7M7.5 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4Zm9.5 0a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z", "Shipping"],
};

function notice({ channel, priority, subject, body, created_at }) {
  const [drawing, name] = CHANNEL[channel] ?? [MAIL, channel];
  return h(
    "li",
    { className: "row row-message" },
    h("span", { className: "row-icon", "data-priority": priority }, icon(channel, drawing)),
    h("div", { className: "row-main" }, h("strong", {}, subject), h("p", {}, body), h("span", { className: "row-sub" }, `${name}${priority === "high" ? " · important" : ""} · ${dayAndTime(created_at)}`)),
  );
}

/** Hides itself where there is no such mailbox: outside the demo, messages arrive by real ways. */
export function createMailbox(root, { session }) {
  const list = h("ul", { className: "rows" });
  const empty = h("p", { className: "empty", hidden: true }, "Nothing yet. Confirmations and reminders land here.");
  root.append(list, empty);
  let shown = "";

  return {
    /** Resolves with the answer, which is also a good one where there is no mailbox. */
    async load() {
      const asked = session.token();
      const answer = await get(paths.mailbox, { token: asked });
      if (asked !== session.token()) return { ...answer, ok: false };
      root.hidden = answer.status === 404;
      if (!answer.ok) return { ...answer, ok: root.hidden };
      const notices = answer.body.notices;
      empty.hidden = notices.length > 0;
      const ids = notices.map(({ id }) => id).join();
      if (ids !== shown) list.replaceChildren(...notices.map(notice));
      shown = ids;
      return answer;
    },
    clear() {
      shown = "";
      empty.hidden = true;
      list.replaceChildren();
    },
  };
}
