// The catalogue of activations: formulas, curves and derivatives, with sliders for parameters.

import { get } from "./api.js";
import { here, href, keep } from "./address.js";
import { chart, extent, legend, padded } from "./chart.js";
import { h } from "./dom.js";
import { FUNCTIONS, defaults, derivative, values } from "./functions.js";
import { saveSvg } from "./plot.js";
import { read } from "./formula.js";
import * as words from "./words.js";

const REACH = 5;
const XS = Array.from({ length: 401 }, (_, i) => ((i - 200) / 200) * REACH);
const KINDS = { standard: "offered by default", learned: "learned", fixed: "fixed", pointwise: "of one number" };

export function showActivations(shell) {
  const { signal } = shell;
  const seen = { entries: null };
  const main = document.getElementById("main");
  const draw = () => {
    if (!seen.entries) return;
    const name = here().parts[1];
    const entry = seen.entries.find((one) => one.name === name);
    shell.title(entry ? entry.name : "Activations");
    shell.draw(...(entry ? single(entry) : catalogue(seen.entries)));
  };
  shell.title("Activations");
  shell.draw(h("h1", {}, "Activations"), h("p", { class: "soft" }, "Loading\u2026"));
  main.addEventListener("input", ({ target }) => {
    if (!target.dataset.knob) return;
    keep({ [target.dataset.knob]: target.value });
    draw();
  }, { signal });
  main.addEventListener("change", ({ target }) => {
    if (target.dataset.filter) keep({ [target.dataset.filter]: target.value }), draw();
  }, { signal });
  main.addEventListener("click", ({ target }) => {
    const action = target.closest("[data-action]")?.dataset.action;
    if (action === "reset") (location.hash = href(["activations", here().parts[1]])), draw();
    if (action === "save-curve") saveSvg(main.querySelector("svg.main"), here().parts[1]);
  }, { signal });
  shell.attempt(async () => {
    seen.entries = await get("/activations", signal);
    shell.connected(true);
    draw();
  });
  return ({ parts }) => {
    if (parts[0] !== "activations") return false;
    draw();
    return true;
  };
}

function catalogue(entries) {
  const kind = here().query.get("kind") ?? "";
  const has = { standard: (one) => one.standard, learned: (one) => one.learned, fixed: (one) => !one.learned, pointwise: (one) => one.pointwise };
  const shown = entries.filter((one) => !kind || has[kind](one));
  return [
    h("h1", { "data-key": "title" }, "Activations"),
    h("div", { class: "controls", "data-key": "controls" }, h("label", {}, "Show ", h("select", { "data-filter": "kind" }, h("option", { value: "" }, "all"), Object.entries(KINDS).map(([value, text]) => h("option", { value, selected: value === kind }, text)))), h("span", { class: "soft" }, words.count(shown.length, "activation"))),
    h("ul", { class: "catalogue", "data-key": "catalogue" }, shown.map(tile)),
  ];
}

function tile(entry) {
  const drawn = FUNCTIONS[entry.name];
  const y = drawn ? values(entry.name, XS) : null;
  return h(
    "li",
    { class: "card tile", "data-key": entry.name },
    h("h2", {}, h("a", { href: href(["activations", entry.name]) }, entry.name)),
    y ? chart({ lines: [{ x: XS, y, kind: "found" }], height: 120, width: 220, span: [-1.5, 4], ticks: 3, label: `${entry.name} between \u22125 and 5` }) : h("p", { class: "soft no-curve" }, entry.pointwise ? "has as many shapes as it has parameters" : "looks at more than one number"),
    h("p", { class: "soft" }, [entry.learned ? "learned" : "fixed", entry.year || null, entry.standard ? "offered by default" : null].filter(Boolean).join(" \u00b7 ")),
  );
}

function single(entry) {
  const drawn = FUNCTIONS[entry.name];
  return [
    h("nav", { class: "crumbs", "data-key": "crumbs", "aria-label": "You are here" }, h("a", { href: "#/activations" }, "\u2190 Activations")),
    h("h1", { "data-key": "title" }, entry.name),
    h("section", { class: "card", "data-key": "formula", "aria-label": "Formula" }, h("p", { class: "formula" }, "f(x) = ", read(entry.formula)), h("p", { class: "soft" }, entry.source), entry.interpretation ? h("p", { class: "soft" }, entry.interpretation) : null),
    drawn ? curves(entry, drawn) : h("section", { class: "card", "data-key": "curve" }, h("p", { class: "soft" }, entry.pointwise ? "It has as many shapes as it has parameters; which ones a network has learned is shown with its search." : "It looks at more than the number that it is applied to, so there is no one curve to draw.")),
    details(entry),
  ];
}

function curves(entry, { knobs = [], marks = [] }) {
  const { query } = here();
  const start = defaults(entry.name);
  const params = Object.fromEntries(Object.entries(start).map(([name, value]) => [name, query.has(name) ? Number(query.get(name)) : value]));
  const isMoved = Object.keys(start).some((name) => params[name] !== start[name]);
  const y = values(entry.name, XS, params);
  const before = isMoved ? [{ x: XS, y: values(entry.name, XS, start), kind: "before" }] : [];
  const span = clamp(padded(extent([...y, ...before.flatMap((line) => line.y)])));
  const slope = derivative(XS, y);
  return h(
    "section",
    { class: "card", "data-key": "curve", "aria-labelledby": "curve-title" },
    h("div", { class: "section-head" }, h("h2", { id: "curve-title" }, "Curve and derivative"), legend(["found", "f(x)"], isMoved ? ["before", "at its start"] : null, ["other", "derivative"]), h("div", { class: "actions" }, isMoved ? h("button", { type: "button", class: "small", "data-action": "reset" }, "Reset") : null, h("button", { type: "button", class: "quiet small", "data-action": "save-curve" }, "SVG"))),
    h(
      "div",
      { class: "columns" },
      h("div", {}, main(chart({ lines: [...before, { x: XS, y, kind: "found" }], marks, width: 460, height: 280, span, label: `${entry.name} between \u22125 and 5` })), chart({ lines: [{ ...slope, kind: "other" }], width: 460, height: 160, span: clamp(padded(extent(slope.y))), range: [-REACH, REACH], ticks: 3, label: `Derivative of ${entry.name}` })),
      h("div", { class: "knobs" }, knobs.length ? knobs.map((one) => slider(one, params[one.name])) : h("p", { class: "soft" }, "It has no parameters to drag.")),
    ),
  );
}

function main(element) {
  element.classList.add("main");
  return element;
}

function slider({ name, text, low, high }, value) {
  return h(
    "label",
    { class: "knob", "data-key": name },
    h("span", {}, text.replaceAll("_", " ")),
    h("input", { type: "range", min: low, max: high, step: (high - low) / 200, value, "data-knob": name }),
    h("output", {}, value.toFixed(2).replace("-", "\u2212")),
  );
}

const clamp = ([low, high]) => [Math.max(low, -8), Math.min(high, 12)];

function details(entry) {
  const rows = [
    ["learned parameters", Object.entries(entry.learned_parameters).map(([channels, count]) => `${words.whole(count)} with ${channels} channels`).join(", ")],
    ["operations", `${entry.flops} per element`],
    ["parameters shared by", entry.shares.length ? entry.shares.join(" or ") : "nothing is learned"],
    ["may start as", entry.initials.join(", ") || "itself"],
    ["phases", entry.phases ? "first watches its input, then learns" : "none"],
    ["needs", [entry.rank ? `inputs of ${entry.rank} dimensions` : null, entry.channels_first_only ? "channels first" : null].filter(Boolean).join(", ") || "nothing in particular"],
  ];
  return h(
    "section",
    { class: "card", "data-key": "details", "aria-labelledby": "details-title" },
    h("h2", { id: "details-title" }, "Details"),
    h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    entry.parameters.length
      ? h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Parameters of a choice" }, h("table", {}, h("thead", {}, h("tr", {}, ["Parameter", "Default", "Values", "Meaning"].map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, entry.parameters.map(parameter))))
      : null,
  );
}

function parameter({ name, default: start, low, high, meaning, choices }) {
  const range = choices.length ? choices.join(", ") : low === null ? "yes or no" : `${low} to ${high}`;
  return h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, String(start)), h("td", {}, range), h("td", {}, meaning));
}
