// The heat map, which choice did well at which site: a table, and an SVG of it to download.

import { h, svg } from "./dom.js";
import * as words from "./words.js";

const SHADES = 9;
const CELL = { width: 172, height: 46, gap: 3 };
const LEFT = 180;
const TOP = 30;

export function heat(figure, best) {
  const { x, y, z, customdata } = figure.data[0];
  const shade = shadeOf(z, best);
  const cell = (value, [count, from, to]) => {
    if (!count) return h("td", { class: "none" }, "\u2013");
    return h("td", { class: `shade-${shade(value)}` }, h("strong", {}, words.value(value)), h("span", {}, about(count, from, to)));
  };
  return [
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": "heat-title" },
      h(
        "table",
        { class: "heat" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "site"), x.map((choice) => h("th", { scope: "col" }, choice)))),
        h("tbody", {}, y.map((site, i) => h("tr", {}, h("th", { scope: "row" }, site), x.map((_, j) => cell(z[i][j], customdata[i][j]))))),
      ),
    ),
    h("p", { class: "soft" }, "Mean value of the completed networks with this choice at this site, how many they are, and its 95 % interval. The other sites differ between them: a cell says where to look, not what the choice causes."),
  ];
}

// The table as an SVG for a file: it sets its colours itself, since it has no style sheet.
export function drawHeat(figure, best) {
  const { x, y, z, customdata } = figure.data[0];
  const shade = shadeOf(z, best);
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const text = (at, size, fill, content) => svg("text", { ...at, fill, "font-family": "sans-serif", "font-size": size }, content);
  const cell = (value, [count, from, to], left, top) => {
    if (!count) return text({ x: left + 10, y: top + 19 }, 13, color("--ink-soft"), "\u2013");
    const on = color(`--on-shade-${shade(value)}`);
    return [
      svg("rect", { x: left, y: top, width: CELL.width - CELL.gap, height: CELL.height - CELL.gap, rx: 4, fill: color(`--shade-${shade(value)}`) }),
      text({ x: left + 10, y: top + 18, "font-weight": 600 }, 13, on, words.value(value)),
      text({ x: left + 10, y: top + 35 }, 11, on, about(count, from, to)),
    ];
  };
  const [width, height] = [LEFT + x.length * CELL.width, TOP + y.length * CELL.height];
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height },
    svg("rect", { width, height, fill: color("--card") }),
    x.map((choice, j) => text({ x: LEFT + j * CELL.width + 10, y: 19 }, 12, color("--ink-soft"), choice)),
    y.map((site, i) => [text({ x: LEFT - 12, y: TOP + i * CELL.height + 25, "text-anchor": "end" }, 12, color("--ink"), site), x.map((_, j) => cell(z[i][j], customdata[i][j], LEFT + j * CELL.width, TOP + i * CELL.height))]),
  );
}

function shadeOf(rows, best) {
  const values = rows.flat().filter((one) => one !== null);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return (value) => {
    const share = (value - low) / (high - low || 1);
    return Math.round((best.direction === "minimize" ? 1 - share : share) * (SHADES - 1));
  };
}

function about(count, from, to) {
  return `${count}\u00d7 \u00b7 ${from === null ? "one network" : `${words.value(from)} to ${words.value(to)}`}`;
}
