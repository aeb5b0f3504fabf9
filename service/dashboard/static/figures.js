// Cards with figures of the service, fetched again at most once in a few seconds.

import { get } from "./api.js";
import { h } from "./dom.js";
import { draw, save, saveSvg } from "./plot.js";
import * as words from "./words.js";

const EVERY_MS = 2_000;

export class Figures {
  constructor(context, names) {
    this.context = context;
    this.names = names;
    this.found = {};
    this.hidden = {};
    this.isStale = true;
    this.lookedAt = 0;
    this.timer = null;
  }

  heard({ kind }) {
    if (kind === "trial") this.isStale = true;
  }

  async look() {
    if (!this.isStale) return;
    const early = this.lookedAt + EVERY_MS - Date.now();
    if (early > 0) return this.#later(early);
    this.isStale = false;
    this.lookedAt = Date.now();
    const { path, signal, draw } = this.context;
    try {
      // Each is drawn when it arrives: a heavy figure must not delay the others.
      await Promise.all(
        this.names.map(async (name) => {
          this.found[name] = await get(`${path}/plots/${name}`, signal, "no-cache");
          draw();
        }),
      );
    } catch (error) {
      this.isStale = true;
      throw error;
    }
  }

  #later(milliseconds) {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      if (!this.context.signal.aborted) this.context.refresh();
    }, milliseconds);
  }

  has(name) {
    return this.found[name]?.data.some((trace) => trace.x?.length || trace.dimensions?.length) ?? false;
  }

  async paint(best) {
    const maximize = best?.direction !== "minimize";
    for (const name of this.names) {
      const element = document.getElementById(`${name}-plot`);
      if (element && this.has(name)) this.hidden[name] = await draw(element, name, this.found[name], { maximize });
    }
  }

  // A card whose plot Plotly draws in `paint`.
  card(name, { title, label, nothing, note = null }) {
    const isEmpty = !this.has(name);
    const hidden = this.hidden[name];
    return h(
      "section",
      { class: "card", "data-key": name, "aria-labelledby": `${name}-title` },
      head(name, title, isEmpty),
      isEmpty ? h("p", { class: "soft", "data-key": "none" }, this.found[name] ? nothing : "Loading\u2026") : null,
      h("div", { class: isEmpty ? "plot none" : "plot", role: "img", "aria-label": label, "data-key": "plot" }, h("div", { id: `${name}-plot`, "data-keep": true })),
      hidden ? h("p", { class: "soft", "data-key": "hidden" }, `${words.count(hidden, "value")} far from those of completed trials ${hidden === 1 ? "lies" : "lie"} outside; double-click the plot to see all.`) : null,
      note ? h("p", { class: "soft", "data-key": "note" }, note) : null,
    );
  }

  act = {
    svg: (button) => {
      const card = button.closest("section");
      const element = card.querySelector(".js-plotly-plot") ?? card.querySelector("svg.figure");
      if (element) saveSvg(element, button.dataset.figure);
    },
    csv: (button) => save(new Blob([table(this.found[button.dataset.figure])], { type: "text/csv" }), `${button.dataset.figure}.csv`),
  };
}

// A tab of figures; a class that extends it gives `view`.
export class FigureTab {
  constructor(context, names) {
    this.figures = new Figures(context, names);
    this.act = this.figures.act;
  }

  heard(event) {
    this.figures.heard(event);
  }

  look() {
    return this.figures.look();
  }

  paint({ best }) {
    return this.figures.paint(best);
  }
}

export function head(name, title, isEmpty, kinds = ["svg", "csv"]) {
  const button = (action, text) => h("button", { type: "button", class: "quiet small", "data-action": action, "data-figure": name, "aria-label": `Download ${title} as ${text}` }, text);
  return h("div", { class: "section-head" }, h("h2", { id: `${name}-title` }, title), isEmpty ? null : h("div", { class: "actions" }, kinds.map((kind) => button(kind, kind.toUpperCase()))));
}

// The traces of a figure as CSV.
function table(figure) {
  const rows = [["series", "x", "y", "text"]];
  for (const trace of figure.data) {
    if (trace.type === "heatmap") trace.y.forEach((y, i) => trace.x.forEach((x, j) => rows.push([y, x, trace.z[i][j], trace.customdata[i][j].join(" ")])));
    else if (trace.dimensions) trace.dimensions.forEach((one) => one.values.forEach((value, i) => rows.push([one.label, i, one.ticktext?.[value] ?? value, ""])));
    else trace.x.forEach((x, i) => rows.push([trace.name, x, trace.y[i], trace.text?.[i] ?? ""]));
  }
  return rows.map((row) => row.map(cell).join(",")).join("\r\n");
}

// A quote before the text keeps a spreadsheet from running it as a formula.
function cell(value) {
  const text = typeof value === "string" && /^[=+\-@\t]/.test(value) ? `'${value}` : String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
