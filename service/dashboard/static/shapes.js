// The functions that a trial's activations have become, in the order of depth.

import { Problem, get } from "./api.js";
import { here, keep } from "./address.js";
import { chart, extent, legend, padded } from "./chart.js";
import { h } from "./dom.js";
import { FUNCTIONS, derivative, nearest, values } from "./functions.js";
import { saveSvg } from "./plot.js";
import * as words from "./words.js";

const AT_THE_END = "shapes.json";
const BY_EPOCH = "shapes-history.json";

export class Shapes {
  constructor(context) {
    this.context = context;
    this.known = new Map();
    this.act = { "save-shape": (button) => saveSvg(button.closest("li").querySelector("svg.main"), `shape-${button.dataset.site}`) };
    this.change = {
      shown: (field) => this.#choose({ trial: field.value, epoch: null }),
      overlay: (field) => this.#choose({ with: field.value }),
      slopes: (field) => this.#choose({ slopes: field.checked ? "1" : null }),
      epoch: (field) => this.#choose({ epoch: [...this.known.get(this.shown).keys()][field.value] }),
    };
  }

  heard() {}

  async look({ best }) {
    for (const id of this.#wanted(best)) await this.#fetch(id);
  }

  view({ best }) {
    const { query } = here();
    const [shown, other] = this.#wanted(best);
    if (!shown) return [card(h("p", { class: "soft" }, "The shapes of the first completed trial appear here."))];
    this.shown = shown;
    const found = this.known.get(shown);
    const epochs = found ? [...found.keys()] : [];
    const at = query.get("epoch") ?? epochs.at(-1);
    const document = found?.get(String(at)) ?? found?.get(epochs.at(-1));
    const slopes = query.get("slopes") === "1";
    const under = other ? [...(this.known.get(other)?.values() ?? [])].at(-1) : null;
    return [
      card(
        h("div", { class: "section-head" }, h("h2", { id: "shapes-title" }, "Learned functions, by depth"), legend(["found", "found"], ["before", "before"], ["near", "nearest classic"], other ? ["other", "the other trial"] : null, ["density", "its inputs"], ["mark", "knots"])),
        this.#controls(best, shown, other, epochs, at, slopes),
        document === null || found?.size === 0 ? h("p", { class: "soft" }, "This trial has stored no shapes.") : document ? gallery(document, under, slopes) : h("p", { class: "soft" }, "Loading\u2026"),
      ),
    ];
  }

  #controls(best, shown, other, epochs, at, slopes) {
    const options = (chosen) => best.ranking.map((row) => h("option", { value: row.trial, selected: row.trial === chosen }, `trial ${row.number}${row.label ? `, ${row.label}` : ""}: ${words.value(row.value)}`));
    const last = epochs.length - 1;
    return h(
      "div",
      { class: "controls", "data-key": "controls" },
      h("label", {}, "Trial ", h("select", { "data-change": "shown" }, options(shown))),
      h("label", {}, "Overlay ", h("select", { "data-change": "overlay" }, h("option", { value: "", selected: !other }, "none"), options(other))),
      h("label", {}, h("input", { type: "checkbox", "data-change": "slopes", checked: slopes }), " Derivatives"),
      last > 0 ? h("label", { class: "epochs" }, "Epoch ", h("input", { type: "range", min: 0, max: last, step: 1, value: Math.max(0, epochs.indexOf(String(at))), "data-change": "epoch", "aria-valuetext": at === "end" ? "the end" : at }), h("output", {}, at === "end" ? "the end" : at)) : null,
    );
  }

  #wanted(best) {
    const { query } = here();
    const shown = query.get("trial") ?? best.ranking[0]?.trial;
    return [shown, query.get("with")].filter(Boolean);
  }

  #choose(changes) {
    keep(changes);
    this.context.refresh();
  }

  async #fetch(id) {
    if (this.known.has(id)) return;
    const { signal } = this.context;
    const found = new Map();
    try {
      const names = (await get(`/trials/${id}/artifacts`, signal)).map((one) => one.name);
      const read = (name) => (names.includes(name) ? get(`/trials/${id}/artifacts/${name}`, signal) : null);
      const [end, history] = await Promise.all([read(AT_THE_END), read(BY_EPOCH)]);
      if (end) for (const one of history?.epochs ?? []) found.set(String(one.epoch), atEpoch(one, end));
      if (end) found.set("end", end);
    } catch (error) {
      if (!(error instanceof Problem && error.status === 404)) throw error;
    }
    this.known.set(id, found);
  }
}

// What an epoch has kept, in the form of the end: sites that learn nothing stay as they are.
function atEpoch({ sites }, end) {
  const kept = new Map(sites.map((one) => [one.site, one]));
  const at = ({ left, right, curves, histogram }) => ({ x: spread(left, right, curves[0].length), curves, density: histogram, low: null, high: null, knots: null, switches: null, nearest: null, nearest_r2: null, line_r2: null });
  return { sites: end.sites.map((site) => (kept.has(site.site) ? { ...site, ...at(kept.get(site.site)) } : site)) };
}

const spread = (left, right, count) => Array.from({ length: count }, (_, i) => left + ((right - left) * i) / (count - 1));

const card = (...children) => h("section", { class: "card", "data-key": "shapes", "aria-labelledby": "shapes-title" }, children);

export function gallery(document, under, slopes) {
  const other = new Map((under?.sites ?? []).map((site) => [site.site, site]));
  return h("ol", { class: "gallery", "data-key": "gallery" }, document.sites.map((site) => panel(site, other.get(site.site), slopes)));
}

function panel(site, other, slopes) {
  const middle = mean(site.curves);
  const near = nearest(site.x, middle, weights(site), site.nearest);
  const kinds = site.curves.length > 1 ? site.curves.map((_, i) => `found channel-${Math.round((i / (site.curves.length - 1)) * 3)}`) : ["found"];
  const curves = site.curves.map((y, i) => ({ x: site.x, y, kind: kinds[i] }));
  const others = (other?.curves ?? []).map((y) => ({ x: other.x, y, kind: "other" }));
  const before = site.original in FUNCTIONS ? [{ x: site.x, y: values(site.original, site.x), kind: "before" }] : [];
  const lines = [{ x: site.x, y: near.y, kind: "near" }, ...before, ...others, ...curves];
  const span = padded(extent([...site.curves.flat(), ...others.flatMap((line) => line.y)]));
  const marks = site.knots?.[0]?.filter((x) => x >= site.x[0] && x <= site.x.at(-1)) ?? [];
  const about = `${near.text}, R\u00b2 ${(site.nearest_r2 ?? near.quality).toFixed(3)}`;
  return h(
    "li",
    { "data-key": site.site },
    h("div", { class: "shape-head" }, h("h3", {}, site.site), h("button", { type: "button", class: "quiet small", "data-action": "save-shape", "data-site": site.site, "aria-label": `Download the shape at ${site.site} as SVG` }, "SVG")),
    h("p", { class: "soft" }, [site.activation, site.curves.length > 1 ? `${site.curves.length} of its channels` : null].filter(Boolean).join(" \u00b7 ")),
    mark(chart({ lines, marks, span, density: site.density ? { x: spread(site.x[0], site.x.at(-1), site.density.length + 1), share: site.density } : null, label: `${site.activation} at ${site.site}; nearest: ${about}` }), "main"),
    slopes ? chart({ lines: site.curves.map((y, i) => ({ ...derivative(site.x, y), kind: kinds[i] })), height: 110, ticks: 3, range: [site.x[0], site.x.at(-1)], label: `Derivative of ${site.activation} at ${site.site}` }) : null,
    h("p", {}, h("span", { class: "soft" }, "nearest: "), about),
    h("p", { class: "soft" }, `a straight line explains ${Math.round(100 * Math.max(0, site.line_r2 ?? near.straight))} %`),
    site.knots ? h("p", { class: "soft" }, bounds(site.knots)) : null,
    site.switches ? switches(site.switches) : null,
  );
}

function mark(element, name) {
  element.classList.add(name);
  return element;
}

const mean = (curves) => curves[0].map((_, i) => curves.reduce((sum, curve) => sum + curve[i], 0) / curves.length);

// How much each point counts: by the site's own inputs, else those between the percentiles.
function weights({ x, density, low, high }) {
  const bin = (i) => Math.min(density.length - 1, Math.floor((i * density.length) / (x.length - 1)));
  if (density) return x.map((_, i) => density[bin(i)] + 1e-6);
  return x.map((one) => (low === null || (one >= low && one <= high) ? 1 : 1e-6));
}

function bounds(knots) {
  const [left, right] = [extent(knots.map((one) => one[0])), extent(knots.map((one) => one.at(-1)))];
  const text = ([low, high]) => (high - low < 0.005 ? low.toFixed(2) : `${low.toFixed(2)} to ${high.toFixed(2)}`).replaceAll("-", "\u2212");
  return `${words.count(knots[0].length - 1, "segment")}; bounds ${text(left)} and ${text(right)}`;
}

// Beta of each sample, as a row of ticks for each channel.
function switches(channels) {
  const all = channels.flat();
  const [low, high] = extent(all);
  const label = `beta by sample, from ${low.toFixed(2)} to ${high.toFixed(2)}`;
  const lines = channels.map((betas, i) => ({ x: [...betas].sort((a, b) => a - b), y: betas.map((_, k) => (k + 1) / betas.length), kind: `found channel-${Math.round((i / Math.max(1, channels.length - 1)) * 3)}` }));
  return [chart({ lines, height: 90, range: [0, 1], span: [0, 1], ticks: 2, label }), h("p", { class: "soft" }, label)];
}
