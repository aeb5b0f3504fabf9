"""Writes the reference of `search.yaml` from the JSON Schema of the search document."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from search_space.search import SearchSpec

PAGE = "reference/search-yaml.md"
Schema = Mapping[str, Any]

MEANINGS = {
    "version": "Version of the form of this document.",
    "name": "For people; a name is made up where it is empty.",
    "task": "What is trained: the name of a task that a worker offers, and its settings beside it.",
    "task.name": "One of those that `GET /v1/tasks` and the page list.",
    "sites": "Which calls of activations are searched, and which share one choice.",
    "sites.per": "What shares one choice. `auto`: `layer` where the budget suffices, else `stage`.",
    "sites.include": "Patterns of site ids that are searched; gates are if a pattern names them.",
    "sites.exclude": "Patterns of site ids that keep their original.",
    "sites.choices": "Choices of single sites, by pattern, in place of the search's own. "
    "A single choice that leaves nothing open fixes them.",
    "choices": "What is offered at every site: names, or objects such as "
    "`{name: pwlu, segments: [4, 8]}`, whose lists are searched. `share` and `initial` are "
    "options of every learned activation. Default: the standard ones of the catalogue.",
    "initial": "What learned activations start as: the function that they replace, or the start "
    "of their paper.",
    "start": "`scratch`, or the trained weights that every trial tunes.",
    "start.weights": "The sha256 that `actsearch upload FILE` printed, or of a trial's weights.",
    "hyperparameters": "Training hyperparameters that are searched too: "
    "`learning_rate_factor`, `activation_learning_rate_factor`, `realign_after`. "
    "Each is a list of values, or a range.",
    "hyperparameters.low": "Lower end of a range.",
    "hyperparameters.high": "Upper end of a range.",
    "hyperparameters.log": "Draw from the range on a logarithmic scale.",
    "objective": "What is optimised. A list of up to four makes a Pareto front, which is not "
    "confirmed.",
    "objective.metric": "A metric that the task reports, or one of `latency_ratio`, "
    "`parameter_ratio`, `memory_ratio` (not the first of a list).",
    "objective.direction": "Whether it is to be large or small.",
    "objective.reduce": "Which of the reported values counts.",
    "constraints": "Upper limits of what a candidate may cost, relative to the original on the "
    "same device. A candidate is infeasible when the whole interval of its ratio is above one.",
    "constraints.latency_ratio": "Time of a forward pass.",
    "constraints.parameter_ratio": "Number of parameters.",
    "constraints.memory_ratio": "Memory of a training step.",
    "measure": "What is measured of every candidate before its first epoch, and in which form. "
    "Parameters and FLOPs always are.",
    "measure.latency": "Measure it though no constraint or objective needs it.",
    "measure.memory": "Measure it though no constraint or objective needs it.",
    "measure.batch": "Samples in a batch; null: as many as the task's example batch has.",
    "measure.dtype": "Of the networks and their inputs.",
    "measure.compiled": "Measure the latency of compiled networks.",
    "measure.folded": "Fold batch normalisation into the convolutions first.",
    "sampler": "Who proposes candidates.",
    "sampler.name": "`additive` learns from all trainings what each choice does at each site; "
    "`auto` lets it and TPE propose, the better predictor more often; `grid` enumerates all "
    "candidates; the others are Optuna's. With several objectives the default is `tpe`.",
    "sampler.seed_blocks": "Trainings share their seeds in so many blocks, in turn: 2 with "
    "`additive` and `auto`, none with the others.",
    "sampler.seed": "Equal seeds propose the same where results come in the same order.",
    "sampler.encoding": "How a choice with parameters is put to it: `conditional`, each parameter "
    "on its own, or `flat`, one variant such as `pwlu-8`.",
    "pruner": "Who stops trials early.",
    "pruner.name": "An Optuna pruner; `none`: no trial is stopped.",
    "pruner.run_on": "Share of the stopped trials that run to their end, to measure how often "
    "stopping was wrong.",
    "replicates": "Repeated trainings of the leading candidates on new seeds.",
    "replicates.share": "At most this share of the budget's trials.",
    "replicates.leaders": "How many of the best candidates are repeated.",
    "replicates.seeds": "On how many seeds, the first included.",
    "warm_start": "An earlier search of the same task and objective, whose results this one uses.",
    "warm_start.search": "Its id.",
    "baselines": "What candidates are compared with.",
    "baselines.original_seeds": "On how many seeds the original network is trained.",
    "baselines.uniform": "Train a network with each choice at every site.",
    "budget": "How much the search may spend; what is spent first ends it.",
    "budget.trials": "Proposed candidates, those that cannot be trained among them.",
    "budget.hours": "Hours in which the search runs, without pauses.",
    "budget.gpu_hours": "Hours of its attempts, by the share of a GPU that each has.",
    "budget.failures": "How many errors of the task in a row pause the search.",
    "timeout": "Seconds that an attempt may take; null: any.",
    "stall": "Seconds without a report after which an attempt ends.",
    "parallel": "How many trials run at once.",
    "confirm": "How the winner is trained anew before it is called best; null: not at all.",
    "confirm.shortlist": "How many of the best candidates are trained once more to choose one.",
    "confirm.seeds": "Fresh seeds of the winner and of what it is compared with.",
    "confirm.epochs": "Length of these trainings; null: that of the task.",
    "confirm.spread": "Where that length is another one: how many candidates are trained at it to "
    "see whether both lengths rank alike.",
    "priority": "Searches with a higher one are served first.",
}
"""What every key means. The site does not build while a key is missing here or is no more."""

LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    content = "\n".join(_page(SearchSpec.model_json_schema()))
    files.append(File.generated(config, PAGE, content=content))
    return files


def _page(schema: Schema) -> Iterator[str]:
    keys = dict(_keys(schema, schema["$defs"]))
    if set(keys) != set(MEANINGS):
        raise ValueError(f"keys and meanings differ: {sorted(set(keys) ^ set(MEANINGS))}")
    yield "# The keys of `search.yaml`\n"
    yield (
        "A search is a document in YAML or JSON: for `actsearch submit`, for "
        "`POST /v1/searches`, for the form of the page, and for `Client.submit`. Only `task` is "
        "required. `actsearch show ID --json` prints a search with all its defaults, and "
        "`GET /v1/searches/schema` has the JSON Schema that this page is made from. Unknown keys "
        'are refused, and so are values of another type: `true` is no number, and `"5"` is none '
        "either.\n"
    )
    required = set(schema["required"])
    for name in schema["properties"]:
        yield f"## {name}\n"
        yield f"{MEANINGS[name]}\n"
        inner = {key: value for key, value in keys.items() if key.startswith(f"{name}.")}
        if inner:
            yield from _table(inner)
        else:
            yield f"{_facts(keys[name])}\n"
        if name in required:
            yield "Required.\n"


def _table(keys: Mapping[str, Schema]) -> Iterator[str]:
    yield "| key | value | default | meaning |\n|---|---|---|---|"
    for key, schema in keys.items():
        row = (f"`{key}`", _kind(schema), _default(schema), MEANINGS[key])
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"
    yield ""


def _facts(schema: Schema) -> str:
    default = _default(schema)
    # The choices' default is the standard part of the catalogue; their names fill a page.
    kind = "A list of activations" if schema.get("title") == "Choices" else _kind(schema)
    return f"Value: {kind}." + (f" Default: {default}." if default else "")


def _keys(schema: Schema, defs: Mapping[str, Schema]) -> Iterator[tuple[str, Schema]]:
    for name, one in schema["properties"].items():
        yield name, one
        for inner in _objects(one, defs):
            for key, value in inner.get("properties", {}).items():
                yield f"{name}.{key}", value


def _objects(schema: Schema, defs: Mapping[str, Schema]) -> Iterator[Schema]:
    """Yield every object of ours that a value may be, or that it may hold."""
    if "$ref" in schema:
        yield defs[schema["$ref"].rpartition("/")[2]]
    for alternative in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _objects(alternative, defs)
    for held in ("items", "additionalProperties"):
        if isinstance(schema.get(held), Mapping) and schema.get("title") != "Choices":
            yield from _objects(schema[held], defs)


def _kind(schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    alternatives = (*schema.get("anyOf", ()), *schema.get("oneOf", ()))
    if alternatives:
        return " or ".join(_kind(one) for one in alternatives)
    kind = {"null": "null", "array": "list", "object": "object"}.get(
        schema.get("type", "object"), schema.get("type", "object")
    )
    limits = [text.format(schema[name]) for name, text in LIMITS.items() if name in schema]
    return f"{kind} {', '.join(limits)}".strip()


def _default(schema: Schema) -> str:
    return f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
