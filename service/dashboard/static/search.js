// One search, live: its verdict and its tabs.

import { Problem, file, follow, get, patch, post, remove, sleep } from "./api.js";
import { here, href } from "./address.js";
import { ask } from "./ask.js";
import { h } from "./dom.js";
import { Log } from "./events_tab.js";
import { Overview } from "./overview.js";
import { paced } from "./pace.js";
import * as parts from "./parts.js";
import { save } from "./plot.js";
import { known, mayOnlyRead, maySubmit } from "./session.js";
import { Shapes } from "./shapes.js";
import { Pareto, Timeline } from "./figure_tabs.js";
import { Sites } from "./sites.js";
import { Trials } from "./trials.js";
import { verdict } from "./verdict.js";
import * as words from "./words.js";

const LOOK_MS = 1_000;
const TABS = {
  overview: ["Overview", Overview],
  sites: ["Sites", Sites],
  shapes: ["Shapes", Shapes],
  trials: ["Trials", Trials],
  pareto: ["Pareto", Pareto],
  timeline: ["Timeline", Timeline],
  log: ["Log", Log],
};

// Returns whether an address is of the same search; if so, shows it.
export function showSearch(shell, id) {
  const { signal } = shell;
  const path = `/searches/${encodeURIComponent(id)}`;
  const seen = { search: null, best: null, error: null };
  const main = document.getElementById("main");
  const tabs = {};
  const context = { id, path, signal, draw: () => draw(), refresh: () => show(), attempt: (work) => attempt(work) };

  const tab = () => {
    const name = here().parts[2] in TABS ? here().parts[2] : "overview";
    tabs[name] ??= new TABS[name][1](context);
    return tabs[name];
  };
  const draw = () => {
    if (!seen.search) return;
    shell.draw(...frame(seen), ...tab().view(seen).filter(Boolean));
    shell.attempt(async () => tab().paint?.(seen));
  };
  // Runs `work` and shows the problem if the service refuses it.
  const attempt = async (work) => {
    try {
      await shell.attempt(work);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      seen.error = problem.message;
    }
    draw();
  };
  const lookOnce = () =>
    attempt(async () => {
      const [search, best] = await Promise.all([get(path, signal), get(`${path}/best`, signal), known()]);
      announce(shell, seen.search, search);
      shell.title(search.name);
      Object.assign(seen, { search, best });
      draw();
      await tab().look?.(seen);
    });
  const look = paced(LOOK_MS, lookOnce, signal);
  // Data of the tab alone are fetched without fetching the search again.
  const show = () => {
    draw();
    return attempt(async () => tab().look?.(seen));
  };
  const listen = () =>
    follow(`${path}/events`, {
      signal,
      after: seen.search.events,
      connected: (yes) => {
        shell.connected(yes);
        if (!yes) return;
        for (const one of Object.values(tabs)) one.heard?.({ kind: "trial", data: {}, isDoubt: true });
        look();
      },
      heard: (event) => {
        for (const one of Object.values(tabs)) one.heard?.(event);
        look();
      },
    });

  const act = {
    pause: () => attempt(async () => (seen.search = await post(`${path}/pause`, signal))),
    resume: () => attempt(async () => (seen.search = await post(`${path}/resume`, signal))),
    cancel: () => sure(CANCEL, () => post(`${path}/cancel`, signal)),
    kill: () => sure(KILL, () => post(`${path}/kill`, signal)),
    fork: () => (location.hash = href(["new"], { from: id })),
    extend: async () => {
      const trials = await ask({ ...EXTEND, field: { label: "Trials altogether", value: seen.search.budget?.trials ?? seen.search.document.budget.trials, min: 1 } }, signal);
      if (trials) await attempt(async () => (seen.search = await patch(path, signal, { budget: { trials } })));
    },
    delete: async () => {
      if (!(await ask(DELETE, signal))) return;
      await attempt(async () => {
        await remove(path, signal);
        location.hash = "#/";
      });
    },
    download: () => attempt(() => download(path, seen.search, signal)),
    optuna: () => attempt(() => fetched(`${path}/optuna`, `${plainName(seen.search)}.db`, signal)),
    bundle: () => attempt(() => fetched(`${path}/best/bundle?unconfirmed=true`, `${plainName(seen.search)}.zip`, signal)),
  };
  const sure = async (question, work) => {
    if (await ask(question, signal)) await attempt(async () => (seen.search = await work()));
  };
  main.addEventListener(
    "click",
    (event) => {
      const button = event.target.closest("[data-action]");
      if (!button) return;
      seen.error = null;
      (act[button.dataset.action] ?? tab().act[button.dataset.action])?.(button);
    },
    { signal },
  );
  main.addEventListener("change", (event) => tab().change?.[event.target.dataset.change]?.(event.target), { signal });
  // A slider sends an event for each step while it is dragged.
  main.addEventListener("input", ({ target }) => target.type === "range" && tab().change?.[target.dataset.change]?.(target), { signal });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(), { signal });

  shell.draw(h("p", { class: "soft" }, "Loading\u2026"));
  open();
  return ({ parts }) => {
    if (parts[0] !== "search" || parts[1] !== id) return false;
    show();
    return true;
  };

  async function open() {
    for (;;) {
      await lookOnce();
      if (seen.search || seen.error || signal.aborted) break;
      await sleep(LOOK_MS, signal);
    }
    if (!seen.search) return seen.error && lost(shell, seen.error);
    shell.attempt(listen).catch((problem) => lost(shell, problem.message));
  }
}

const CANCEL = { title: "Cancel this search?", text: "Nothing more is started; trials that run finish. A cancelled search cannot be resumed.", yes: "Cancel the search", no: "Keep searching", danger: true };
const KILL = { title: "Kill this search?", text: "Trials that run end at their next report, and what they have done is lost. A killed search cannot be resumed.", yes: "Kill the search", no: "Keep searching", danger: true };
const DELETE = { title: "Delete this search?", text: "Its trials, curves, logs and files are deleted with it. This cannot be undone.", yes: "Delete for ever", no: "Keep it", danger: true };
const EXTEND = { title: "Extend this search", text: "So many trials may be proposed altogether; a completed search that may have more runs on.", yes: "Extend" };

function frame({ search, best, error }) {
  return [
    h("nav", { class: "crumbs", "data-key": "crumbs", "aria-label": "You are here" }, h("a", { href: "#/" }, "\u2190 Searches")),
    header(search),
    h("p", { class: "error", role: "alert", "data-key": "error" }, error),
    verdict(search, best),
    navigation(search),
  ];
}

function navigation(search) {
  const { parts, query } = here();
  const current = parts[2] in TABS ? parts[2] : "overview";
  const link = ([name, [title]]) => h("a", { href: href(["search", search.id, name], name === current ? Object.fromEntries(query) : {}), "aria-current": name === current ? "page" : null }, title);
  return h("nav", { class: "tabs", "data-key": "tabs", "aria-label": "Of this search" }, Object.entries(TABS).map(link));
}

function header(search) {
  const state = words.stateOf(search);
  const { sampler, pruner, objective } = search.document;
  const goals = [objective].flat().map((one) => `${one.metric.replaceAll("_", " ")}${one.direction === "minimize" ? ", lowest is best" : ""}`);
  const facts = [words.taskOf(search), ...goals, search.pinned.epochs ? words.count(search.pinned.epochs, "epoch") : null, sampler.name, pruner.name === "none" ? null : pruner.name];
  return h(
    "header",
    { class: "search-header", "data-key": "header" },
    h(
      "div",
      { class: "title" },
      h("h1", {}, search.name),
      h("p", {}, parts.state(state), h("span", { class: "soft" }, facts.filter(Boolean).join(" \u00b7 "))),
    ),
    buttons(search),
    maySubmit() ? null : h("p", { class: "soft", "data-key": "only" }, mayOnlyRead()),
    search.reason ? h("p", { class: `reason ${search.state}`, "data-key": "reason" }, capital(search.reason), ".") : null,
    h("div", { class: "how-far", "data-key": "progress" }, parts.progress(search), h("p", { class: "soft" }, parts.progressWords(search), times(search))),
  );
}

function times(search) {
  const begun = search.started_at ? [" \u00b7 started ", parts.moment(search.started_at)] : [" \u00b7 submitted ", parts.moment(search.created_at)];
  const spent = words.spent(search.spent);
  return [...begun, search.ended_at ? [" \u00b7 ended ", parts.moment(search.ended_at)] : null, spent ? ` \u00b7 ${spent}` : null];
}

function buttons(search) {
  const isOver = words.hasEnded(search);
  const mayChange = maySubmit();
  const mayCancel = mayChange && !isOver && search.wanted !== "cancel" && search.wanted !== "kill";
  const button = (action, text, kind = "") => h("button", { type: "button", class: kind, "data-action": action, "data-key": action }, text);
  return h(
    "div",
    { class: "actions", "data-key": "actions" },
    mayCancel && search.state !== "paused" ? button("pause", "Pause") : null,
    mayChange && search.state === "paused" ? button("resume", "Resume", "primary") : null,
    mayCancel ? button("cancel", "Cancel\u2026") : null,
    h(
      "details",
      { class: "menu", "data-key": "menu", "data-open": true },
      h("summary", {}, "More"),
      h(
        "div",
        { class: "menu-items" },
        mayChange
          ? [
              button("fork", "Fork\u2026"),
              search.state === "cancelled" || search.state === "failed" ? null : button("extend", "Extend\u2026"),
              isOver ? null : button("kill", "Kill\u2026"),
              button("delete", "Delete\u2026", "danger"),
            ]
          : null,
        h("a", { href: `/v1/searches/${search.id}/trials.csv`, download: "" }, "Trials as CSV"),
        button("optuna", "Trials for Optuna"),
        search.best ? button("bundle", "Bundle of the best") : null,
      ),
    ),
  );
}

function lost(shell, message) {
  shell.connected(null);
  shell.title("Not found");
  shell.draw(
    h("h1", {}, "This search cannot be shown"),
    h("p", {}, `${capital(message)}.`),
    h("p", {}, h("a", { href: "#/" }, "All searches")),
  );
}

function announce(shell, before, now) {
  const [was, is] = [before && words.stateOf(before), words.stateOf(now)];
  if (was && was !== is) shell.announce(`${now.name} is ${is}. ${now.reason ?? ""}`);
}

async function download(path, search, signal) {
  const config = await get(`${path}/best/config?unconfirmed=true`, signal);
  const standing = config.provenance.verdict === "confirmed" ? "confirmed" : "unconfirmed";
  save(new Blob([JSON.stringify(config, null, 2)], { type: "application/json" }), `${plainName(search)}-${standing}.json`);
}

// A job of the service writes the file; the page polls until it is ready.
async function fetched(path, name, signal) {
  for (;;) {
    const found = await file(path, signal);
    if (found) return save(found, name);
    await sleep(LOOK_MS, signal);
  }
}

const plainName = (search) => search.name.replaceAll(/[^\w.-]+/g, "-");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
