// A new search: a form made from the service's JSON Schemas, or YAML; checked during editing.

import { Problem, get, post, put } from "./api.js";
import { here } from "./address.js";
import { h } from "./dom.js";
import { fields, setAt } from "./form.js";
import { paced } from "./pace.js";
import { glyph } from "./parts.js";
import { known, mayOnlyRead, maySubmit } from "./session.js";
import * as words from "./words.js";

const CHECK_MS = 400;
const TEMPLATES = {
  quick: { title: "A quick look", text: "sixteen candidates, nothing confirmed", changes: { budget: { trials: 16 }, confirm: null } },
  whole: { title: "A whole search", text: "forty candidates, stopped early, the winner confirmed on eight fresh seeds", changes: {} },
  uniform: { title: "One activation everywhere", text: "the same choice at every site", changes: { sites: { per: "network" }, budget: { trials: 24 } } },
};
const SECTIONS = [
  ["sites", "Where", "Which sites are searched, and which share one choice"],
  ["budget", "Budget", "What may be spent; whatever is spent first ends the search"],
  ["objective", "Goal", "What is optimised"],
  ["sampler", "Sampler", "How candidates are proposed"],
  ["pruner", "Pruner", "When a hopeless trial is stopped early"],
  ["baselines", "Baselines", "What candidates are compared with"],
  ["replicates", "Repeats", "How many of the trials train leaders again, so that the search does not follow luck"],
  ["constraints", "Limits", "What a candidate may cost at most, over the original network"],
  ["measure", "Measurements", "What is measured of every candidate before its first epoch, and in which form"],
  ["warm_start", "Warm start", "Begin with what an earlier search of the same task and goal has found"],
  ["confirm", "Confirmation", "How the winner is trained anew before it is called best"],
];
const OTHERS = ["initial", "parallel", "priority", "timeout", "stall"];

export function showSubmit(shell) {
  const { signal } = shell;
  const main = document.getElementById("main");
  const from = here().query.get("from");
  const seen = { document: null, text: null, faults: [], problem: null, preview: null, tasks: [], activations: [], schema: null, isBusy: false, storing: null };
  const draw = () => seen.document && shell.draw(...view(seen, from));

  const check = paced(CHECK_MS, async () => {
    try {
      if (seen.text !== null) seen.document = (await post("/searches/draft", signal, { text: seen.text })).document;
      seen.preview = await post("/searches/preview", signal, seen.document);
      Object.assign(seen, { faults: [], problem: null });
    } catch (error) {
      if (!(error instanceof Problem)) return shell.connected(false);
      Object.assign(seen, { preview: null, faults: error.faults, problem: error.faults.length ? null : error.message });
    }
    shell.connected(true);
    draw();
  }, signal);
  // Weights from the user's file are uploaded; the document names them by their digest.
  const store = async (field) => {
    const [chosen] = field.files;
    if (!chosen) return;
    Object.assign(seen, { storing: `storing ${chosen.name}\u2026` });
    draw();
    try {
      const { sha256, size } = await put("/artifacts", signal, chosen);
      change(() => Object.assign(seen, { storing: `${chosen.name} is stored, ${words.bytes(size)}` }, { document: { ...seen.document, start: { weights: sha256 } } }));
    } catch (error) {
      if (signal.aborted) return;
      Object.assign(seen, { storing: `${chosen.name} could not be stored: ${error.message}` });
      draw();
    }
  };
  const change = (work) => {
    work();
    draw();
    check();
  };

  const act = {
    template: (button) => change(() => Object.assign(seen, { document: { ...seen.start, ...structuredClone(TEMPLATES[button.dataset.name].changes) }, text: null })),
    "as-text": async () => {
      seen.text = (await post("/searches/draft", signal, { text: JSON.stringify(seen.document) }).catch(() => ({ text: JSON.stringify(seen.document, null, 2) }))).text;
      draw();
    },
    "as-form": () => change(() => (seen.text = null)),
    submit: async () => {
      if (seen.isBusy) return;
      seen.isBusy = true;
      try {
        const path = from ? `/searches/${encodeURIComponent(from)}/fork` : "/searches";
        const { version, ...document } = seen.document;
        const made = await post(path, signal, from ? document : seen.document);
        location.hash = `#/search/${made.id}`;
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        Object.assign(seen, { faults: error.faults, problem: error.message });
        draw();
        main.querySelector("[aria-invalid=true], [role=alert]")?.focus();
      } finally {
        seen.isBusy = false;
      }
    },
  };
  main.addEventListener("click", (event) => {
    const button = event.target.closest("[data-action]");
    if (button) act[button.dataset.action]?.(button);
  }, { signal });
  main.addEventListener("input", ({ target }) => {
    if (target.dataset.path) change(() => setAt(seen.document, target.dataset.path.split("."), read(target)));
    if (target.dataset.choice) change(() => choose(seen, target.dataset.choice, target.checked));
    if (target.dataset.optional) change(() => (seen.document[target.dataset.optional] = target.checked ? {} : null));
    if (target.dataset.start) change(() => (seen.document.start = target.value === "scratch" ? "scratch" : { weights: "" }));
    if (target.dataset.weights) store(target);
    if (target.dataset.text) change(() => (seen.text = target.value));
    if (target.dataset.task) change(() => (seen.document.task = starting(seen.tasks.find((one) => one.name === target.value))));
  }, { signal });

  shell.title("New search");
  shell.draw(h("h1", {}, "New search"), h("p", { class: "soft" }, "Loading\u2026"));
  shell.attempt(async () => {
    await known();
    if (!maySubmit()) return shell.draw(h("h1", {}, "New search"), h("p", {}, mayOnlyRead()));
    const [tasks, activations, schema, search] = await Promise.all([get("/tasks", signal), get("/activations", signal), get("/searches/schema", signal), from ? get(`/searches/${encodeURIComponent(from)}`, signal) : null]);
    const document = search ? forked(search) : { task: starting(tasks[0]), budget: {}, choices: activations.filter((one) => one.standard).map((one) => one.name) };
    Object.assign(seen, { tasks, activations, schema, document, start: structuredClone(document) });
    shell.connected(true);
    draw();
    check();
  }).catch((problem) => shell.draw(h("h1", {}, "New search"), h("p", { role: "alert", class: "error" }, problem.message)));
}

// A task with the first allowed value of each required argument.
/** The document of a fork: what is in force now, beginning with what its parent has found. */
function forked(search) {
  const { id, name, document, budget, parallel, priority, counts } = search;
  return { ...document, name: `${name}, forked`, budget, parallel, priority, warm_start: counts.completed ? { search: id } : null };
}

function starting(task) {
  if (!task) return { name: "image-classification", dataset: "digits", network: "small-cnn" };
  const { properties = {}, required = [] } = task.settings;
  const first = (one) => one.default ?? one.enum?.[0] ?? one.else?.enum?.[0] ?? one.minimum ?? "";
  return { name: task.name, ...Object.fromEntries(required.map((name) => [name, first(properties[name] ?? {})])) };
}

function read(field) {
  if (field.type === "checkbox") return field.checked;
  if (field.value === "") return field.dataset.nullable ? null : undefined;
  return field.type === "number" ? Number(field.value) : field.value;
}

const nameOf = (choice) => (typeof choice === "string" ? choice : choice.name);

function choose(seen, name, isWanted) {
  const others = (seen.document.choices ?? []).filter((one) => nameOf(one) !== name);
  seen.document.choices = isWanted ? [...others, name] : others;
}

function view(seen, from) {
  const isText = seen.text !== null;
  return [
    h("nav", { class: "crumbs", "data-key": "crumbs", "aria-label": "You are here" }, h("a", { href: "#/" }, "\u2190 Searches")),
    h("div", { class: "section-head", "data-key": "title" }, h("h1", {}, from ? "Fork a search" : "New search"), h("div", { class: "actions" }, isText ? h("button", { type: "button", "data-action": "as-form" }, "As a form") : h("button", { type: "button", "data-action": "as-text" }, "As text"))),
    from ? null : h("div", { class: "templates", "data-key": "templates", role: "group", "aria-label": "Templates" }, Object.entries(TEMPLATES).map(([name, { title, text }]) => h("button", { type: "button", class: "card template", "data-action": "template", "data-name": name }, h("strong", {}, title), h("span", { class: "soft" }, text)))),
    h("div", { class: "writing", "data-key": "writing" }, isText ? asText(seen) : asForm(seen), outcome(seen, from)),
  ];
}

function asText(seen) {
  return h("section", { class: "card", "data-key": "text", "aria-labelledby": "text-title" }, h("h2", { id: "text-title" }, "YAML or JSON"), h("textarea", { rows: 34, spellcheck: "false", "data-text": "1", "aria-labelledby": "text-title" }, seen.text));
}

function asForm(seen) {
  const { document, schema, tasks } = seen;
  const task = tasks.find((one) => one.name === document.task.name);
  const all = { document, faults: seen.faults, schema };
  return h(
    "form",
    { class: "form", "data-key": "form", "aria-label": "The search" },
    h(
      "fieldset",
      { class: "card", "data-key": "task" },
      h("legend", {}, "Task"),
      h("div", { class: "fields" }, fields({ ...all, properties: { name: schema.properties.name }, path: [] }), h("label", { class: "field" }, h("span", {}, "task"), h("select", { "data-task": "1" }, (tasks.length ? tasks : [document.task]).map((one) => h("option", { value: one.name, selected: one.name === document.task.name }, one.name)))), task ? fields({ ...all, properties: task.settings.properties ?? {}, path: ["task"], required: task.settings.required }) : null),
      tasks.length ? null : h("p", { class: "soft" }, "No worker has called in yet, so what can be trained is not known."),
    ),
    choices(seen),
    start(seen),
    SECTIONS.filter(([name]) => schema.properties[name]).map(([name, title, about]) => section(all, name, title, about)),
    h("details", { class: "card", "data-key": "others" }, h("summary", {}, "More"), h("div", { class: "fields" }, fields({ ...all, properties: Object.fromEntries(OTHERS.filter((one) => schema.properties[one]).map((one) => [one, schema.properties[one]])), path: [] }))),
  );
}

function section(all, name, title, about) {
  const isOptional = (all.schema.properties[name].anyOf ?? []).some((one) => one.type === "null");
  const isOff = isOptional && all.document[name] === null;
  return h(
    "fieldset",
    { class: "card", "data-key": name },
    h("legend", {}, title),
    h("p", { class: "soft" }, about),
    isOptional ? h("label", { class: "check" }, h("input", { type: "checkbox", "data-optional": name, checked: !isOff }), ` ${title.toLowerCase()}`) : null,
    isOff || Array.isArray(all.document[name]) ? null : h("div", { class: "fields" }, fields({ ...all, properties: { [name]: all.schema.properties[name] }, path: [] })),
  );
}

function start({ document, faults, storing }) {
  const weights = typeof document.start === "object" ? document.start?.weights ?? "" : null;
  const wrong = faults.filter((one) => one.field.startsWith("start"));
  return h(
    "fieldset",
    { class: "card", "data-key": "start" },
    h("legend", {}, "Start"),
    h("p", { class: "soft" }, "Train every candidate from scratch, or tune weights that the network has been trained to"),
    h(
      "div",
      { class: "fields" },
      h("label", { class: "field" }, h("span", {}, "start"), h("select", { "data-start": "1", id: "field-start" }, h("option", { value: "scratch", selected: weights === null }, "from scratch"), h("option", { value: "weights", selected: weights !== null }, "from trained weights"))),
      weights === null
        ? null
        : [
            h("label", { class: "field wide", "data-key": "digest" }, h("span", {}, "sha256 of stored weights"), h("input", { type: "text", "data-path": "start.weights", id: "field-start.weights", value: weights, maxlength: 64, spellcheck: "false", "aria-invalid": wrong.length ? "true" : null, "aria-describedby": "start-help" })),
            h("label", { class: "field", "data-key": "file" }, h("span", {}, "or a file to store"), h("input", { type: "file", accept: ".safetensors", "data-weights": "1", "data-keep": true })),
          ],
    ),
    weights === null ? null : h("p", { class: "soft", id: "start-help", "aria-live": "polite" }, storing ?? "A safetensors file of the network's weights; the files of a trial have their sha256 on its page."),
    wrong.map((one) => h("p", { class: "error" }, one.message)),
  );
}

function choices({ document, activations, faults }) {
  const chosen = new Map((document.choices ?? []).map((one) => [nameOf(one), one]));
  const about = (one) => (typeof one === "string" || !one ? null : Object.entries(one).filter(([key]) => key !== "name").map(([key, value]) => `${key} ${[value].flat().join(", ")}`).join("; "));
  const wrong = faults.filter((one) => one.field.startsWith("choices"));
  return h(
    "fieldset",
    { class: "card", "data-key": "choices" },
    h("legend", {}, `Choices (${chosen.size})`),
    h("p", { class: "soft" }, "What may stand at a site. Values of their parameters, and hyperparameters, can be given as text."),
    h("ul", { class: "choices" }, activations.map((one) => h("li", { "data-key": one.name }, h("label", {}, h("input", { type: "checkbox", "data-choice": one.name, checked: chosen.has(one.name) }), " ", glyph(one.name), one.name, about(chosen.get(one.name)) ? h("span", { class: "soft" }, ` ${about(chosen.get(one.name))}`) : null)))),
    wrong.map((one) => h("p", { class: "error" }, one.message)),
  );
}

function outcome(seen, from) {
  const { preview, faults, problem } = seen;
  const isWrong = faults.length > 0 || problem;
  return h(
    "aside",
    { class: "card preview", "data-key": "preview", "aria-labelledby": "preview-title" },
    h("h2", { id: "preview-title" }, "What it would be"),
    h("div", { "aria-live": "polite", "data-key": "live" }, isWrong ? wrong(faults, problem) : preview ? facts(preview) : h("p", { class: "soft" }, "Checking\u2026")),
    h("button", { type: "button", class: "primary", "data-action": "submit", "data-key": "submit", disabled: Boolean(isWrong) }, from ? "Submit the fork" : "Submit"),
  );
}

function wrong(faults, problem) {
  return [h("p", { class: "error", role: "alert" }, problem ?? (faults.length === 1 ? "One thing is wrong:" : `${faults.length} things are wrong:`)), h("ul", { class: "faults" }, faults.map((one) => h("li", {}, h("code", {}, one.field), " ", one.message)))];
}

function facts({ sites, groups, size, trainings, duration, smallest_gain: gain, warnings = [], candidates }) {
  const rows = [
    sites ? ["sites", `${words.count(sites.length, "site")} in ${words.count(Object.keys(groups).length, "group")}`] : ["sites", "known once a worker has inspected the network"],
    sites ? ["different candidates", size === null ? "without end" : words.whole(size)] : null,
    ["trainings at most", `${words.whole(trainings.total)}: ${trainings.baselines} baselines, ${trainings.proposed} candidates, ${trainings.confirmation} to confirm`],
    duration ? ["time", `about ${words.duration(duration.seconds)}; ${words.hours(duration.slot_seconds / 3600)} of slot time`] : ["time", "not known before a trial of this task has run"],
    gain ? ["smallest gain it can confirm", `${gain.gain === null ? `${gain.spreads.toFixed(2)} standard deviations over seeds` : words.difference(gain.gain, gain.is_fraction)}: ${gain.basis}`] : null,
  ].filter(Boolean);
  return [
    h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    warnings.map((text) => h("p", { class: "warning" }, text)),
    candidates?.length ? h("details", {}, h("summary", {}, "Some candidates"), h("ul", { class: "samples" }, candidates.map((one) => h("li", {}, [...new Set(Object.values(one.sites ?? {}).map((spec) => words.activation(spec)))].join(", "))))) : null,
  ];
}
