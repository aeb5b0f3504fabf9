// Asks for the service's token and keeps it for this tab.

import { Problem, get, token } from "./api.js";
import { h } from "./dom.js";

export function showSignIn(shell, { wasRefused, done }) {
  shell.title("Sign in");
  const field = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true, "aria-describedby": "token-help sign-in-error" });
  const error = h("p", { id: "sign-in-error", class: "error", role: "alert" }, wasRefused ? "That token is not valid here." : null);
  const form = h(
    "form",
    { class: "card sign-in" },
    h("h1", {}, "Sign in"),
    h("p", { id: "token-help", class: "soft" }, "This service wants a token: the content of the file that ACTSEARCH_ADMIN_TOKEN_FILE names. It is kept for this tab only."),
    h("label", { for: "token" }, "Token"),
    field,
    error,
    h("button", { class: "primary" }, "Sign in"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    token.set(field.value.trim());
    try {
      await get("/searches?limit=1", shell.signal);
      done();
    } catch (refusal) {
      token.clear();
      const refused = refusal instanceof Problem && refusal.status === 401;
      error.textContent = refused ? "That token is not valid here." : `Could not sign in: ${refusal.message}.`;
      field.select();
    }
  });
  shell.draw(form);
  field.focus();
}
