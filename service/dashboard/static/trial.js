// One trial: its curve, config, environment, log and files.

import { Problem, file, get } from "./api.js";
import { chart } from "./chart.js";
import { h } from "./dom.js";
import { poll } from "./pace.js";
import * as parts from "./parts.js";
import { save } from "./plot.js";
import { gallery, key, shapesOf } from "./shapes.js";
import * as words from "./words.js";

const EVERY_MS = 2_000;
const LOG_LINES = 400;
const RUN = "run.json";

export function showTrial(shell, id) {
  const { signal } = shell;
  const path = `/trials/${encodeURIComponent(id)}`;
  const seen = { trial: null, error: null };
  const look = () =>
    shell
      .attempt(async () => {
        if (seen.trial && isOver(seen.trial) && seen.search) return;
        const trial = await get(path, signal);
        const [search, reports, artifacts, attempts] = await Promise.all([get(`/searches/${trial.search_id}`, signal), get(`${path}/reports`, signal), get(`${path}/artifacts`, signal), log(path, signal)]);
        const has = (name) => artifacts.some((one) => one.name === name);
        const [shapes, run] = await Promise.all([has("shapes.json") ? shapesOf(`/searches/${trial.search_id}`, id, null, signal) : null, has(RUN) ? get(`${path}/artifacts/${RUN}`, signal) : null]);
        Object.assign(seen, { trial, search, reports, artifacts, shapes, run, log: attempts });
        shell.connected(true);
        shell.title(`Trial ${trial.number ?? ""} of ${search.name}`);
        shell.draw(...view(seen));
      })
      .catch((problem) => shell.draw(h("h1", {}, "This trial cannot be shown"), h("p", { role: "alert" }, `${problem.message}.`), h("p", {}, h("a", { href: "#/" }, "All searches"))));
  const act = {
    config: () => save(json(config(seen)), `trial-${seen.trial.number}-candidate.json`),
    file: async (button) => {
      try {
        save(await file(`${path}/artifacts/${button.dataset.name}`, signal), button.dataset.name);
        seen.error = null;
      } catch (error) {
        if (signal.aborted) return;
        seen.error = `${button.dataset.name} could not be downloaded: ${error.message}`;
      }
      shell.draw(...view(seen));
    },
  };
  document.getElementById("main").addEventListener("click", (event) => {
    const button = event.target.closest("[data-action]");
    if (button) act[button.dataset.action]?.(button);
  }, { signal });
  shell.draw(h("p", { class: "soft" }, "Loading\u2026"));
  poll(EVERY_MS, look, signal);
}

const isOver = (trial) => !["waiting", "running"].includes(trial.state);
const json = (data) => new Blob([JSON.stringify(data, null, 2)], { type: "application/json" });

// A service without logs, or a trial without output, has none.
async function log(path, signal) {
  try {
    return await get(`${path}/logs?tail=${LOG_LINES}`, signal);
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}

function config({ trial, search }) {
  return { task: search.document.task, candidate: trial.candidate, search: search.id, trial: trial.id, seed: trial.seed, value: trial.value };
}

function view(seen) {
  const { trial, search } = seen;
  return [
    h("nav", { class: "crumbs", "aria-label": "You are here" }, h("a", { href: "#/" }, "Searches"), " / ", h("a", { href: `#/search/${search.id}/trials` }, search.name)),
    header(trial),
    h("p", { class: "error", role: "alert", "data-key": "error" }, seen.error),
    h("div", { class: "columns", "data-key": "what" }, curve(seen), h("div", { class: "stack" }, facts(seen), environment(seen))),
    network(seen),
    seen.shapes ? h("section", { class: "card", "aria-labelledby": "shapes-title" }, h("div", { class: "section-head" }, h("h2", { id: "shapes-title" }, "Learned functions"), key(false)), gallery(seen.shapes, null, false)) : null,
    printed(seen),
    artifacts(seen),
  ].filter(Boolean);
}

function header(trial) {
  const title = trial.number === null ? "Inspection" : `Trial ${trial.number}`;
  return h(
    "header",
    { class: "search-header" },
    h("div", { class: "title" }, h("h1", {}, title, trial.label ? h("span", { class: "soft" }, ` ${trial.label}`) : null), h("p", {}, parts.state(trial.state), h("span", { class: "soft" }, [trial.kind, trial.attempt > 1 ? `attempt ${trial.attempt}` : null].filter(Boolean).join(" \u00b7 ")))),
    trial.candidate ? h("div", { class: "actions" }, h("button", { type: "button", "data-action": "config" }, "Download candidate")) : null,
    trial.reason ? h("p", { class: `reason ${trial.state}` }, trial.reason) : null,
  );
}

function curve({ trial, search, reports }) {
  const goals = [search.document.objective].flat().map((one) => one.metric);
  const metrics = [...new Set(reports.flatMap((report) => Object.keys(report.metrics)))];
  // The objective of the search comes first.
  const shown = metrics.length ? metrics.sort((a, b) => goals.includes(b) - goals.includes(a)) : goals;
  const charts = shown.map((metric) => {
    const y = reports.map((report) => report.metrics[metric] ?? report.value);
    const line = { x: reports.map((report) => report.step), y, kind: "found" };
    return h("figure", {}, h("figcaption", {}, metric.replaceAll("_", " ")), chart({ lines: [line], width: 420, height: 170, label: `${metric} after each epoch, last ${words.value(y.at(-1))}` }));
  });
  return h(
    "section",
    { class: "card", "data-key": "curve", "aria-labelledby": "curve-title" },
    h("h2", { id: "curve-title" }, "Curves"),
    reports.length ? charts : h("p", { class: "soft" }, "No epoch has been reported."),
  );
}

function facts({ trial, search }) {
  const test = Object.entries(trial.test ?? {}).map(([metric, value]) => [metric.replaceAll("_", " "), words.value(value)]);
  const measured = Object.entries(trial.measurements ?? {}).filter(([, value]) => typeof value === "number").map(([name, value]) => [name.replaceAll("_", " "), short(value)]);
  const took = trial.started_at && trial.ended_at ? words.duration((new Date(trial.ended_at) - new Date(trial.started_at)) / 1000) : null;
  const rows = [
    ["value", words.value(trial.value)],
    ...test,
    ["epochs", trial.step === null ? "\u2013" : `${trial.step}${search.pinned.epochs ? ` of ${search.pinned.epochs}` : ""}`],
    ["time per step", words.stepTime(trial.step_seconds)],
    ["seed", String(trial.seed)],
    ["started", trial.started_at ? parts.moment(trial.started_at) : "\u2013"],
    ["took", took ?? "\u2013"],
    trial.repeat_of ? ["repeats", h("a", { href: `#/trial/${trial.repeat_of}` }, "an earlier trial")] : null,
    ...measured,
    ...Object.entries(trial.candidate?.training ?? {}).map(([name, value]) => [name.replaceAll("_", " "), String(value)]),
  ].filter(Boolean);
  return h("section", { class: "card", "data-key": "facts", "aria-labelledby": "facts-title" }, h("h2", { id: "facts-title" }, "Facts"), h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

const short = (value) => (Math.abs(value) >= 1000 ? words.whole(Math.round(value)) : Number(value.toPrecision(4)).toString());

function network({ trial, search }) {
  if (!trial.candidate) return null;
  const order = (search.plan?.sites ?? []).map((site) => site.id).filter((id) => id in trial.candidate.sites);
  return h(
    "section",
    { class: "card", "data-key": "network", "aria-labelledby": "network-title" },
    h("h2", { id: "network-title" }, "Activations"),
    h("ol", { class: "site-column wide" }, (order.length ? order : Object.keys(trial.candidate.sites)).map((id) => h("li", { class: "site" }, h("span", { class: "id" }, id), parts.activation(trial.candidate.sites[id]), h("span", { class: "soft" }, words.wholeActivation(trial.candidate.sites[id]))))),
  );
}

function printed({ log: found }) {
  if (!found) return null;
  return h("section", { class: "card", "data-key": "printed", "aria-labelledby": "printed-title" }, h("h2", { id: "printed-title" }, "Output"), found.text ? h("pre", { class: "output", tabindex: 0, "aria-labelledby": "printed-title" }, found.text) : h("p", { class: "soft" }, "It has printed nothing."));
}

// The environment of the trial; there is none before it starts.
function environment({ run }) {
  if (!run) return h("section", { class: "card", "data-key": "environment", "aria-labelledby": "environment-title" }, h("h2", { id: "environment-title" }, "Environment"), h("p", { class: "soft" }, "It is known once the trial has begun."));
  const { python, packages = {}, machine, processor, gpu, cuda, threads, deterministic, code, commit } = run.environment;
  const rows = [
    ["device", gpu ?? "CPU"],
    ["processor", processor],
    ["threads", String(threads)],
    ["deterministic", deterministic ? "yes, enforced" : "not enforced"],
    ["versions", [`python ${python}`, ...Object.entries(packages).map(([name, version]) => `${name} ${version}`), cuda ? `CUDA ${cuda}` : null].filter(Boolean).join(", ")],
    ["machine", machine],
    ["code of the task", code ? h("code", {}, code) : "not known"],
    ["commit of this package", commit ? h("code", {}, commit) : "not known"],
    ["sites", h("code", {}, run.assignment.fingerprint)],
    run.assignment.start ? ["starts from weights", h("code", {}, run.assignment.start.sha256)] : null,
    run.resumed_at ? ["resumed", `after ${words.count(run.resumed_at, "epoch")} of an earlier attempt`] : null,
  ].filter(Boolean);
  return h("section", { class: "card", "data-key": "environment", "aria-labelledby": "environment-title" }, h("h2", { id: "environment-title" }, "Environment"), h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

function artifacts({ artifacts: files }) {
  return h(
    "section",
    { class: "card", "data-key": "files", "aria-labelledby": "files-title" },
    h("h2", { id: "files-title" }, "Files"),
    files.length ? h("ul", { class: "files" }, files.map((one) => h("li", { "data-key": one.name }, h("button", { type: "button", class: "link", "data-action": "file", "data-name": one.name }, one.name), h("span", { class: "soft" }, `${words.bytes(one.size)} \u00b7 attempt ${one.attempt}`), h("code", { class: "soft digest" }, one.sha256)))) : h("p", { class: "soft" }, "None is stored."),
  );
}
