// The table of trials: those that run, then all others by number. Pages are fetched again
// where news came.

import { get } from "./api.js";
import { h } from "./dom.js";
import * as parts from "./parts.js";
import * as words from "./words.js";

const PAGE = 100;

export class Trials {
  constructor(path, signal) {
    this.path = path;
    this.signal = signal;
    this.pages = [{ cursor: null, items: [], next: null, isStale: true }];
  }

  // Notes that everything shown may have changed.
  suspect() {
    for (const page of this.pages) page.isStale = true;
  }

  // Notes what an event changes. Events may be old: they only say where to look.
  heard({ kind, data }) {
    if (kind === "search") this.pages.at(-1).isStale = true;
    const { number } = data;
    if (number === undefined || number === null) return;
    const holder = this.pages.find((page) => number <= (page.items.at(-1)?.number ?? -1));
    const isBeyond = !holder && this.pages.at(-1).next !== null;
    if (!isBeyond) (holder ?? this.pages.at(-1)).isStale = true;
  }

  async look() {
    for (const page of this.pages.filter((page) => page.isStale)) {
      page.isStale = false;
      try {
        await this.#fetch(page);
      } catch (error) {
        page.isStale = true;
        throw error;
      }
    }
  }

  async more() {
    const cursor = this.pages.at(-1).next;
    if (cursor === null) return;
    const page = { cursor, items: [], next: null, isStale: false };
    await this.#fetch(page);
    this.pages.push(page);
  }

  async #fetch(page) {
    const cursor = page.cursor === null ? "" : `&cursor=${encodeURIComponent(page.cursor)}`;
    Object.assign(page, await get(`${this.path}/trials?limit=${PAGE}${cursor}`, this.signal));
  }

  view(search) {
    const all = this.pages.flatMap((page) => page.items);
    const items = [...all.filter(isRunning), ...all.filter((trial) => !isRunning(trial))];
    return h(
      "section",
      { class: "card", "data-key": "trials", "aria-labelledby": "trials-title" },
      h("div", { class: "section-head" }, h("h2", { id: "trials-title" }, "Trials"), h("p", { class: "soft" }, summary(search))),
      items.length ? table(search, items) : h("p", { class: "soft" }, "The first trials appear once the network has been inspected."),
      this.pages.at(-1).next === null ? null : h("button", { type: "button", class: "more", "data-action": "more", "data-key": "more" }, "Show more trials"),
    );
  }
}

const isRunning = (trial) => trial.state === "running";

function summary({ counts }) {
  const order = ["running", "waiting", "completed", "stopped", "failed", "cancelled"];
  return order
    .filter((name) => counts[name])
    .map((name) => `${words.whole(counts[name])} ${name}`)
    .join(" \u00b7 ");
}

function table(search, items) {
  const head = (text, isNumber = false) => h("th", { scope: "col", class: isNumber ? "number" : null }, text);
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "trials-title", "data-key": "table" },
    h(
      "table",
      { class: "trials" },
      h("thead", {}, h("tr", {}, head("Trial", true), head("State"), head("Network"), head("Epochs", true), head("Value", true), head("Time per step", true), head("Notes"))),
      h("tbody", {}, items.map((trial) => row(search, trial))),
    ),
  );
}

function row(search, trial) {
  const epochs = search.pinned.epochs;
  return h(
    "tr",
    { "data-key": trial.id, class: trial.state },
    h("td", { class: "number" }, trial.number),
    h("td", {}, parts.state(trial.state)),
    h("td", {}, parts.network(trial, search.plan)),
    h("td", { class: "number" }, trial.step === null ? "\u2013" : epochs ? `${trial.step} / ${epochs}` : trial.step),
    h("td", { class: "number" }, words.value(trial.value)),
    h("td", { class: "number" }, words.stepTime(trial.step_seconds)),
    h("td", { class: "notes" }, notes(trial)),
  );
}

function notes(trial) {
  const again = trial.attempt > 1 ? `attempt ${trial.attempt}` : null;
  const failure = trial.failure ? trial.failure.replaceAll("_", " ") : null;
  return [failure, trial.reason, again].filter(Boolean).join(": ");
}
