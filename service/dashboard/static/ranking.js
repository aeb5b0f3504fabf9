// The ranking, with rows for the original and the luck line at their positions.

import { h } from "./dom.js";
import * as parts from "./parts.js";
import { readable } from "./verdict.js";
import * as words from "./words.js";

const SHOWN = 8;

export function ranking(search, best, showAll) {
  return h(
    "section",
    { class: "card", "data-key": "ranking", "aria-labelledby": "ranking-title" },
    h(
      "div",
      { class: "section-head" },
      h("h2", { id: "ranking-title" }, "Ranking"),
      search.best ? h("button", { type: "button", "data-action": "download" }, best.status === "confirmed" ? "Download the confirmed config" : "Download the best config (unconfirmed)") : null,
    ),
    best.ranking.length ? table(search, best, showAll) : h("p", { class: "soft" }, "The first finished candidate appears here."),
    best.ranking.length > SHOWN ? h("button", { type: "button", class: "more", "data-action": "ranked", "aria-expanded": String(showAll), "data-key": "all" }, showAll ? "Show fewer" : `Show all ${best.ranking.length}`) : null,
  );
}

function table(search, best, showAll) {
  const gain = best.is_fraction ? "Gain (points)" : "Gain";
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "ranking-title", "data-key": "table" },
    h(
      "table",
      { class: "ranking" },
      h("thead", {}, h("tr", {}, head("Rank", true), head("Network"), head(capital(readable(best.metric)), true), hasEstimates(best) ? head("Estimate", true) : null, head(gain, true), head("Time per step", true), head("Trial", true))),
      h("tbody", {}, rows(search, best, showAll)),
    ),
  );
}

// Whether the sampler of the search has a model; the ranking is by its estimates then.
const hasEstimates = (best) => best.ranking.some((row) => row.estimate !== null);

const head = (text, isNumber = false) => h("th", { scope: "col", class: isNumber ? "number" : null }, text);

// The candidates in order with the references among them; those left out as a count.
function rows(search, best, showAll) {
  const sign = best.direction === "minimize" ? -1 : 1;
  const shown = showAll ? best.ranking.length : SHOWN;
  const lines = best.ranking.map((row) => ({ value: row.estimate ?? row.value, element: row.rank <= shown ? ranked(search, best, row) : null }));
  const { original, luck } = best;
  if (original.mean !== null) lines.push({ value: original.mean, element: originalRow(best) });
  if (luck !== null) lines.push({ value: luck, element: luckRow(best) });
  lines.sort((a, b) => sign * (b.value - a.value));
  const found = [];
  let left = 0;
  for (const { element } of [...lines, { element: "end" }]) {
    if (element === null) {
      left += 1;
      continue;
    }
    if (left) found.push(leftOut(left, found.length, hasEstimates(best) ? 7 : 6));
    left = 0;
    if (element !== "end") found.push(element);
  }
  return found;
}

function leftOut(number, place, columns) {
  return h("tr", { "data-key": `left-${place}`, class: "left-out" }, h("td", { class: "number" }, "\u22ee"), h("td", { colspan: columns - 1 }, `${number} more`));
}

function estimateCell(row) {
  if (row.estimate === null) return h("td", { class: "number soft" });
  const sure = row.beats_uniform === null ? "" : `; better than the best uniform network with a probability of ${Math.round(100 * row.beats_uniform)} %`;
  const interval = row.estimate_low === null ? "" : `${words.value(row.estimate_low)} to ${words.value(row.estimate_high)} with 90 %${sure}`;
  return h("td", { class: "number", title: interval || null }, words.value(row.estimate));
}

function ranked(search, best, row) {
  return h(
    "tr",
    { "data-key": row.trial },
    h("td", { class: "number" }, row.rank),
    h("td", {}, parts.network(row, search.plan)),
    h("td", { class: "number strong" }, words.value(row.value)),
    hasEstimates(best) ? estimateCell(row) : null,
    h("td", { class: "number" }, words.difference(row.gain, best.is_fraction, { unit: false })),
    time(row.step_seconds, row.step_ratio),
    h("td", { class: "number soft" }, row.number),
  );
}

function originalRow(best) {
  const { mean, values, step_seconds: seconds } = best.original;
  const what = values.length > 1 ? `original, mean of ${values.length} seeds` : "original";
  return h(
    "tr",
    { "data-key": "original", class: "reference" },
    h("td", { class: "number" }, "\u2013"),
    h("td", {}, what),
    h("td", { class: "number" }, words.value(mean)),
    hasEstimates(best) ? h("td", {}) : null,
    h("td", { class: "number" }, words.difference(0, best.is_fraction, { unit: false })),
    time(seconds, seconds === null ? null : 1),
    h("td", {}),
  );
}

function luckRow(best) {
  return h("tr", { "data-key": "luck", class: "luck-line" }, h("td", { colspan: hasEstimates(best) ? 7 : 6 }, capital(words.luckWords(best.luck, best.luck_of))));
}

function time(seconds, ratio) {
  return h("td", { class: "number" }, words.ratio(ratio), h("span", { class: "soft" }, ` ${words.stepTime(seconds)}`));
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
