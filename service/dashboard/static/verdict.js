// What may be said of a search so far.

import { h } from "./dom.js";
import * as words from "./words.js";


export function verdict(search, best) {
  const isEmpty = best.original.mean === null && !search.best;
  return h(
    "section",
    { class: "card verdict", "data-key": "verdict", "aria-label": "Result so far" },
    isEmpty ? null : facts(search, best),
    h("p", { class: isEmpty ? null : "claim" }, sentence(search, best)),
  );
}

function facts(search, best) {
  const { original, luck } = best;
  const top = best.ranking[0];
  const gain = top?.gain == null ? null : `${words.difference(top.gain, best.metric)} on the original`;
  const times = top?.step_seconds == null ? null : `${words.stepTime(top.step_seconds)}; original ${words.stepTime(original.step_seconds)}`;
  return h(
    "dl",
    { "data-key": "facts" },
    fact("Best so far", words.value(search.best?.value), gain, "best"),
    luck === null ? fact("By luck", words.value(null), luckMissing(search)) : fact("By luck", words.value(luck), words.equalNetworks(best.luck_of), "luck"),
    fact("Original", words.value(original.mean), spread(original, best.metric)),
    fact("Step time of the best", words.ratio(top?.step_ratio), times),
  );
}

function sentence(search, best) {
  if (best.status === "confirmed") return `Confirmed: ${best.claim}.`;
  if (best.status === "noise") return `After confirmation: ${best.claim}.`;
  if (!search.best) return "Nothing can be said yet: no candidate has finished.";
  const top = `Best so far ${words.value(search.best.value)}`;
  if (best.luck === null) return `${top} (unconfirmed).`;
  const sign = best.direction === "minimize" ? -1 : 1;
  const isBeyond = sign * (search.best.value - best.luck) > 0;
  const reading = isBeyond ? "It lies beyond what luck alone would show, but only fresh seeds can confirm it." : "It cannot be told from luck.";
  return `${top} (unconfirmed; ${words.luckWords(best.luck, best.luck_of)}). ${reading}`;
}

function fact(name, number, more, kind = "") {
  return h("div", { class: kind }, h("dt", {}, name), h("dd", { class: "number" }, number), more ? h("dd", { class: "soft" }, more) : null);
}

function spread(original, metric) {
  const seeds = words.count(original.values.length, "seed");
  if (original.mean === null) return "not trained yet";
  if (original.spread === null) return seeds;
  return `\u00b1 ${words.difference(original.spread, metric).replace(/^[+\u00b1]/, "")} over ${seeds}`;
}

function luckMissing(search) {
  const { original_seeds: seeds } = search.document.baselines;
  return seeds < 3 ? "needs 3 seeds of the original" : "shown once a proposed trial has finished";
}

export const readable = (metric) => metric.replaceAll("_", " ");
