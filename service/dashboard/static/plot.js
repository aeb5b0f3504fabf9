// Draws the service's figures. Plotly is large, so it is fetched with the first figure.

import { Unreachable } from "./api.js";
import { h } from "./dom.js";

const DOTS = {
  original: { symbol: "diamond", size: 9, color: "--ink-soft" },
  uniform: { symbol: "square", size: 8, color: "--purple" },
  candidates: { symbol: "circle", size: 8, color: "--blue" },
  "stopped early": { symbol: "x-thin", size: 7, color: "--faint", stroke: 1.5 },
  "other networks": { symbol: "circle", size: 7, color: "--faint" },
  "not beaten in both": { symbol: "diamond", size: 10, color: "--orange" },
};
const LINES = {
  "best so far": { width: 2.5, color: "--blue" },
  "best of equal networks, by luck": { width: 2, color: "--orange" },
  "the best": { width: 2, color: "--blue" },
  "other trials": { width: 1, color: "--purple" },
  "stopped early": { width: 1, color: "--faint", dash: "dot" },
  "reached this epoch": { width: 2.5, color: "--blue" },
};
const BARS = {
  completed: ["--green", ""],
  running: ["--blue", "."],
  stopped: ["--faint", "/"],
  released: ["--orange", "\\"],
  failed: ["--red", "x"],
  "stopped here": ["--orange", ""],
};
const CONFIG = { displayModeBar: false, responsive: true };
const FENCE = 3; // A value this many quartile ranges below the others is outside the first view.
const BAR_PX = 34;

let library = null;

export function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = document.querySelector("meta[name=plotly]").content;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      library = null;
      script.remove();
      reject(new Unreachable("Plotly could not be loaded"));
    };
    document.head.append(script);
  });
  return library;
}

// Draws a figure into `element` in the colours of the page; returns how many values lie outside
// of its first view.
export async function draw(element, name, figure, { maximize }) {
  const { react } = await plotly();
  const style = getComputedStyle(document.documentElement);
  const color = (variable) => style.getPropertyValue(variable).trim();
  const data = figure.data.filter((trace) => trace.x.length).map((trace) => dress(trace, name, color));
  const { range, hidden } = name === "history" ? view(figure.data, maximize) : { range: null, hidden: 0 };
  if (name === "timeline") element.style.height = `${90 + BAR_PX * new Set(data.flatMap((trace) => trace.y)).size}px`;
  await react(element, data, layout(figure, name, color, range), CONFIG);
  return hidden;
}

// Downloads a drawn figure, or an SVG of our own, as a file.
export async function saveSvg(element, name) {
  if (element.matches("svg")) return save(new Blob([standalone(element)], { type: "image/svg+xml" }), `${name}.svg`);
  const { toImage } = await plotly();
  const { width, height } = element.getBoundingClientRect();
  const url = await toImage(element, { format: "svg", width, height, imageDataOnly: true });
  return save(new Blob([url], { type: "image/svg+xml" }), `${name}.svg`);
}

export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1_000);
}

const KEPT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity", "font-size", "font-family", "text-anchor"];

// A copy of an SVG with its colours as attributes.
function standalone(element) {
  const copy = element.cloneNode(true);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const [ours, theirs] = [element, copy].map((one) => [one, ...one.querySelectorAll("*")]);
  // An SVG outside the page has no computed style, and sets its colours itself.
  if (element.isConnected) ours.forEach((one, i) => {
    const style = getComputedStyle(one);
    for (const property of KEPT) theirs[i].setAttribute(property, style.getPropertyValue(property));
  });
  return new XMLSerializer().serializeToString(copy);
}

function dress(trace, name, color) {
  if (trace.type === "bar") return bar(trace, name, color);
  const label = trace.text?.length ? "%{text}" : trace.name;
  const what = { history: `%{y:.4f}  ${trace.name}<br>trial %{x}`, pareto: "%{y:.4f} at %{x:.3f}<br>%{text}", rungs: "%{y} trials reached epoch %{x}", intermediate: `%{y:.4f} after epoch %{x}<br>${label}` }[name];
  // No bold: Plotly would set it by an inline style, which the content security policy forbids.
  const hovertemplate = `${what}<extra></extra>`;
  const dressed = { ...trace, hovertemplate, text: trace.text?.map(plain) };
  const marker = trace.mode === "markers" && DOTS[trace.name];
  if (marker) {
    const { symbol, size, stroke } = marker;
    const line = { width: stroke ?? 1, color: color(stroke ? marker.color : "--card") };
    return { ...dressed, marker: { symbol, size, color: color(marker.color), line } };
  }
  const line = LINES[trace.name];
  return { ...dressed, line: { ...trace.line, ...line, ...(line && { color: color(line.color) }) }, ...(trace.mode?.includes("markers") && { marker: { size: 8, color: color("--blue") } }) };
}

function bar(trace, name, color) {
  const [ink, shape] = BARS[trace.name] ?? ["--purple", ""];
  const timeline = name === "timeline";
  // Plotly's dates have no time zone: shifted by the offset, they show the user's local time.
  const base = trace.base?.map((time) => time - new Date(time).getTimezoneOffset() * 60_000);
  const hovertemplate = timeline ? `%{text}, ${trace.name}<br>%{customdata}<extra></extra>` : "%{y} trials stopped after epoch %{x}<extra></extra>";
  const customdata = timeline ? trace.x.map((ms) => seconds(ms / 1000)) : undefined;
  return { ...trace, ...(base && { base }), text: trace.text?.map(plain), customdata, hovertemplate, marker: { color: color(ink), line: { color: color("--card"), width: 1 }, pattern: { shape, fgcolor: color("--card"), fillmode: "overlay", size: 6, solidity: 0.25 } }, width: 0.7, ...(!timeline && { opacity: 0.85 }) };
}

const seconds = (time) => (time < 100 ? `${time.toFixed(1)} s` : `${(time / 60).toFixed(1)} min`);

function layout({ data, layout: given }, name, color, range) {
  const axis = { gridcolor: color("--line"), zeroline: false, linecolor: color("--line"), ticks: "" };
  const title = (text, standoff) => ({ text: plain(text), standoff, font: { size: 13 } });
  const numbered = name === "history" ? trials(data) : name === "rungs" || name === "intermediate" ? epochs(data) : {};
  return {
    ...given,
    xaxis: { ...given.xaxis, ...axis, showgrid: name === "timeline" || name === "pareto", ...numbered, title: title(given.xaxis.title.text, 8) },
    yaxis: { ...given.yaxis, ...axis, automargin: true, title: title(given.yaxis.title.text, 12), ...(range && { range }) },
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("--ink-soft") },
    hoverlabel: { bgcolor: color("--card"), bordercolor: color("--line"), font: { color: color("--ink"), size: 13 }, align: "left" },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: color("--ink") } },
    margin: { l: 56, r: 12, t: 12, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    uirevision: "kept",
    bargap: 0.3,
  };
}

// Ticks at whole trials only, with space for the markers at both ends.
function trials(data) {
  const last = Math.max(...data.flatMap((trace) => trace.x));
  const room = 0.6 + last / 100;
  return { range: [-room, last + room], ...(last <= 12 && { dtick: 1 }) };
}

// Ticks at whole epochs only.
function epochs(data) {
  const last = Math.max(...data.flatMap((trace) => trace.x));
  return last <= 12 ? { dtick: 1 } : {};
}

// With a network that diverged, or was stopped early, all others would appear as one line.
function view(traces, maximize) {
  const dots = traces.filter((trace) => trace.mode === "markers");
  const [all, finished] = [dots, dots.filter((trace) => trace.name !== "stopped early")].map((some) => some.flatMap((trace) => trace.y));
  const drawn = traces.flatMap((trace) => trace.y);
  if (finished.length < 8) return { range: null, hidden: 0 };
  const sorted = [...finished].sort((a, b) => a - b);
  const at = (share) => sorted[Math.floor(share * (sorted.length - 1))];
  const reach = FENCE * Math.max(at(0.75) - at(0.25), 1e-9);
  const [low, high] = [at(0.25) - reach, at(0.75) + reach];
  const inside = (one) => (maximize ? one >= low : one <= high);
  const hidden = all.filter((one) => !inside(one)).length;
  if (!hidden) return { range: null, hidden };
  const kept = drawn.filter(inside);
  const [least, most] = [Math.min(...kept), Math.max(...kept)];
  const room = 0.06 * (most - least || 1);
  return { range: [least - room, most + room], hidden };
}

// Plotly reads some markup in its texts, so it must be escaped.
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
