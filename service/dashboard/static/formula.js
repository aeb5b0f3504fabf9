// Renders the subset of TeX in the catalogue's formulas as text with superscripts and subscripts.

import { h } from "./dom.js";

const SIGNS = {
  sigma: "\u03c3", Phi: "\u03a6", alpha: "\u03b1", beta: "\u03b2", gamma: "\u03b3", lambda: "\u03bb", omega: "\u03c9", eta: "\u03b7", pi: "\u03c0",
  le: "\u2264", times: "\u00d7", sum: "\u2211", max: "max", min: "min", tanh: "tanh", sin: "sin", log: "log", quad: "\u2003", ",": "\u2009", ";": "\u2009",
};

export function read(tex) {
  const tokens = tex.match(/\\[a-zA-Z]+|\\.|[{}^_]|\s+|[^\\{}^_\s]/g) ?? [];
  return sequence(tokens, 0).nodes;
}

function sequence(tokens, start) {
  const nodes = [];
  let i = start;
  while (i < tokens.length && tokens[i] !== "}") {
    const { node, next } = item(tokens, i);
    nodes.push(node);
    i = next;
  }
  return { nodes, next: i };
}

function item(tokens, i) {
  const token = tokens[i];
  if (token === "{") {
    const { nodes, next } = sequence(tokens, i + 1);
    return { node: nodes, next: next + 1 };
  }
  if (token === "^" || token === "_") {
    const { node, next } = item(tokens, i + 1);
    return { node: h(token === "^" ? "sup" : "sub", {}, node), next };
  }
  if (token === "\\frac" || token === "\\tfrac") {
    const above = item(tokens, skip(tokens, i + 1));
    const below = item(tokens, skip(tokens, above.next));
    return { node: h("span", { class: "fraction" }, h("span", {}, above.node), h("span", { class: "unseen" }, " over "), h("span", {}, below.node)), next: below.next };
  }
  if (token === "\\sqrt") {
    const { node, next } = item(tokens, skip(tokens, i + 1));
    return { node: ["\u221a(", node, ")"], next };
  }
  if (token === "\\text" || token === "\\operatorname") {
    const { node, next } = item(tokens, skip(tokens, i + 1));
    return { node: h("span", { class: "upright" }, node), next };
  }
  if (token.startsWith("\\")) return { node: SIGNS[token.slice(1)] ?? token.slice(1), next: i + 1 };
  return { node: token === "-" ? "\u2212" : token, next: i + 1 };
}

const skip = (tokens, i) => (/^\s+$/.test(tokens[i] ?? "") ? skip(tokens, i + 1) : i);
