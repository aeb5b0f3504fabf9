// The workers that are alive, and the trials that they run.

import { Problem, get } from "./api.js";
import { h, morphChildren } from "./dom.js";
import { poll } from "./pace.js";
import { session } from "./session.js";
import * as words from "./words.js";

const EVERY_MS = 5_000;
const LOOKED_UP = 16; // Trials that are looked up in one poll.
const GONE_SHOWN = 3;

const trials = new Map();
const names = new Map();

export function showWorkers(shell, section) {
  const { signal } = shell;
  poll(
    EVERY_MS,
    () =>
      shell.attempt(async () => {
        const workers = await get("/workers", signal);
        await lookUp(workers.filter((one) => one.alive).flatMap((one) => one.running), signal);
        if (!signal.aborted) morphChildren(section, view(workers));
      }),
    signal,
  );
}

// Looks up what an id does not say: the number of the trial and the name of its search.
export async function lookUp(ids, signal) {
  for (const id of ids.filter((id) => !trials.has(id)).slice(0, LOOKED_UP)) {
    const trial = await known(get(`/trials/${id}`, signal));
    if (!trial) continue;
    if (!names.has(trial.search_id)) names.set(trial.search_id, (await get(`/searches/${trial.search_id}`, signal)).name);
    trials.set(id, trial);
  }
}

// A trial that has been deleted since is left out.
function known(answer) {
  return answer.catch((error) => {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  });
}

function view(workers) {
  const alive = workers.filter((one) => one.alive);
  const gone = workers.filter((one) => !one.alive).slice(0, GONE_SHOWN);
  if (!alive.length && !gone.length) return [h("h2", {}, "Workers"), nobody("No worker has called in.")];
  return [
    h("h2", {}, "Workers"),
    alive.length ? null : nobody("No worker is alive."),
    h("ul", {}, [...alive, ...gone].map(row)),
  ].filter(Boolean);
}

function nobody(what) {
  const secret = session.open ? "" : " --token TOKEN";
  return h("p", { class: "soft" }, `${what} Start one: `, h("code", {}, `actsearch worker --url ${location.origin}${secret}`));
}

function row(worker) {
  const devices = [...new Set(worker.devices)].join(", ");
  return h(
    "li",
    { "data-key": worker.id, class: worker.alive ? "alive" : "gone" },
    h("span", { class: "name" }, worker.id),
    h("span", { class: "soft" }, [devices, words.count(worker.slots, "slot")].filter(Boolean).join(" \u00b7 ")),
    h("span", {}, worker.alive ? work(worker.running) : `not seen since ${words.moment(worker.seen_at)}`),
  );
}

export function work(ids) {
  if (!ids.length) return h("span", { class: "soft" }, "idle");
  const links = ids.map((id) => {
    const trial = trials.get(id);
    if (!trial) return "a trial";
    const what = trial.number === null ? "inspecting" : `trial ${trial.number}`;
    return h("a", { href: `#/trial/${trial.id}` }, `${what} of ${names.get(trial.search_id)}`);
  });
  return links.flatMap((link, i) => (i ? [", ", link] : [link]));
}
