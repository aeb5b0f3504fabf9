// The verdict on a search so far: the service's claim, and numbers.

import { h, svg } from "./dom.js";
import * as words from "./words.js";

export function verdict(search, best) {
  const { kind, mark, head, more } = said(search, best);
  const isEmpty = best.original.mean === null && !search.best;
  return h(
    "section",
    { class: `card verdict ${kind}`, "data-key": "verdict", "aria-label": "Result so far" },
    h("p", { class: "headline" }, h("span", { class: "mark", "aria-hidden": "true" }, mark), " ", head),
    h("p", { class: "claim soft" }, more),
    best.comparisons.length ? comparisons(best) : null,
    isEmpty ? null : facts(search, best),
  );
}

// The headline must be enough for a user who looks for five seconds.
function said(search, best) {
  if (best.status === "confirmed") return { kind: "confirmed", mark: "\u2713", head: capital(best.claim), more: "Confirmed on fresh seeds; the brackets are 95 % intervals." };
  if (best.status === "noise") return { kind: "noise", mark: "\u2248", head: capital(best.claim), more: "Keep the original network, or confirm with more seeds; the brackets are 95 % intervals." };
  if (!search.best) return { kind: "none", mark: "\u25cb", head: words.hasEnded(search) ? "No candidate has finished" : "Nothing can be said yet", more: words.hasEnded(search) ? "There is no result." : "No candidate has finished." };
  if (best.pareto.length) return { kind: "open", mark: "\u25c7", ...front(best) };
  return { kind: "open", mark: "\u25d4", ...unconfirmed(search, best) };
}

// A search for several objectives has no winner, so nothing is confirmed.
function front({ claim, pareto }) {
  const goals = Object.keys(pareto[0].values).map(readable).join(", ");
  return { head: `${words.count(pareto.length, "network")} beaten by no other`, more: `Not in all of ${goals} at once; the numbers below are of the first of these. Which one is best is yours to choose. ${capital(claim)}.` };
}

function unconfirmed(search, best) {
  const top = `Best so far ${words.value(search.best.value)}`;
  const gain = best.ranking[0]?.gain ?? null;
  const head = gain === null ? `${top}, unconfirmed` : `${words.difference(gain, best.is_fraction)} on the original so far, unconfirmed`;
  const claim = `${capital(best.claim)}.`;
  if (best.luck === null) return { head, more: `${top} (unconfirmed). ${claim} ${capital(luckMissing(best))}.` };
  const sign = best.direction === "minimize" ? -1 : 1;
  const isBeyond = sign * (search.best.value - best.luck) > 0;
  const next = search.document.confirm && !words.hasEnded(search) ? "; the search confirms it when its trials have ended" : "";
  const reading = isBeyond ? `It lies beyond what luck alone would show, but only fresh seeds can confirm it${next}.` : "It cannot be told from luck.";
  return { head, more: `${top} (unconfirmed; ${words.luckWords(best.luck, best.luck_of)}). ${claim} ${reading}` };
}

const interval = ({ low, high }, points) => `[${words.difference(low, points, { unit: false })}, ${words.difference(high, points, { unit: false })}]`;

// Each difference on test data with its interval, on one axis with a line at zero.
function comparisons(best) {
  const reach = Math.max(...best.comparisons.flatMap(({ low, high }) => [Math.abs(low), Math.abs(high)]), 1e-9);
  return h(
    "ul",
    { class: "comparisons", "data-key": "comparisons" },
    best.comparisons.map((one) =>
      h(
        "li",
        { class: one.holds ? "holds" : null },
        h("span", { class: "against" }, `over the ${one.against}`),
        drawn(one, reach),
        h("span", { class: "number" }, words.difference(one.difference, best.is_fraction), h("span", { class: "soft" }, ` ${interval(one, best.is_fraction)}`)),
      ),
    ),
  );
}

function drawn({ difference, low, high }, reach) {
  const at = (value) => (100 + (value / reach) * 94).toFixed(2);
  return svg(
    "svg",
    { class: "interval-plot", viewBox: "0 0 200 20", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: "zero", d: "M100 0V20" }),
    svg("path", { class: "reach", d: `M${at(low)} 10H${at(high)}` }),
    svg("path", { class: "middle", d: `M${at(difference)} 4V16` }),
  );
}

function facts(search, best) {
  const { original, luck } = best;
  const top = best.ranking[0];
  const gain = top?.gain == null ? null : `${words.difference(top.gain, best.is_fraction)} on the original`;
  const times = top?.step_seconds == null ? null : original.step_seconds === null ? words.stepTime(top.step_seconds) : `${words.stepTime(top.step_seconds)}; original ${words.stepTime(original.step_seconds)}`;
  return h(
    "dl",
    { "data-key": "facts" },
    fact(best.comparisons.length ? "Best on validation data" : "Best so far", words.value(search.best?.value), gain, "best"),
    luck === null ? fact("By luck", words.value(null), luckMissing(best)) : fact("By luck", words.value(luck), words.equalNetworks(best.luck_of), "luck"),
    fact("Original", words.value(original.mean), spread(original, best.is_fraction)),
    fact("Step time of the best", words.ratio(top?.step_ratio), times),
  );
}

function fact(name, number, more, kind = "") {
  return h("div", { class: kind }, h("dt", {}, name), h("dd", { class: "number" }, number), more ? h("dd", { class: "soft" }, more) : null);
}

function spread(original, points) {
  const seeds = words.count(original.values.length, "seed");
  if (original.mean === null) return "not trained yet";
  if (original.spread === null) return seeds;
  return `\u00b1 ${words.difference(original.spread, points).replace(/^[+\u00b1]/, "")} over ${seeds}`;
}

function luckMissing(best) {
  return best.original.values.length < 3 ? "what luck would show is known once the original has 3 seeds" : "what luck would show is known once a proposed trial has completed";
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const readable = (metric) => metric.replaceAll("_", " ");
