// Who is signed in, in the page's head, and the dialog that asks. The demo's sign-in takes any name; a real
// shop mounts none, and then the dialog says where signing in happens.

import { paths, post } from "./api.js";
import { h } from "./dom.js";
import { USER_NAME } from "./session.js";

const FAILED = {
  0: "The shop can't be reached. Please try again.",
  400: "Please use small letters, digits and hyphens only.",
  429: "A little too quick. Please wait a few seconds.",
};

function signInDialog(session, close) {
  const name = h("input", { id: "user", name: "user", required: true, maxLength: 64, pattern: "[a-z0-9\\-]+", autocomplete: "username", autocapitalize: "none", spellcheck: false, "aria-describedby": "user-hint user-error" });
  const error = h("p", { id: "user-error", className: "form-error", role: "alert" });
  const submit = h("button", { className: "button button-primary", type: "submit" }, "Sign in");
  const cancel = () => h("button", { className: "button button-quiet", type: "button", onclick: () => close(false) }, "Not now");
  const form = h(
    "form",
    { noValidate: true },
    h("h2", { id: "sign-in-title" }, "Sign in"),
    h("p", {}, "This is a demonstration: any name will do, and there is no password."),
    h("label", { htmlFor: "user" }, "Your name"),
    name,
    h("p", { id: "user-hint", className: "form-hint" }, "Small letters, digits and hyphens, like ada-7."),
    error,
    h("div", { className: "dialog-buttons" }, cancel(), submit),
  );
  const elsewhere = h("div", { hidden: true }, h("h2", { tabIndex: -1 }, "Sign in with your account"), h("p", {}, "Signing in happens at the shop's identity provider. Please sign in there, then come back to this page."), h("div", { className: "dialog-buttons" }, cancel()));
  const dialog = h("dialog", { className: "dialog", "aria-labelledby": "sign-in-title" }, form, elsewhere);

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
    if (answer.status === 404) {
      form.hidden = true;
      elsewhere.hidden = false;
      return elsewhere.querySelector("h2").focus();
    }
    if (!answer.ok) return void (error.textContent = FAILED[answer.status] ?? "The shop is very busy. Please try again in a moment.");
    session.signIn(answer.body.token);
    close(true);
  });
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close(false);
  });
  return {
    dialog,
    open() {
      error.textContent = "";
      name.removeAttribute("aria-invalid");
      dialog.showModal();
      name.select();
    },
  };
}

/** `ask()` opens the dialog and resolves to whether somebody signed in. */
export function createAccount(root, session) {
  let answered = null;
  const { dialog, open } = signInDialog(session, (signedIn) => {
    dialog.close();
    answered?.(signedIn);
    answered = null;
  });
  document.body.append(dialog);

  function ask() {
    if (!dialog.open) open();
    return new Promise((resolve) => {
      answered?.(false);
      answered = resolve;
    });
  }
  function draw() {
    const user = session.user();
    root.replaceChildren(
      ...(user
        ? [h("a", { className: "who", href: "/#orders", "aria-label": `Signed in as ${user}: my orders` }, h("span", { className: "avatar", "aria-hidden": "true" }, user[0].toUpperCase()), h("span", { className: "who-name" }, user)), h("button", { className: "button button-small", type: "button", onclick: session.signOut }, "Sign out")]
        : [h("button", { className: "button button-small", type: "button", onclick: ask }, "Sign in")]),
    );
  }
  session.onChange(draw);
  draw();
  return { ask };
}
