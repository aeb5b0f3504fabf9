// Draws the service's figures. Plotly is large, so it is fetched when the first is shown.

import { Unreachable } from "./api.js";

const MARKERS = {
  original: { symbol: "diamond", size: 9, color: "--ink-soft" },
  uniform: { symbol: "square", size: 8, color: "--purple" },
  candidates: { symbol: "circle", size: 8, color: "--blue" },
  "stopped early": { symbol: "x-thin", size: 7, color: "--faint", stroke: 1.5 },
};
const LINES = {
  "best so far": { width: 2.5, color: "--blue" },
  "best of equal networks, by luck": { width: 2, color: "--orange" },
};
const CONFIG = { displayModeBar: false, responsive: true };
const FENCE = 3; // A value this many quartile ranges below the others lies outside the plot.

let library = null;

export function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/static/plotly.min.js";
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

// Draws a figure into `element` in the colours of the page; returns how many values the
// first view leaves out.
export async function draw(element, figure, { maximize }) {
  const { react } = await plotly();
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const data = figure.data.filter((trace) => trace.x.length).map((trace) => dress(trace, color));
  const { range, hidden } = view(figure.data, maximize);
  const last = Math.max(...figure.data.flatMap((trace) => trace.x));
  await react(element, data, layout(figure.layout, color, range, last), CONFIG);
  return hidden;
}

function dress(trace, color) {
  // No bold: Plotly would style it inline, which the policy refuses.
  const hovertemplate = `%{y:.4f}  ${trace.name}<br>trial %{x}<extra></extra>`;
  const marker = MARKERS[trace.name];
  if (marker) {
    const { symbol, size, stroke } = marker;
    const line = { width: stroke ?? 1, color: color(stroke ? marker.color : "--card") };
    return { ...trace, hovertemplate, text: trace.text?.map(plain), marker: { symbol, size, color: color(marker.color), line } };
  }
  const line = LINES[trace.name];
  return { ...trace, hovertemplate, line: { ...trace.line, ...line, ...(line && { color: color(line.color) }) } };
}

function layout(given, color, range, last) {
  const axis = { gridcolor: color("--line"), zeroline: false, linecolor: color("--line"), ticks: "" };
  return {
    ...given,
    xaxis: { ...given.xaxis, ...axis, showgrid: false, ...numbers(last), title: { text: plain(given.xaxis.title.text), standoff: 8, font: { size: 13 } } },
    yaxis: { ...given.yaxis, ...axis, automargin: true, title: { text: plain(given.yaxis.title.text.replaceAll("_", " ")), standoff: 12, font: { size: 13 } }, ...(range && { range }) },
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("--ink-soft") },
    hoverlabel: { bgcolor: color("--card"), bordercolor: color("--line"), font: { color: color("--ink"), size: 13 }, align: "left" },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: color("--ink") } },
    margin: { l: 56, r: 12, t: 12, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    uirevision: "kept",
  };
}

// Whole trials only, with room for the marks at both ends.
function numbers(last) {
  const room = 0.6 + last / 100;
  return { range: [-room, last + room], ...(last <= 12 && { dtick: 1 }) };
}

// A network that diverged would press all others into one line.
function view(traces, maximize) {
  const all = traces.filter((trace) => trace.mode === "markers").flatMap((trace) => trace.y);
  const drawn = traces.flatMap((trace) => trace.y);
  if (all.length < 8) return { range: null, hidden: 0 };
  const sorted = [...all].sort((a, b) => a - b);
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

// Plotly reads a little markup in its texts.
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
