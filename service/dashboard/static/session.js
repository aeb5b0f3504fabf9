// The signed-in user, and what the user's token allows.

import { get } from "./api.js";

export const session = { open: true, scopes: [] };

let asked = null;

// Resolves to the session; fetched once, until the user signs in or out.
export function known() {
  asked ??= get("/session").then(
    (found) => Object.assign(session, found),
    (error) => {
      asked = null;
      throw error;
    },
  );
  return asked;
}

export function forget() {
  asked = null;
}

export const maySubmit = () => session.scopes.includes("submit");

// The text in place of buttons that the token does not allow.
export const mayOnlyRead = () => `Your token allows ${session.scopes.join(", ") || "nothing"}; changing or submitting searches needs one that allows submit.`;
