// The queue: what each worker does, and why a search waits.

import { Problem, get, list } from "./api.js";
import { h } from "./dom.js";
import { poll } from "./pace.js";
import * as parts from "./parts.js";
import * as words from "./words.js";
import { lookUp, work } from "./workers.js";

const EVERY_MS = 2_000;
const PAGE = 50;

export function showQueue(shell) {
  const { signal } = shell;
  let wanted = PAGE;
  shell.title("Workers and queue");
  shell.draw(h("h1", {}, "Workers and queue"), h("p", { class: "soft" }, "Loading\u2026"));
  const look = () =>
    shell.attempt(async () => {
      const [workers, queue] = await Promise.all([get("/workers", signal), list("/queue", {}, wanted, signal)]);
      await lookUp(workers.filter((one) => one.alive).flatMap((one) => one.running), signal);
      shell.connected(true);
      shell.draw(h("h1", {}, "Workers and queue"), workersCard(workers), queueCard(queue));
    });
  const draw = () => look().catch((problem) => problem instanceof Problem && shell.draw(h("h1", {}, "Workers and queue"), h("p", { role: "alert", class: "error" }, problem.message)));
  document.getElementById("main").addEventListener(
    "click",
    (event) => {
      if (!event.target.closest("[data-action=more]")) return;
      wanted += PAGE;
      draw();
    },
    { signal },
  );
  poll(EVERY_MS, draw, signal);
}

function workersCard(workers) {
  const alive = workers.filter((one) => one.alive);
  const slots = alive.reduce((sum, one) => sum + one.slots, 0);
  const busy = alive.reduce((sum, one) => sum + one.running.length, 0);
  return h(
    "section",
    { class: "card", "data-key": "workers", "aria-labelledby": "workers-title" },
    h("div", { class: "section-head" }, h("h2", { id: "workers-title" }, "Workers"), h("p", { class: "soft" }, `${alive.length} alive \u00b7 ${busy} of ${words.count(slots, "slot")} busy`)),
    workers.length
      ? h(
          "div",
          { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": "workers-title" },
          h(
            "table",
            {},
            h("thead", {}, h("tr", {}, ["Worker", "State", "Devices", "Slots", "Doing", "Offers", "Versions"].map((text) => h("th", { scope: "col" }, text)))),
            h("tbody", {}, workers.map(row)),
          ),
        )
      : h("p", { class: "soft" }, "No worker has called in. Start one: ", h("code", {}, `actsearch worker --url ${location.origin}`)),
  );
}

function row(worker) {
  const versions = Object.entries(worker.versions).map(([name, version]) => `${name} ${version}`);
  return h(
    "tr",
    { "data-key": worker.id },
    h("th", { scope: "row" }, worker.id),
    h("td", {}, worker.alive ? [h("span", { class: "state completed" }, h("span", { "aria-hidden": "true" }, "\u25cf"), " alive"), worker.resting === null ? null : h("p", { class: "soft" }, `takes no more work: ${worker.resting}`)] : h("span", { class: "state" }, "\u25cb not seen since ", parts.moment(worker.seen_at))),
    h("td", {}, [...new Set(worker.devices)].join(", ")),
    h("td", { class: "number" }, worker.slots),
    h("td", {}, worker.alive ? work(worker.running) : "\u2013"),
    h("td", {}, worker.tasks.join(", ")),
    h("td", { class: "soft" }, versions.join(", ")),
  );
}

function queueCard({ items, next }) {
  return h(
    "section",
    { class: "card", "data-key": "queue", "aria-labelledby": "queue-title" },
    h("h2", { id: "queue-title" }, "What waits, and why"),
    items.length ? h("ol", { class: "queue" }, items.map(waiting)) : h("p", { class: "soft" }, "Nothing waits."),
    next ? h("button", { type: "button", class: "more", "data-action": "more", "data-key": "more" }, "Show more") : null,
  );
}

function waiting(item) {
  const counts = [item.running ? `${item.running} running` : null, item.waiting ? `${item.waiting} waiting` : null, item.to_propose ? `${words.whole(item.to_propose)} to propose` : null].filter(Boolean);
  return h(
    "li",
    { "data-key": item.search },
    h("p", {}, h("a", { href: `#/search/${item.search}` }, item.name), " ", parts.state(item.state), h("span", { class: "soft" }, [`priority ${item.priority}`, `at most ${item.parallel} at once`, ...counts].join(" \u00b7 "))),
    h("p", {}, item.explanation),
    item.trials.length ? h("ul", { class: "soft" }, item.trials.map((trial) => h("li", {}, `${trial.number === null ? "inspection" : `trial ${trial.number}`}: ${trial.explanation}`))) : null,
  );
}
