// Who this page acts for, and what that one may do.

import { get } from "./api.js";

export const session = { open: true, scopes: [] };

let asked = null;

// Resolves when it is known; asked once, until somebody signs in or out.
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

// What stands where the buttons are missing.
export const mayOnlyRead = () => `Your token allows ${session.scopes.join(", ") || "nothing"}; changing or submitting searches needs one that allows submit.`;
