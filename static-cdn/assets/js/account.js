// The dialog that asks who the buyer is. The demo's sign-in takes any name; a real shop mounts none, and then
// the dialog leads to where signing in happens.

import { get, paths, post } from "./api.js";
import { h } from "./dom.js";
import { USER_NAME } from "./session.js";

/**
 * Your sign-in page, an address of your own. `{page}` in it becomes the address of the page to come back to, as in
 * "https://account.shop.example/sign-in?back={page}". Without one, buyers are told that they can't sign in here.
 */
const SIGN_IN_URL = "";

const FAILED = {
  0: "The shop can't be reached. Please try again.",
  400: "Please use small letters, digits and hyphens only.",
  429: "A little too quick. Please wait a few seconds.",
};
// Long enough for a shop that answers, short enough for a buyer in a hurry.
const ASK_MS_MAX = 1_500;

/** `ask()` opens it and resolves to whether somebody signed in. */
export function createDialog(session, signInUrl = SIGN_IN_URL) {
  const name = h("input", { id: "user", name: "user", required: true, autofocus: true, maxLength: 64, pattern: "[a-z0-9\\-]+", autocomplete: "username", autocapitalize: "none", spellcheck: false, "aria-describedby": "user-hint user-error" });
  const error = h("p", { id: "user-error", className: "form-error", role: "alert" });
  const submit = h("button", { className: "button button-primary", type: "submit" }, "Sign in");
  const leave = (label) => h("button", { className: "button button-quiet", type: "button", onclick: () => close() }, label);
  const title = h("h2", { id: "sign-in-title", tabIndex: -1 }, "Sign in");
  const form = h(
    "form",
    { noValidate: true },
    h("p", {}, "This is a demonstration: any name will do, and there is no password."),
    h("label", { htmlFor: "user" }, "Your name"),
    name,
    h("p", { id: "user-hint", className: "form-hint" }, "Small letters, digits and hyphens, like ada-7."),
    error,
    h("div", { className: "dialog-buttons" }, leave("Not now"), submit),
  );
  // What follows the # is this tab's own.
  const back = encodeURIComponent(String(new URL(location.pathname, location.href)));
  const there = h("a", { className: "button button-primary", href: signInUrl.replace("{page}", back) }, "Go to the account service");
  const elsewhere = h(
    "div",
    { hidden: true },
    h("p", {}, `You sign in to this shop with its account service, which is a site of its own. ${signInUrl ? "It brings you back here signed in. What you hold here is kept for you." : "This page does not know its address: please come here from there."}`),
    h("div", { className: "dialog-buttons" }, leave("Close"), signInUrl ? there : null),
  );
  const dialog = h("dialog", { className: "dialog", "aria-labelledby": "sign-in-title" }, title, form, elsewhere);
  document.body.append(dialog);
  let answered = null;
  let opening = null;

  function close(token = null) {
    // Closed first: the focus goes back to the button that opened this, before signing in changes that button.
    dialog.close();
    if (token) session.signIn(token);
    answered?.(token !== null);
    answered = null;
  }
  function showElsewhere() {
    form.hidden = true;
    elsewhere.hidden = false;
    title.focus();
  }
  async function open() {
    // Asked the wrong way, a demo's sign-in says so; a shop that has none says "not found".
    const demo = await get(paths.login, { timeoutMs: ASK_MS_MAX });
    error.textContent = "";
    name.removeAttribute("aria-invalid");
    dialog.showModal();
    if (demo.status === 404) showElsewhere();
    else name.focus(), name.select();
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const user = name.value.trim().toLowerCase();
    if (!USER_NAME.test(user)) {
      error.textContent = FAILED[400];
      name.setAttribute("aria-invalid", "true");
      return name.focus();
    }
    submit.setAttribute("aria-busy", "true");
    const answer = await post(paths.login, { user });
    submit.removeAttribute("aria-busy");
    // Closed while the answer was on its way: that was a "not now".
    if (!dialog.open) return;
    if (answer.status === 404) return showElsewhere();
    if (!answer.ok) return void (error.textContent = FAILED[answer.status] ?? "The shop is very busy. Please try again in a moment.");
    close(answer.body.token);
  });
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });

  return {
    ask() {
      if (!dialog.open) opening ??= open().finally(() => (opening = null));
      return new Promise((resolve) => {
        answered?.(false);
        answered = resolve;
      });
    },
  };
}
