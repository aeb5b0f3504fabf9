"""The command that trains a config in full without a service, and tests it as a search would."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.common import CommandError, DataRoot, Json, Load, TaskList, print_json, print_line
from service.cli.processes import command_of, need_torch
from service.results.verdict import Comparison, Sample, describe, judge

NOTES, RESULT = "trainings.jsonl", "result.json"
_WINNER = "winner"
_FEWEST = 2

Match = Annotated[
    str | None,
    typer.Option(help="How to map the sites to another network: name, order or depth."),
]


def retrain(
    config: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", help="An activations.json, as `actsearch best` saves it."),
    ],
    task: Annotated[
        Path | None, typer.Option(help="YAML file of a task or a search. Default: that of CONFIG.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds for each network.")] = 5,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of each training. Default: those of the task.")
    ] = None,
    match: Match = None,
    output: Annotated[Path, typer.Option(help="Folder for weights and results.")] = Path(
        "retrained"
    ),
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    data_root: DataRoot = None,
    tasks: TaskList = None,
    load: Load = None,
    as_json: Json = False,
) -> None:
    """Train a saved config and the original in full, and compare.

    Both are trained on new seeds. No service is needed. The same command resumes where it was
    stopped; with more seeds it adds to those done.
    """
    need_torch()
    options = {
        "--task": task,
        "--seeds": seeds,
        "--epochs": epochs,
        "--match": match,
        "--output": output,
        "--threads": threads,
        "--data-root": data_root,
        "--tasks": tasks,
    }
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    given += [f"--load={file}" for file in load or []]
    ended = subprocess.run(command_of("workers.commands.retrain", [str(config), *given]))
    if ended.returncode != 0:
        raise CommandError("the training failed", max(ended.returncode, 1))
    result = _result(output, seeds)
    (output / RESULT).write_text(json.dumps(result, indent=2) + "\n")
    if as_json:
        print_json(result)
        return
    for label, values in result["test"].items():
        print_line(f"{label}: {', '.join(f'{value:.4f}' for value in values)}")
    print_line(result["claim"])
    print_line(f"Weights and {RESULT} are in {output}.")


def _result(output: Path, seeds: int) -> dict[str, Any]:
    """Return the results of all trainings, and the claim that they support."""
    first, *lines = [json.loads(line) for line in (output / NOTES).read_text().splitlines()]
    lines = [line for line in lines if line["seed"] < seeds]
    failures = [line for line in lines if line["failure"]]
    values: dict[str, list[float]] = {}
    for line in lines:
        if not line["failure"]:
            values.setdefault(line["label"], []).append(line["test"])
    comparisons = _compared(values, maximize=first["direction"] == "maximize")
    return {
        "task": first["task"],
        "metric": first["metric"],
        "transfer": first.get("transfer"),
        "claim": _claim(first, comparisons, len(values.get(_WINNER, ()))),
        "holds": bool(comparisons and comparisons[0].holds and comparisons[0].difference > 0),
        "comparisons": [
            {name: getattr(one, name) for name in Comparison.__dataclass_fields__}
            for one in comparisons
        ],
        "test": values,
        "failures": [f"{one['label']}, seed {one['seed']}: {one['failure']}" for one in failures],
        "weights": {
            f"{one['label']}, seed {one['seed']}": one["weights"] for one in lines if one["weights"]
        },
    }


def _compared(values: Mapping[str, Sequence[float]], *, maximize: bool) -> list[Comparison]:
    samples = {
        label: Sample(label, tuple(found))
        for label, found in values.items()
        if len(found) >= _FEWEST
    }
    winner = samples.pop(_WINNER, None)
    if winner is None or not samples:
        return []
    return judge(winner, list(samples.values()), None, maximize=maximize)


def _claim(first: Mapping[str, Any], comparisons: Sequence[Comparison], seeds: int) -> str:
    carried = _transfer_text(first.get("transfer"))
    if not comparisons:
        return f"not tested: a test needs two completed trainings of each network{carried}"
    epochs = first["task"].get("epochs")
    cost = f"{seeds} seeds" + ("" if epochs is None else f", {epochs} epochs")
    return f"{describe(comparisons, first['metric'], cost)}{carried}"


def _transfer_text(transfer: Mapping[str, Any] | None) -> str:
    """Say from which task a config was transferred to other sites; empty if it was not."""
    if transfer is None:
        return ""
    task = transfer["task"] or {"name": "another task"}
    details = [f"{name} {value}" for name, value in task.items() if name != "name"]
    return (
        f"; a transfer, found on {', '.join([task['name'], *details])}: {len(transfer['sites'])} "
        f"of {transfer['of']} sites took their activation from there, by {transfer['match']}"
    )
