// Small line charts as SVG, without a library. Colours come from the style sheet.

import { h, svg } from "./dom.js";

const NICE = [1, 2, 2.5, 5, 10];

// `lines` are {x, y, kind}; a null in `y` is a gap. `density` is drawn behind them as bars between
// the points of `x`; `marks` are positions of small ticks at the bottom.
export function chart({ lines, density = null, marks = [], span = null, width = 260, height = 170, label, range = null, ticks = 4 }) {
  const [left, right] = range ?? extent(lines.flatMap((line) => [line.x[0], line.x.at(-1)]));
  const [low, high] = span ?? padded(extent(lines.flatMap((line) => line.y.filter(Number.isFinite))));
  const inner = { left: 34, right: width - 6, top: 8, bottom: height - 20 };
  const atX = (x) => inner.left + ((x - left) / (right - left || 1)) * (inner.right - inner.left);
  const atY = (y) => inner.bottom - ((y - low) / (high - low || 1)) * (inner.bottom - inner.top);
  const clip = (y) => Math.min(inner.bottom + 40, Math.max(inner.top - 40, atY(y)));
  return svg(
    "svg",
    { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, "data-keep-size": true },
    density ? bars(density, atX, inner) : null,
    grid(left, right, low, high, atX, atY, inner, ticks),
    // The inner `svg` clips lines at the edges of the plot.
    svg("svg", frame(inner), lines.map((line) => svg("path", { class: `line ${line.kind}`, d: path(line, atX, clip) }))),
    marks.map((x) => svg("path", { class: "mark", d: `M${round(atX(x))} ${inner.bottom - 5}V${inner.bottom}` })),
  );
}

function frame({ left, right, top, bottom }) {
  const [width, height] = [right - left, bottom - top];
  return { x: left, y: top, width, height, viewBox: `${left} ${top} ${width} ${height}` };
}

export function extent(values) {
  const finite = values.filter(Number.isFinite);
  return finite.length ? [Math.min(...finite), Math.max(...finite)] : [0, 1];
}

export function padded([low, high]) {
  const room = 0.07 * (high - low || Math.abs(high) || 1);
  return [low - room, high + room];
}

export function legend(...entries) {
  return h("ul", { class: "legend" }, entries.filter(Boolean).map(([kind, text]) => h("li", {}, swatch(kind), text)));
}

function swatch(kind) {
  const shape = kind === "density" ? svg("rect", { class: "bar", x: 2, y: 3, width: 18, height: 8 }) : kind === "mark" ? svg("path", { class: "mark", d: "M11 3V11" }) : svg("path", { class: `line ${kind}`, d: "M1 7H21" });
  return svg("svg", { class: "swatch chart", viewBox: "0 0 22 14", "aria-hidden": "true" }, shape);
}

function bars(density, atX, inner) {
  const most = Math.max(...density.share, 1e-9);
  const reach = (inner.bottom - inner.top) * 0.62;
  return density.share.map((share, i) => {
    const [from, to] = [atX(density.x[i]), atX(density.x[i + 1])];
    const tall = (share / most) * reach;
    return svg("rect", { class: "bar", x: round(from), y: round(inner.bottom - tall), width: round(to - from + 0.2), height: round(tall) });
  });
}

function grid(left, right, low, high, atX, atY, inner, ticks) {
  const rows = steps(low, high, ticks).map((y) => [
    svg("path", { class: y === 0 ? "axis" : "rule", d: `M${inner.left} ${round(atY(y))}H${inner.right}` }),
    svg("text", { class: "tick", x: inner.left - 5, y: round(atY(y) + 3.5), "text-anchor": "end" }, short(y)),
  ]);
  const columns = steps(left, right, ticks + 1).map((x) => [
    x === 0 ? svg("path", { class: "axis", d: `M${round(atX(x))} ${inner.top}V${inner.bottom}` }) : null,
    svg("text", { class: "tick", x: round(atX(x)), y: inner.bottom + 14, "text-anchor": "middle" }, short(x)),
  ]);
  return [rows, columns];
}

function steps(low, high, wanted) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * NICE.find((one) => one * power >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i === 0 ? 0 : i * step);
  return found;
}

function path(line, atX, atY) {
  let pen = "M";
  return line.x
    .map((x, i) => {
      const y = line.y[i];
      if (!Number.isFinite(y)) {
        pen = "M";
        return "";
      }
      const part = `${pen}${round(atX(x))} ${round(atY(y))}`;
      pen = "L";
      return part;
    })
    .join("");
}

const round = (number) => Math.round(number * 100) / 100;
const short = (number) => String(Number(number.toPrecision(3))).replace("-", "\u2212");
