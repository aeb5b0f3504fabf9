// The table of trials, page by page: filtered, sorted, and some trials side by side.

import { get } from "./api.js";
import { here, href, keep } from "./address.js";
import { chart, legend } from "./chart.js";
import { h } from "./dom.js";
import * as parts from "./parts.js";
import * as words from "./words.js";

const PAGE = 100;
const MOST_COMPARED = 4;
const STATES = ["running", "waiting", "completed", "stopped", "failed", "cancelled"];
const KINDS = ["baseline", "proposed", "manual", "confirmation"];
const ORDERS = { number: "first to last", "-number": "last to first", "-value": "highest value", value: "lowest value" };
const COLOURS = ["found", "other", "near", "before"];

export class Trials {
  constructor(context) {
    this.context = context;
    this.curves = new Map();
    this.#start();
    this.act = { more: () => context.attempt(() => this.#more()) };
    this.change = {
      state: (field) => this.#filter({ state: field.value }),
      kind: (field) => this.#filter({ kind: field.value }),
      order: (field) => this.#filter({ order: field.value }),
      compare: (field) => this.#compare(field.value, field.checked),
    };
  }

  // Marks the pages that an event changes as stale. Events may be old, so their data are not shown.
  heard({ kind, data, isDoubt }) {
    if (isDoubt || this.#filtered()) return this.pages.forEach((page) => (page.isStale = true));
    if (kind === "search") this.pages.at(-1).isStale = true;
    const { number } = data;
    if (number === undefined || number === null) return;
    const holder = this.pages.find((page) => number <= (page.items.at(-1)?.number ?? -1));
    const isBeyond = !holder && this.pages.at(-1).next !== null;
    if (!isBeyond) (holder ?? this.pages.at(-1)).isStale = true;
  }

  async look() {
    if (this.#key() !== this.key) this.#start();
    for (const page of this.pages.filter((page) => page.isStale)) {
      page.isStale = false;
      try {
        await this.#fetch(page);
      } catch (error) {
        page.isStale = true;
        throw error;
      }
    }
    for (const id of this.#compared()) await this.#curve(id);
  }

  view({ search }) {
    const all = this.pages.flatMap((page) => page.items);
    const isPlain = !this.#filtered();
    const items = isPlain ? [...all.filter(isRunning), ...all.filter((trial) => !isRunning(trial))] : all;
    const compared = this.#compared();
    const nothing = isPlain ? "The first trials appear once the network has been inspected." : "No trial is like that.";
    return [
      compared.length ? this.#comparison(search, compared) : null,
      h(
        "section",
        { class: "card", "data-key": "trials", "aria-labelledby": "trials-title" },
        h("div", { class: "section-head" }, h("h2", { id: "trials-title" }, "Trials"), h("p", { class: "soft" }, summary(search))),
        this.#controls(),
        items.length ? table(search, items, compared) : h("p", { class: "soft" }, this.pages[0].isStale ? "Loading\u2026" : nothing),
        this.pages.at(-1).next === null ? null : h("button", { type: "button", class: "more", "data-action": "more", "data-key": "more" }, "Show more trials"),
      ),
    ];
  }

  #start() {
    this.key = this.#key();
    this.pages = [{ cursor: null, items: [], next: null, isStale: true }];
  }

  #asked() {
    const { query } = here();
    return { state: query.get("state"), kind: query.get("kind"), order: query.get("order") };
  }

  #key() {
    return JSON.stringify(this.#asked());
  }

  #filtered() {
    const { state, kind, order } = this.#asked();
    return Boolean(state || kind || (order && order !== "number"));
  }

  #filter(changes) {
    keep(changes);
    this.context.refresh();
  }

  #compared() {
    return (here().query.get("compare") ?? "").split(",").filter(Boolean);
  }

  #compare(id, isWanted) {
    const others = this.#compared().filter((one) => one !== id);
    const wanted = isWanted ? [...others, id].slice(-MOST_COMPARED) : others;
    this.#filter({ compare: wanted.join(",") });
  }

  async #more() {
    const cursor = this.pages.at(-1).next;
    if (cursor === null) return;
    const page = { cursor, items: [], next: null, isStale: false };
    await this.#fetch(page);
    this.pages.push(page);
  }

  async #fetch(page) {
    const given = Object.entries({ ...this.#asked(), cursor: page.cursor }).filter(([, value]) => value);
    Object.assign(page, await get(`${this.context.path}/trials?${new URLSearchParams([["limit", PAGE], ...given])}`, this.context.signal));
  }

  async #curve(id) {
    const known = this.curves.get(id);
    if (known && !isRunning(known.trial)) return;
    const { signal } = this.context;
    const [trial, reports] = await Promise.all([get(`/trials/${id}`, signal), get(`/trials/${id}/reports`, signal)]);
    this.curves.set(id, { trial, reports });
  }

  #controls() {
    const { state, kind, order } = this.#asked();
    const select = (name, text, options) => h("label", {}, `${text} `, h("select", { "data-change": name }, options));
    const choices = (all, chosen) => [h("option", { value: "", selected: !chosen }, "all"), ...all.map((one) => h("option", { value: one, selected: one === chosen }, one))];
    return h(
      "div",
      { class: "controls", "data-key": "controls" },
      select("state", "State", choices(STATES, state)),
      select("kind", "Kind", choices(KINDS, kind)),
      select("order", "Order", Object.entries(ORDERS).map(([value, text]) => h("option", { value, selected: value === (order ?? "number") }, text))),
      h("span", { class: "soft" }, `tick up to ${MOST_COMPARED} to compare them`),
    );
  }

  #comparison(search, ids) {
    const found = ids.map((id) => this.curves.get(id)).filter(Boolean);
    if (!found.length) return null;
    const lines = found.map(({ reports }, i) => ({ x: reports.map((one) => one.step), y: reports.map((one) => one.value), kind: COLOURS[i] })).filter((line) => line.x.length);
    const sites = search.plan?.sites.map((site) => site.id) ?? [];
    const differing = sites.filter((site) => new Set(found.map(({ trial }) => JSON.stringify(trial.candidate?.sites[site]))).size > 1);
    const shown = found.length > 1 ? differing : sites;
    const row = (name, cell) => h("tr", {}, h("th", { scope: "row" }, name), found.map(({ trial }) => h("td", {}, cell(trial))));
    return h(
      "section",
      { class: "card", "data-key": "comparison", "aria-labelledby": "comparison-title" },
      h("div", { class: "section-head" }, h("h2", { id: "comparison-title" }, "Side by side"), legend(...found.map(({ trial }, i) => [COLOURS[i], `trial ${trial.number}`]))),
      h(
        "div",
        { class: "columns" },
        lines.length ? chart({ lines, width: 460, height: 220, label: "Values after each epoch of the compared trials" }) : null,
        h(
          "div",
          { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": "comparison-title" },
          h(
            "table",
            {},
            h("thead", {}, h("tr", {}, h("td", {}), found.map(({ trial }) => h("th", { scope: "col" }, h("a", { href: `#/trial/${trial.id}` }, `trial ${trial.number}`))))),
            h("tbody", {}, row("value", (trial) => words.value(trial.value)), row("time per step", (trial) => words.stepTime(trial.step_seconds)), shown.map((site) => row(site, (trial) => (trial.candidate ? parts.activation(trial.candidate.sites[site]) : "\u2013")))),
          ),
          found.length > 1 ? h("p", { class: "soft" }, differing.length ? "Only the sites at which they differ." : "They have the same activations everywhere.") : null,
        ),
      ),
      found.length === 2 ? h("p", {}, h("a", { href: href(["search", search.id, "shapes"], { trial: found[0].trial.id, with: found[1].trial.id }) }, "Overlay their learned functions")) : null,
    );
  }
}

const isRunning = (trial) => trial.state === "running";

function summary({ counts }) {
  return STATES.filter((name) => counts[name])
    .map((name) => `${words.whole(counts[name])} ${name}`)
    .join(" \u00b7 ");
}

function table(search, items, compared) {
  const head = (text, isNumber = false) => h("th", { scope: "col", class: isNumber ? "number" : null }, text);
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "trials-title", "data-key": "table" },
    h(
      "table",
      { class: "trials" },
      h("thead", {}, h("tr", {}, head("Trial", true), head("State"), head("Network"), head("Epochs", true), head("Value", true), head("Time per step", true), head("Notes"), head("Compare"))),
      h("tbody", {}, items.map((trial) => row(search, trial, compared))),
    ),
  );
}

function row(search, trial, compared) {
  const epochs = search.pinned.epochs;
  return h(
    "tr",
    { "data-key": trial.id, class: trial.state },
    h("td", { class: "number" }, h("a", { href: `#/trial/${trial.id}` }, trial.number)),
    h("td", {}, parts.state(trial.state)),
    h("td", {}, parts.network(trial, search.plan)),
    h("td", { class: "number" }, trial.step === null ? "\u2013" : epochs ? `${trial.step} / ${epochs}` : trial.step),
    h("td", { class: "number" }, words.value(trial.value)),
    h("td", { class: "number" }, words.stepTime(trial.step_seconds)),
    h("td", { class: "notes" }, notes(trial)),
    h("td", { class: "pick" }, h("input", { type: "checkbox", value: trial.id, "data-change": "compare", checked: compared.includes(trial.id), "aria-label": `Compare trial ${trial.number}` })),
  );
}

function notes(trial) {
  const again = trial.attempt > 1 ? `attempt ${trial.attempt}` : null;
  const failure = trial.failure ? trial.failure.replaceAll("_", " ") : null;
  return [failure, trial.reason, again].filter(Boolean).join(": ");
}
