// One search, live.

import { Problem, follow, get, post, sleep } from "./api.js";
import { h } from "./dom.js";
import { paced } from "./pace.js";
import * as parts from "./parts.js";
import { draw as drawPlot } from "./plot.js";
import { Trials } from "./trials.js";
import { ranking } from "./ranking.js";
import { verdict } from "./verdict.js";
import * as words from "./words.js";

const LOOK_MS = 1_000;
const PLOT_MS = 2_000;

export function showSearch(shell, id) {
  const { signal } = shell;
  const path = `/searches/${encodeURIComponent(id)}`;
  const trials = new Trials(path, signal);
  const seen = { search: null, best: null, hidden: 0, allRanked: false, error: null, figure: null };
  const main = document.getElementById("main");

  const draw = () => seen.search && shell.draw(...view(seen, trials));
  // Runs `work` and shows what the service says against it.
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
      const [search, best] = await Promise.all([get(path, signal), get(`${path}/best`, signal), trials.look()]);
      announce(shell, seen.search, search);
      shell.title(search.name);
      Object.assign(seen, { search, best });
    });
  const look = paced(LOOK_MS, lookOnce, signal);
  const lookAtPlot = paced(
    PLOT_MS,
    () =>
      attempt(async () => {
        seen.figure = await get(`${path}/plots/history`, signal);
        await paint();
      }),
    signal,
  );
  const paint = async () => {
    const element = document.getElementById("history-plot");
    if (!element || !seen.figure?.data.some((trace) => trace.x.length)) return;
    seen.hidden = await drawPlot(element, seen.figure, { maximize: seen.best?.direction !== "minimize" });
  };

  const refresh = async () => {
    trials.suspect();
    await look();
  };
  const listen = () =>
    follow(`${path}/events`, {
      signal,
      after: seen.search.events,
      connected: (yes) => {
        shell.connected(yes);
        if (yes) refresh(), lookAtPlot();
      },
      heard: (event) => {
        trials.heard(event);
        look();
        if (event.kind === "trial") lookAtPlot();
      },
    });

  const act = {
    pause: () => attempt(async () => (seen.search = await post(`${path}/pause`, signal))),
    resume: () => attempt(async () => (seen.search = await post(`${path}/resume`, signal))),
    cancel: async () => {
      if (await isSure(signal)) await attempt(async () => (seen.search = await post(`${path}/cancel`, signal)));
    },
    more: () => attempt(() => trials.more()),
    ranked: () => {
      seen.allRanked = !seen.allRanked;
      draw();
    },
    download: () => attempt(() => download(path, seen.search, signal)),
  };
  main.addEventListener(
    "click",
    (event) => {
      const button = event.target.closest("[data-action]");
      if (!button) return;
      seen.error = null;
      act[button.dataset.action]?.();
    },
    { signal },
  );
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint(), { signal });

  shell.draw(h("p", { class: "soft" }, "Loading\u2026"));
  open();

  async function open() {
    for (;;) {
      await lookOnce();
      if (seen.search || seen.error || signal.aborted) break;
      await sleep(LOOK_MS, signal);
    }
    if (!seen.search) return seen.error && lost(shell, seen.error);
    if (words.hasEnded(seen.search)) return lookAtPlot();
    shell.attempt(listen).catch((problem) => lost(shell, problem.message));
  }
}

function view(seen, trials) {
  const { search, best } = seen;
  return [
    h("nav", { class: "crumbs", "aria-label": "You are here" }, h("a", { href: "#/" }, "\u2190 Searches")),
    header(search),
    h("p", { class: "error", role: "alert", "data-key": "error" }, seen.error),
    verdict(search, best),
    history(seen),
    ranking(search, best, seen.allRanked),
    trials.view(search),
  ];
}

function header(search) {
  const state = words.stateOf(search);
  const { sampler, pruner, objective } = search.document;
  const goal = `${objective.metric.replaceAll("_", " ")}${objective.direction === "minimize" ? ", lowest is best" : ""}`;
  const facts = [words.taskOf(search), goal, search.pinned.epochs ? words.count(search.pinned.epochs, "epoch") : null, sampler.name, pruner.name === "none" ? null : pruner.name];
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
    search.reason ? h("p", { class: `reason ${search.state}`, "data-key": "reason" }, capital(search.reason), ".") : null,
    h("div", { class: "how-far", "data-key": "progress" }, parts.progress(search), h("p", { class: "soft" }, parts.progressWords(search), times(search))),
  );
}

function times(search) {
  const begun = search.started_at ? [" \u00b7 started ", parts.moment(search.started_at)] : [" \u00b7 submitted ", parts.moment(search.created_at)];
  return search.ended_at ? [...begun, " \u00b7 ended ", parts.moment(search.ended_at)] : begun;
}

function buttons(search) {
  const mayCancel = !words.hasEnded(search) && search.wanted !== "cancel";
  const button = (action, text, kind = "") => h("button", { type: "button", class: kind, "data-action": action, "data-key": action }, text);
  return h(
    "div",
    { class: "actions", "data-key": "actions" },
    mayCancel && search.state !== "paused" ? button("pause", "Pause") : null,
    search.state === "paused" ? button("resume", "Resume", "primary") : null,
    mayCancel ? button("cancel", "Cancel\u2026") : null,
  );
}

function history({ search, best, hidden }) {
  const isEmpty = search.progress.finished === 0;
  const label = search.best ? `Values of the trials in their order. Best so far ${words.value(search.best.value)}.` : "Values of the trials in their order.";
  return h(
    "section",
    { class: "card", "data-key": "history", "aria-labelledby": "history-title" },
    h("h2", { id: "history-title" }, "History"),
    isEmpty ? h("p", { class: "soft", "data-key": "none" }, "The first finished trial appears here.") : null,
    h("div", { class: isEmpty ? "plot none" : "plot", role: "img", "aria-label": label, "data-key": "plot" }, h("div", { id: "history-plot", "data-keep": true })),
    hidden ? h("p", { class: "soft", "data-key": "hidden" }, `${words.count(hidden, "value")} far ${best?.direction === "minimize" ? "above" : "below"} the others ${hidden === 1 ? "lies" : "lie"} outside; double-click the plot to see all.`) : null,
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

function isSure(signal) {
  const dialog = document.getElementById("ask");
  return new Promise((resolve) => {
    const once = { once: true, signal };
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), once);
    for (const button of dialog.querySelectorAll("button")) {
      button.onclick = () => dialog.close(button.value);
    }
    dialog.showModal();
  });
}

// Fetched rather than linked, since a link cannot carry a token.
async function download(path, search, signal) {
  const config = await get(`${path}/best/config?unconfirmed=true`, signal);
  const url = URL.createObjectURL(new Blob([JSON.stringify(config, null, 2)], { type: "application/json" }));
  const standing = config.provenance.verdict === "confirmed" ? "confirmed" : "unconfirmed";
  const link = h("a", { href: url, download: `${search.name.replaceAll(/[^\w.-]+/g, "-")}-${standing}.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1_000);
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
