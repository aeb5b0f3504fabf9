// Small elements that several views use.

import { h, svg } from "./dom.js";
import * as words from "./words.js";

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const SHAPES = {
  relu: (x) => Math.max(0, x),
  silu: (x) => 1.1 * x * sigmoid(0.9 * x),
  gelu: (x) => x * sigmoid(1.702 * x),
  gelu_tanh: (x) => x * sigmoid(1.702 * x),
  acon_c: (x) => 1.3 * x * sigmoid(2 * x) - 0.4 * x,
  meta_acon: (x) => 0.3 * x + 0.6 * x * sigmoid(2 * x),
};
const PIECES = "M1 10.5 5 9 9 11.5 12 9.5 15 5.5 19 1.5";

const MARKS = {
  running: "\u25cf",
  completed: "\u2713",
  stopped: "\u25aa",
  failed: "\u2715",
  cancelled: "\u2298",
  cancelling: "\u2298",
  paused: "\u2016",
  pausing: "\u2016",
};

export function state(name) {
  const mark = h("span", { "aria-hidden": "true" }, MARKS[name] ?? "\u25cb");
  return h("span", { class: `state ${name}` }, mark, ` ${name}`);
}

export function moment(text) {
  return h("time", { datetime: text, title: words.wholeMoment(text) }, words.moment(text));
}

// The network of a trial: its activations, and its label if it has one.
export function network(trial, plan) {
  return h("div", { class: "network" }, candidate(trial.candidate, plan), trial.label ? h("span", { class: "soft" }, trial.label) : null);
}

// The activations of a candidate in the order of its sites; equal neighbours are merged.
function candidate(assignment, plan) {
  if (!assignment) return h("span", { class: "soft" }, "\u2013");
  const order = plan ? plan.sites.map((site) => site.id).filter((id) => id in assignment.sites) : Object.keys(assignment.sites);
  const runs = [];
  for (const id of order) {
    const spec = assignment.sites[id];
    const text = words.activation(spec);
    if (runs.at(-1)?.text === text) runs.at(-1).sites.push(id);
    else runs.push({ text, spec, sites: [id] });
  }
  return h("ul", { class: "chips", "aria-label": "activations by site" }, runs.map(chip));
}

function chip({ text, spec, sites }) {
  const times = sites.length > 1 ? h("span", { class: "times" }, `\u00d7${sites.length}`) : null;
  const title = `${sites.join(", ")}: ${words.wholeActivation(spec)}`;
  return h("li", { class: "chip", title }, glyph(spec.name), text, times);
}

// The activation at one site.
export function activation(spec) {
  return h("span", { class: "chip", title: words.wholeActivation(spec) }, glyph(spec.name), words.activation(spec));
}

export function glyph(name) {
  const shape = SHAPES[name];
  const path = name === "pwlu" ? PIECES : shape && curve(shape);
  if (!path) return null;
  return svg("svg", { class: "glyph", viewBox: "0 0 20 14", "aria-hidden": "true" }, svg("path", { d: path }));
}

function curve(shape) {
  const points = Array.from({ length: 19 }, (_, i) => {
    const x = -3.5 + (i / 18) * 6;
    return `${1 + i} ${(10.5 - shape(x) * 3.6).toFixed(1)}`;
  });
  return `M${points.join(" ")}`;
}

export function progress(search) {
  const { finished, total } = search.progress;
  return h("progress", {
    max: Math.max(1, total),
    value: finished,
    class: search.state,
    "aria-label": `progress of ${search.name}`,
    "aria-valuetext": `${finished} of ${words.count(total, "trial")} finished`,
  });
}

export function progressWords(search) {
  const { finished, total, running, eta_seconds: eta } = search.progress;
  if (!total) return words.hasEnded(search) ? "no trial was started" : "no trial yet";
  const parts = [`${words.whole(finished)} of ${words.count(total, "trial")}`];
  if (running) parts.push(`${running} running`);
  if (eta !== null && words.stateOf(search) === "running") parts.push(`about ${words.duration(eta)} left`);
  return parts.join(" \u00b7 ");
}
