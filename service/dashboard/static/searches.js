// The list of searches.

import { list } from "./api.js";
import { here, keep } from "./address.js";
import { h } from "./dom.js";
import { poll } from "./pace.js";
import * as parts from "./parts.js";
import { known, maySubmit, session } from "./session.js";
import * as words from "./words.js";

const EVERY_MS = 5_000;
const PAGE = 25;
const STATES = ["preparing", "queued", "running", "paused", "completed", "cancelled", "failed"];
const ORDERS = { newest: "newest first", oldest: "oldest first", name: "by name" };

export function showSearches(shell) {
  const { signal } = shell;
  let wanted = PAGE;
  shell.title(null);
  shell.draw(h("h1", {}, "Searches"), h("p", { class: "soft" }, "Loading\u2026"));

  const show = () =>
    shell.attempt(async () => {
      const given = asked();
      const [page] = await Promise.all([list("/searches", given, wanted, signal), known()]);
      shell.connected(true);
      shell.draw(...view(page, given));
    });
  const look = () =>
    show().catch((problem) => {
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
  const filter = ({ target }) => {
    if (!target.dataset.filter) return;
    keep({ [target.dataset.filter]: target.value });
    wanted = PAGE;
    look();
  };
  for (const kind of ["change", "input"]) document.getElementById("main").addEventListener(kind, filter, { signal });
  poll(EVERY_MS, look, signal);
}

function asked() {
  const { query } = here();
  return { state: query.get("state"), named: query.get("named"), order: query.get("order") };
}

function view({ items, next }, given) {
  const isAll = !given.state && !given.named;
  if (!items.length && isAll) return [h("h1", {}, "Searches"), empty()];
  return [
    h("div", { class: "section-head", "data-key": "head" }, h("h1", {}, "Searches"), maySubmit() ? h("a", { class: "button primary", href: "#/new" }, "New search") : null),
    controls(given),
    items.length ? h("ul", { class: "searches", "data-key": "list" }, items.map(row)) : h("p", { class: "soft", "data-key": "none" }, "No search is like that."),
    next ? h("button", { type: "button", class: "more", "data-action": "more" }, "Show more") : null,
  ].filter(Boolean);
}

function controls({ state, named, order }) {
  const options = (all, chosen) => all.map(([value, text]) => h("option", { value, selected: value === (chosen ?? "") }, text));
  return h(
    "div",
    { class: "controls", "data-key": "controls", role: "search" },
    h("label", {}, "Name ", h("input", { type: "search", value: named ?? "", "data-filter": "named", placeholder: "any" })),
    h("label", {}, "State ", h("select", { "data-filter": "state" }, options([["", "all"], ...STATES.map((one) => [one, one])], state))),
    h("label", {}, "Order ", h("select", { "data-filter": "order" }, options(Object.entries(ORDERS), order ?? "newest"))),
  );
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
  const { best, finding, luck } = search;
  if (!best) return h("p", { class: "result soft" }, words.hasEnded(search) ? "no result" : "no result yet");
  const isNoise = finding.status === "noise";
  const interval = finding.low === null ? null : ` [${words.difference(finding.low, finding.is_fraction, { unit: false })}, ${words.difference(finding.high, finding.is_fraction, { unit: false })}]`;
  const standing = { confirmed: "confirmed gain", noise: "cannot be told from noise", not_confirmed: "best gain, unconfirmed" }[finding.status];
  return h(
    "dl",
    { class: "result" },
    finding.gain === null
      ? h("div", {}, h("dt", {}, "best so far"), h("dd", { class: "number" }, words.value(best.value)))
      : h("div", {}, h("dt", {}, standing), h("dd", { class: `number ${isNoise ? "soft" : finding.status}` }, words.difference(finding.gain, finding.is_fraction), interval ? h("span", { class: "interval" }, interval) : null)),
    luck === null || finding.status !== "not_confirmed" ? null : h("div", {}, h("dt", {}, "by luck"), h("dd", { class: "number luck" }, words.value(luck))),
  );
}

function when(search) {
  const [what, time] = search.started_at ? ["started", search.started_at] : ["submitted", search.created_at];
  const spent = words.spent(search.spent);
  return h("dl", { class: "when" }, h("dt", { class: "soft" }, what), h("dd", {}, parts.moment(time)), spent ? h("dd", { class: "soft" }, spent) : null);
}

function empty() {
  const submission = [
    `curl ${location.origin}/v1/searches \\`,
    !session.open ? "  -H 'Authorization: Bearer TOKEN' \\" : null,
    "  -H 'Content-Type: application/json' \\",
    `  -d '{"task": {"name": "image-classification",`,
    `       "dataset": "digits", "network": "small-cnn"}}'`,
  ];
  return h(
    "div",
    { class: "card empty" },
    h("h2", {}, "No search yet"),
    h("p", {}, "A search finds the best activation function for every layer of a network. ", maySubmit() ? [h("a", { href: "#/new" }, "Write one here"), ", or submit one from a file:"] : "Submit one from a file:"),
    h("pre", {}, h("code", {}, "actsearch submit search.yaml")),
    h("p", {}, "or with curl:"),
    h("pre", {}, h("code", {}, submission.filter(Boolean).join("\n"))),
    h("p", { class: "soft" }, "It appears here by itself."),
  );
}
