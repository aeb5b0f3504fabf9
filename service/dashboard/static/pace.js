// Limits how often things run.

import { sleep } from "./api.js";

// Calls `work` every `milliseconds`, but not while the tab is hidden.
export async function poll(milliseconds, work, signal) {
  while (!signal.aborted) {
    await work();
    await sleep(milliseconds, signal);
    await visible(signal);
  }
}

// Returns a function that requests `work`. It runs at once, but never twice at a time, and at
// least `milliseconds` apart; requests in between become one.
export function paced(milliseconds, work, signal) {
  let asked = false;
  let busy = false;
  return async () => {
    asked = true;
    if (busy) return;
    busy = true;
    while (asked && !signal.aborted) {
      asked = false;
      await work();
      await sleep(milliseconds, signal);
    }
    busy = false;
  };
}

function visible(signal) {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const look = () => {
      if (!document.hidden) resolve();
    };
    document.addEventListener("visibilitychange", look, { signal });
    signal.addEventListener("abort", resolve, { once: true });
  });
}
