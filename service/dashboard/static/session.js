// Who this page acts for; filled in when it is opened.

import { get } from "./api.js";

export const session = { open: true, scopes: [] };

export async function readSession(signal) {
  Object.assign(session, await get("/session", signal));
}

export const maySubmit = () => session.scopes.includes("submit");
