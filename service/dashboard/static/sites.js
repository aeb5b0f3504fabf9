// The sites of the network: the choice of the best trial, the importance of each site, and the
// heat map.

import { Figures, head } from "./figures.js";
import { h, svg } from "./dom.js";
import { drawHeat, heat } from "./heat_map.js";
import * as parts from "./parts.js";
import { saveSvg } from "./plot.js";
import * as words from "./words.js";

const SHADES = 9;
const SHARE_PX = 48; // The width of "100 %".

export class Sites {
  constructor(context) {
    this.figures = new Figures(context, ["importance", "heat", "parallel"]);
    this.act = {
      ...this.figures.act,
      svg: (button) => (button.dataset.figure === "heat" ? saveSvg(drawHeat(this.figures.found.heat, this.best), "heat") : this.figures.act.svg(button)),
    };
  }

  heard(event) {
    this.figures.heard(event);
  }

  look() {
    return this.figures.look();
  }

  view({ search, best }) {
    this.best = best;
    if (!search.plan) return [h("section", { class: "card" }, h("p", { class: "soft" }, "The sites appear once a worker has inspected the network."))];
    return [h("div", { class: "columns", "data-key": "sites" }, network(search, best), this.#importance()), this.#heat(best), this.#parallel()];
  }

  #importance() {
    const figure = this.figures.found.importance;
    const shares = figure ? bars(figure) : [];
    const meta = figure?.layout.meta ?? {};
    const text = !figure ? "Working it out\u2026" : shares.length ? explain(meta) : `Importance needs ${meta.least} completed trials; there ${meta.trials === 1 ? "is" : "are"} ${meta.trials}.`;
    return h(
      "section",
      { class: "card", "data-key": "importance", "aria-labelledby": "importance-title" },
      head("importance", "What matters", !shares.length),
      shares.length ? importance(shares) : null,
      h("p", { class: "soft" }, text),
    );
  }

  #heat(best) {
    const figure = this.figures.found.heat;
    const isEmpty = !this.figures.has("heat");
    return h(
      "section",
      { class: "card", "data-key": "heat", "aria-labelledby": "heat-title" },
      head("heat", "Site by choice", isEmpty),
      isEmpty ? h("p", { class: "soft" }, figure ? "The first completed trial appears here." : "Loading\u2026") : heat(figure, best),
    );
  }

  #parallel() {
    if (!this.figures.has("parallel")) return null;
    return h(
      "section",
      { class: "card", "data-key": "parallel", "aria-labelledby": "parallel-title" },
      head("parallel", "What the trials chose", false),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "What the trials chose, scrolls sideways" }, parallel(this.figures.found.parallel)),
      h("p", { class: "soft" }, "A line is a trial; the stronger, the better its value."),
    );
  }
}

function network(search, best) {
  const top = best.ranking[0];
  const chosen = top?.candidate.sites ?? {};
  let stage = null;
  const rows = search.plan.sites.map((site) => {
    const isNew = site.stage !== stage;
    stage = site.stage;
    return h(
      "li",
      { class: isNew ? "site first" : "site" },
      h("span", { class: "stage soft" }, isNew ? `stage ${site.stage}` : ""),
      h("span", { class: "id" }, site.id),
      chosen[site.id] ? parts.activation(chosen[site.id]) : parts.activation({ name: site.original, params: {} }),
      h("span", { class: "soft number" }, words.count(site.channels, "channel")),
    );
  });
  const unreachable = search.plan.unreachable ?? [];
  return h(
    "section",
    { class: "card", "data-key": "network", "aria-labelledby": "network-title" },
    h("div", { class: "section-head" }, h("h2", { id: "network-title" }, "The network"), h("p", { class: "soft" }, top ? `with the choices of trial ${top.number}` : "as it came")),
    h("ol", { class: "site-column" }, rows),
    unreachable.length ? h("p", { class: "soft" }, `Out of reach: ${unreachable.join(", ")}.`) : null,
  );
}

function bars(figure) {
  const chance = new Map(figure.data[2].y.map((name, i) => [name, figure.data[2].x[i]]));
  const rows = figure.data.slice(0, 2).flatMap((trace, grey) => trace.y.map((name, i) => ({ name, share: trace.x[i], isTold: grey === 0, chance: chance.get(name) })));
  return rows.sort((a, b) => b.share - a.share);
}

function importance(rows) {
  const most = Math.max(...rows.map((row) => Math.max(row.share, row.chance)), 1e-9);
  const [width, tall, left] = [460, 26, 150];
  const at = (share) => left + (share / most) * (width - left - 60);
  // Beside its bar, or to the right of the tick if the tick is too near.
  const beside = ({ share, chance }) => (Math.abs(at(chance) - at(share)) > SHARE_PX || chance < share ? at(share) : at(chance)) + 6;
  return svg(
    "svg",
    { class: "figure bars", viewBox: `0 0 ${width} ${rows.length * tall + 4}`, role: "img", "aria-label": rows.map((row) => `${row.name} ${percent(row.share)}${row.isTold ? "" : ", could be chance"}`).join("; ") },
    rows.map((row, i) => [
      svg("text", { class: "name", x: left - 8, y: i * tall + 17, "text-anchor": "end" }, brief(row.name)),
      svg("rect", { class: row.isTold ? "share told" : "share untold", x: left, y: i * tall + 5, width: Math.max(1, at(row.share) - left), height: tall - 10, rx: 3 }),
      svg("path", { class: "chance", d: `M${at(row.chance)} ${i * tall + 2}V${i * tall + tall - 2}` }),
      svg("text", { class: "share-text", x: beside(row), y: i * tall + 17 }, percent(row.share)),
    ]),
  );
}

function explain({ trials, of, permutations }) {
  const sample = trials < of ? `${words.whole(trials)} of ${words.whole(of)} completed trials, evenly spread` : words.count(trials, "completed trial");
  return `Share of the importance (PED-ANOVA, ${sample}). The orange tick is what 95 % of ${permutations} shuffles stay below: grey bars could be chance.`;
}

function parallel(figure) {
  const { dimensions, line } = figure.data[0];
  const gap = Math.max(130, 840 / (dimensions.length - 1));
  const [top, tall] = [30, 250];
  const width = gap * (dimensions.length - 1) + 180;
  const axes = dimensions.map((one, i) => ({ ...one, x: 80 + i * gap, ...range(one) }));
  const at = (axis, value) => top + tall - ((value - axis.low) / (axis.high - axis.low || 1)) * tall;
  const [low, high] = [Math.min(...line.color), Math.max(...line.color)];
  const order = line.color.map((value, i) => ({ i, share: (value - low) / (high - low || 1) })).map((one) => (line.reversescale ? { ...one, share: 1 - one.share } : one));
  order.sort((a, b) => a.share - b.share);
  // Lines of equal choices would hide each other: each is moved a little, by a fixed amount.
  const jitter = (axis, i) => (axis.ticktext ? (((i * 7919) % 101) / 101 - 0.5) * Math.min(14, (0.7 * tall) / axis.ticktext.length) : 0);
  const path = (i) => axes.map((axis, k) => `${k ? "L" : "M"}${axis.x} ${(at(axis, axis.values[i]) + jitter(axis, i)).toFixed(1)}`).join("");
  return svg(
    "svg",
    { class: "figure parallel", viewBox: `0 0 ${width} ${top + tall + 24}`, ...(dimensions.length > 7 && { width, height: top + tall + 24 }), role: "img", "aria-label": `What ${words.count(order.length, "trial")} chose at ${dimensions.map((one) => one.label).join(", ")}` },
    order.map(({ i, share }) => svg("path", { class: `run shade-line-${Math.round(share * (SHADES - 1))}`, d: path(i) })),
    axes.map((axis) => [
      svg("path", { class: "axis", d: `M${axis.x} ${top}V${top + tall}` }),
      svg("text", { class: "name", x: axis.x, y: 16, "text-anchor": "middle" }, brief(axis.label)),
      (axis.tickvals ?? [axis.low, axis.high]).map((value, k) => svg("text", { class: "tick", x: axis.x + 6, y: at(axis, value) + 4 }, axis.ticktext?.[k] ?? words.value(value))),
    ]),
  );
}

function range(axis) {
  const shown = axis.tickvals ?? axis.values;
  return { low: Math.min(...shown), high: Math.max(...shown) };
}

const percent = (share) => `${Math.round(share * 100)} %`;
const brief = (name) => (name.length > 20 ? `\u2026${name.slice(-19)}` : name).replaceAll("_", " ");
