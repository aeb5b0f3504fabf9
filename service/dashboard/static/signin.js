// The sign-in: exchanges a token for a cookie that is valid for some hours.

import { Problem, post } from "./api.js";
import { h } from "./dom.js";

export function showSignIn(shell, { done }) {
  shell.title("Sign in");
  const field = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true, "aria-describedby": "token-help sign-in-error" });
  const error = h("p", { id: "sign-in-error", class: "error", role: "alert" });
  const form = h(
    "form",
    { class: "card sign-in" },
    h("h1", {}, "Sign in"),
    h("p", { id: "token-help", class: "soft" }, "This service wants a token: one that it has made, or the content of the file that ACTSEARCH_ADMIN_TOKEN_FILE names."),
    h("label", { for: "token" }, "Token"),
    field,
    error,
    h("button", { class: "primary" }, "Sign in"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await post("/session", shell.signal, { token: field.value.trim() });
      done();
    } catch (refusal) {
      const refused = refusal instanceof Problem && refusal.status === 401;
      error.textContent = refused ? "That token is not valid here." : `Could not sign in: ${refusal.message}.`;
      field.select();
    }
  });
  shell.draw(form);
  field.focus();
}
