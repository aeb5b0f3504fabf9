// The list of searches.

import { get, token } from "./api.js";
import { h } from "./dom.js";
import { poll } from "./pace.js";
import * as parts from "./parts.js";
import * as words from "./words.js";

const EVERY_MS = 5_000;
const PAGE = 25;
const MOST = 500;

export function showSearches(shell) {
  const { signal } = shell;
  let wanted = PAGE;
  shell.title(null);
  shell.draw(h("h1", {}, "Searches"), h("p", { class: "soft" }, "Loading\u2026"));

  const list = () =>
    shell.attempt(async () => {
      const page = await get(`/searches?limit=${Math.min(wanted, MOST)}`, signal);
      // Beyond what one call may list, the pages that follow are fetched too.
      while (page.next && page.items.length < wanted) {
        const more = await get(`/searches?limit=${MOST}&cursor=${encodeURIComponent(page.next)}`, signal);
        page.items.push(...more.items);
        page.next = more.next;
      }
      shell.connected(true);
      shell.draw(...view(page));
    });
  const look = () =>
    list().catch((problem) => {
      shell.draw(h("h1", {}, "Searches"), h("p", { class: "error", role: "alert" }, problem.message));
    });

  document.getElementById("main").addEventListener(
    "click",
    (event) => {
      if (!event.target.closest("[data-action=more]")) return;
      wanted += PAGE;
      look();
    },
    { signal },
  );
  poll(EVERY_MS, look, signal);
}

function view({ items, next }) {
  if (!items.length) return [h("h1", {}, "Searches"), empty()];
  return [
    h("h1", {}, "Searches"),
    h("ul", { class: "searches" }, items.map(row)),
    next ? h("button", { type: "button", class: "more", "data-action": "more" }, "Show more") : null,
  ].filter(Boolean);
}

function row(search) {
  const state = words.stateOf(search);
  const isTold = ["paused", "failed"].includes(search.state);
  return h(
    "li",
    { "data-key": search.id, class: "card search-row" },
    h(
      "div",
      { class: "what" },
      h("h2", {}, h("a", { href: `#/search/${search.id}` }, search.name)),
      h("p", {}, parts.state(state), h("span", { class: "soft" }, words.taskOf(search))),
      isTold && search.reason ? h("p", { class: `reason ${search.state}` }, search.reason) : null,
    ),
    h("div", { class: "how-far" }, parts.progress(search), h("p", { class: "soft" }, parts.progressWords(search))),
    result(search),
    when(search),
  );
}

function result(search) {
  if (!search.best) return h("p", { class: "result soft" }, words.hasEnded(search) ? "no result" : "no result yet");
  return h(
    "dl",
    { class: "result" },
    h("div", {}, h("dt", {}, "best so far"), h("dd", { class: "number" }, words.value(search.best.value))),
    search.luck === null ? null : h("div", {}, h("dt", {}, "by luck"), h("dd", { class: "number luck" }, words.value(search.luck))),
  );
}

function when(search) {
  const [what, time] = search.started_at ? ["started", search.started_at] : ["submitted", search.created_at];
  return h("dl", { class: "when" }, h("dt", { class: "soft" }, what), h("dd", {}, parts.moment(time)));
}

function empty() {
  const submission = [
    `curl ${location.origin}/v1/searches \\`,
    token.get() ? "  -H 'Authorization: Bearer TOKEN' \\" : null,
    "  -H 'Content-Type: application/json' \\",
    `  -d '{"task": {"name": "image-classification",`,
    `       "dataset": "digits", "network": "small-cnn"}}'`,
  ];
  return h(
    "div",
    { class: "card empty" },
    h("h2", {}, "No search yet"),
    h("p", {}, "A search finds the best activation function for every layer of a network. Submit one from a file:"),
    h("pre", {}, h("code", {}, "actsearch submit search.yaml")),
    h("p", {}, "or with curl:"),
    h("pre", {}, h("code", {}, submission.filter(Boolean).join("\n"))),
    h("p", { class: "soft" }, "It appears here by itself."),
  );
}
