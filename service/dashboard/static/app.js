// Shows the view that the address names; asks for a token if the service needs one.

import { Problem, isPassing, remove } from "./api.js";
import { showActivations } from "./activations.js";
import { here } from "./address.js";
import { morphChildren } from "./dom.js";
import { showQueue } from "./queue.js";
import { showSearch } from "./search.js";
import { showSearches } from "./searches.js";
import { forget, known, maySubmit, session } from "./session.js";
import { showSignIn } from "./signin.js";
import { showSubmit } from "./submit.js";
import { showTrial } from "./trial.js";
import { showWorkers } from "./workers.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const signOut = document.getElementById("sign-out");
const links = document.querySelectorAll(".places a");
let view = new AbortController();
// The view now shown is asked first: it may show the new address as another of its tabs.
let moves = null;

// What a view may call.
class Shell {
  constructor(signal) {
    this.signal = signal;
  }

  draw(...children) {
    if (!this.signal.aborted) morphChildren(main, children.filter(Boolean));
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

  // Runs `work` and returns whether it succeeded. A missing token leads to the sign-in. A service
  // that cannot be reached is shown as such, and the caller retries at its next turn.
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

const VIEWS = {
  search: (shell, id) => showSearch(shell, id),
  trial: (shell, id) => showTrial(shell, id),
  workers: (shell) => showQueue(shell),
  activations: (shell) => showActivations(shell),
  new: (shell) => showSubmit(shell),
};

function tell(connected) {
  connection.className = connected === null ? "connection" : connected ? "connection live" : "connection lost";
  const text = connected === null ? "" : connected ? "Live" : "Reconnecting\u2026";
  if (connection.textContent !== text) connection.textContent = text;
}

function open() {
  const [place = "", id] = here().parts;
  if (moves?.(here())) return;
  const shell = new Shell(begin());
  const show = VIEWS[place] ?? showSearches;
  moves = show(shell, id) ?? null;
  for (const link of links) {
    if (link.dataset.place === (place === "search" || place === "trial" ? "" : place)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (place !== "workers") showWorkers(shell, document.getElementById("workers"));
  shell.attempt(async () => {
    await known();
    signOut.hidden = session.open;
    for (const link of links) link.hidden = link.dataset.place === "new" && !maySubmit();
  });
}

function signIn() {
  forget();
  moves = null;
  showSignIn(new Shell(begin()), { done: open });
}

function begin() {
  view.abort();
  view = new AbortController();
  tell(null);
  morphChildren(main, []);
  morphChildren(document.getElementById("workers"), []);
  return view.signal;
}

// A plain link to an anchor would replace the view in the address.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
signOut.addEventListener("click", async () => {
  await remove("/session");
  forget();
  signOut.hidden = true;
  signIn();
});
window.addEventListener("hashchange", () => {
  const before = view;
  open();
  if (view === before) return;
  window.scrollTo(0, 0);
  main.focus({ preventScroll: true });
});
// A menu closes at a click outside it, or by Escape.
document.addEventListener("click", ({ target }) => closeMenus(target));
document.addEventListener("keydown", (event) => event.key === "Escape" && closeMenus(null));
function closeMenus(target) {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(target) || target.closest(".menu-items")) menu.removeAttribute("open");
}
open();
