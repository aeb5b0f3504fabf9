// Shows the view that the address names, and asks for a token where one is wanted.

import { Problem, isPassing, token } from "./api.js";
import { morphChildren } from "./dom.js";
import { showSearch } from "./search.js";
import { showSearches } from "./searches.js";
import { showSignIn } from "./signin.js";
import { showWorkers } from "./workers.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const signOut = document.getElementById("sign-out");
let view = new AbortController();

// What a view may ask of the page around it.
class Shell {
  constructor(signal) {
    this.signal = signal;
  }

  draw(...children) {
    if (!this.signal.aborted) morphChildren(main, children);
  }

  title(text) {
    if (!this.signal.aborted) document.title = text ? `${text} \u2013 Activation search` : "Activation search";
  }

  connected(yes) {
    if (!this.signal.aborted) tell(yes);
  }

  announce(text) {
    if (!this.signal.aborted) document.getElementById("announcement").textContent = text;
  }

  // Runs `work`. A missing token leads to the sign-in; a service that cannot be reached is
  // shown as such, and the caller tries again in its time. Returns whether it went well.
  async attempt(work) {
    try {
      await work();
      return true;
    } catch (error) {
      if (this.signal.aborted || error.name === "AbortError") return false;
      if (error instanceof Problem && error.status === 401) {
        signIn();
        return false;
      }
      if (!isPassing(error)) throw error;
      this.connected(false);
      return false;
    }
  }
}

function tell(connected) {
  connection.className = connected === null ? "connection" : connected ? "connection live" : "connection lost";
  const text = connected === null ? "" : connected ? "Live" : "Reconnecting\u2026";
  if (connection.textContent !== text) connection.textContent = text;
}

function open() {
  const signal = begin();
  const shell = new Shell(signal);
  const search = /^#\/search\/([^/]+)/.exec(location.hash);
  if (search) showSearch(shell, decodeURIComponent(search[1]));
  else showSearches(shell);
  showWorkers(shell, document.getElementById("workers"));
}

function signIn() {
  const wasRefused = token.get() !== null;
  token.clear();
  showSignIn(new Shell(begin()), { wasRefused, done: open });
}

function begin() {
  view.abort();
  view = new AbortController();
  tell(null);
  morphChildren(main, []);
  morphChildren(document.getElementById("workers"), []);
  signOut.hidden = token.get() === null;
  return view.signal;
}

// A plain link would take the place of the view in the address.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
signOut.addEventListener("click", () => {
  token.clear();
  open();
});
window.addEventListener("hashchange", () => {
  open();
  window.scrollTo(0, 0);
  main.focus({ preventScroll: true });
});
open();
