// The learned activation functions of a trial, in the order of depth.

import { Problem, get } from "./api.js";
import { here, keep } from "./address.js";
import { chart, extent, legend, padded } from "./chart.js";
import { h } from "./dom.js";
import { FUNCTIONS, derivative, nearest, values } from "./functions.js";
import { saveSvg } from "./plot.js";
import * as words from "./words.js";

const THE_END = "the end";
const LEAST_REACH = 0.1; // The least length of the axis of beta.

export class Shapes {
  constructor(context) {
    this.context = context;
    // The answer of the service, or its problem, by trial and epoch.
    this.known = new Map();
    this.drawn = null;
    this.act = { "save-shape": (button) => saveSvg(button.closest("li").querySelector("svg.main"), `shape-${button.dataset.site}`) };
    this.change = {
      shown: (field) => this.#choose({ trial: field.value, epoch: null }),
      overlay: (field) => this.#choose({ with: field.value }),
      slopes: (field) => this.#choose({ slopes: field.checked ? "1" : null }),
      epoch: (field) => this.#choose({ epoch: this.drawn.epochs[field.value] ?? null }),
    };
  }

  heard() {}

  async look({ best }) {
    const { trial, epoch, other } = this.#asked(best);
    await Promise.all([trial && this.#fetch(trial, epoch), other && this.#fetch(other, null)]);
  }

  view({ best }) {
    const { trial, epoch, other, slopes } = this.#asked(best);
    if (!trial) return [card(h("h2", { id: "shapes-title" }, "Learned functions, by depth"), h("p", { class: "soft" }, "The shapes of the first completed trial appear here."))];
    const found = this.#found(trial, epoch);
    const under = other && this.#found(other, null);
    // The last curves stay on the page while the next epoch loads.
    if (found?.sites) this.drawn = found;
    const shown = found ?? (this.drawn?.trial === trial ? this.drawn : null);
    return [
      card(
        h("div", { class: "section-head" }, h("h2", { id: "shapes-title" }, "Learned functions, by depth"), key(Boolean(under?.sites))),
        this.#controls(best, shown, trial, epoch, under, other, slopes),
        under?.problem ? h("p", { class: "soft", "data-key": "other" }, `Nothing can be laid over it: ${under.problem}.`) : null,
        shown?.sites ? gallery(shown, under?.sites ? under : null, slopes) : h("p", { class: "soft" }, shown ? `${capital(shown.problem)}.` : "Loading\u2026"),
      ),
    ];
  }

  #controls(best, found, trial, epoch, under, other, slopes) {
    const options = (chosen, answer) => {
      const rows = best.ranking.map((row) => option(row.trial, row, chosen));
      // The address may name a trial that is not in the ranking, like a stopped one.
      const isListed = !chosen || best.ranking.some((row) => row.trial === chosen);
      return isListed ? rows : [option(chosen, answer?.sites ? answer : null, chosen), ...rows];
    };
    const epochs = found?.epochs ?? [];
    const at = epoch === null ? epochs.length : Math.max(0, epochs.indexOf(epoch));
    const text = epoch === null ? THE_END : String(epoch);
    return h(
      "div",
      { class: "controls", "data-key": "controls" },
      h("label", {}, "Trial ", h("select", { "data-change": "shown" }, options(trial, found))),
      h("label", {}, "Overlay ", h("select", { "data-change": "overlay" }, h("option", { value: "", selected: !other }, "none"), options(other, under))),
      h("label", {}, h("input", { type: "checkbox", "data-change": "slopes", checked: slopes }), " Derivatives"),
      epochs.length ? h("label", { class: "epochs" }, "Epoch ", h("input", { type: "range", min: 0, max: epochs.length, step: 1, value: at, "data-change": "epoch", "aria-valuetext": text }), h("output", {}, text)) : null,
    );
  }

  #asked(best) {
    const { query } = here();
    const epoch = Number(query.get("epoch")) || null;
    return { trial: query.get("trial") ?? best.trial ?? best.ranking[0]?.trial, epoch, other: query.get("with") || null, slopes: query.get("slopes") === "1" };
  }

  #choose(changes) {
    keep(changes);
    this.context.refresh();
  }

  #found(trial, epoch) {
    return this.known.get(`${trial} ${epoch}`) ?? null;
  }

  async #fetch(trial, epoch) {
    const name = `${trial} ${epoch}`;
    if (this.known.has(name)) return;
    const { path, signal } = this.context;
    try {
      this.known.set(name, await shapesOf(path, trial, epoch, signal));
    } catch (error) {
      if (!(error instanceof Problem && error.status < 500)) throw error;
      // A trial that has not ended may store its curves later.
      this.known.set(name, { problem: error.message });
      if (error.status === 409) setTimeout(() => this.known.delete(name), 5_000);
    }
  }
}

export function shapesOf(path, trial, epoch, signal) {
  return get(`${path}/shapes?${new URLSearchParams({ trial, ...(epoch && { epoch }) })}`, signal);
}

export function key(isOverlaid) {
  return legend(["found", "found"], ["before", "before"], ["near", "nearest classic"], isOverlaid ? ["other", "the other trial, at its end"] : null, ["density", "its inputs"], ["mark", "knots"]);
}

function option(id, row, chosen) {
  const text = row ? `trial ${row.number}${row.label ? `, ${row.label}` : ""}: ${words.value(row.value)}` : `trial ${id}`;
  return h("option", { value: id, selected: id === chosen }, text);
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const spread = (left, right, count) => Array.from({ length: count }, (_, i) => left + ((right - left) * i) / (count - 1));

const card = (...children) => h("section", { class: "card", "data-key": "shapes", "aria-labelledby": "shapes-title" }, children);

export function gallery(found, under, slopes) {
  const other = new Map((under?.sites ?? []).map((site) => [site.site, site]));
  return h("ol", { class: "gallery", "data-key": "gallery" }, found.sites.map((site) => panel(site, other.get(site.site), slopes)));
}

function panel(site, other, slopes) {
  const middle = mean(site.curves);
  const near = nearest(site.x, middle, weights(site), site.nearest);
  const kinds = channelKinds(site.curves.length);
  const curves = site.curves.map((y, i) => ({ x: site.x, y, kind: kinds[i] }));
  const others = (other?.curves ?? []).map((y) => ({ x: other.x, y, kind: "other" }));
  const before = site.original in FUNCTIONS ? [{ x: site.x, y: values(site.original, site.x), kind: "before" }] : [];
  const lines = [{ x: site.x, y: near.y, kind: "near" }, ...before, ...others, ...curves];
  const span = padded(extent([...site.curves.flat(), ...others.flatMap((line) => line.y)]));
  const range = [site.x[0], site.x.at(-1)];
  const marks = site.knots?.[0]?.filter((x) => x >= range[0] && x <= range[1]) ?? [];
  const about = `${near.text}, R\u00b2 ${(site.nearest_r2 ?? near.quality).toFixed(3)}`;
  return h(
    "li",
    { "data-key": site.site },
    h("div", { class: "shape-head" }, h("h3", {}, site.site), h("button", { type: "button", class: "quiet small", "data-action": "save-shape", "data-site": site.site, "aria-label": `Download the shape at ${site.site} as SVG` }, "SVG")),
    h("p", { class: "soft" }, [site.activation, site.curves.length > 1 ? `${site.curves.length} of its channels` : null, other && other.activation !== site.activation ? `over it: ${other.activation}` : null].filter(Boolean).join(" \u00b7 ")),
    named(chart({ lines, marks, span, range, ticks: 5, density: site.density ? { x: spread(...range, site.density.length + 1), share: site.density } : null, label: `${site.activation} at ${site.site}; nearest: ${about}` }), "main"),
    slopes ? chart({ lines: site.curves.map((y, i) => ({ ...derivative(site.x, y), kind: kinds[i] })), height: 110, ticks: 3, range, label: `Derivative of ${site.activation} at ${site.site}` }) : null,
    h("p", {}, h("span", { class: "soft" }, "nearest: "), about),
    h("p", { class: "soft" }, `a straight line explains ${Math.round(100 * Math.max(0, site.line_r2 ?? near.straight))} %`),
    site.knots ? h("p", { class: "soft" }, bounds(site.knots)) : null,
    site.switches ? switches(site.switches) : null,
  );
}

const channelKinds = (count) => Array.from({ length: count }, (_, i) => (count > 1 ? `found channel-${Math.round((i / (count - 1)) * 3)}` : "found"));

function named(element, name) {
  element.classList.add(name);
  return element;
}

const mean = (curves) => curves[0].map((_, i) => curves.reduce((sum, curve) => sum + curve[i], 0) / curves.length);

// The weight of each point: the density of the site's inputs, else those between percentiles.
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

// For each channel, the share of the samples whose beta is at most x.
function switches(channels) {
  const [low, high] = extent(channels.flat());
  const kinds = channelKinds(channels.length);
  const lines = channels.map((betas, i) => ({ x: [...betas].sort((a, b) => a - b), y: betas.map((_, k) => (k + 1) / betas.length), kind: kinds[i] }));
  const room = Math.max(LEAST_REACH - (high - low), 0.04) / 2;
  const label = `beta by sample: ${low.toFixed(2)} to ${high.toFixed(2)} over ${words.count(channels[0].length, "sample")}`;
  return [chart({ lines, height: 100, range: [Math.max(0, low - room), Math.min(1, high + room)], span: [0, 1.02], ticks: 3, label }), h("p", { class: "soft" }, label, "; the share of them up to each value, a line for each channel")];
}
