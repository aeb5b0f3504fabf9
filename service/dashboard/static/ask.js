// Dialogs that ask for confirmation.

import { h } from "./dom.js";

// Resolves to null if it is dismissed, else to the entered text, or to true if there is no field.
export function ask({ title, text, yes, no = "Leave it", danger = false, field = null }, signal) {
  const dialog = document.getElementById("ask");
  const input = field && h("input", { id: "ask-field", type: "number", value: field.value, min: field.min, step: "any", required: true });
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id: "ask-title" }, title),
    h("p", { id: "ask-text" }, text),
    input ? h("p", { class: "asked" }, h("label", { for: "ask-field" }, field.label), " ", input) : null,
    h("div", { class: "actions" }, h("button", { type: "button", value: "no" }, no), h("button", { type: "submit", value: "yes", class: danger ? "danger" : "primary" }, yes)),
  );
  dialog.replaceChildren(form);
  return new Promise((resolve) => {
    dialog.returnValue = "no";
    form.querySelector("[value=no]").onclick = () => dialog.close("no");
    dialog.addEventListener("close", () => resolve(dialog.returnValue !== "yes" ? null : input ? Number(input.value) : true), { once: true, signal });
    signal.addEventListener("abort", () => dialog.close("no"), { once: true });
    dialog.showModal();
  });
}
