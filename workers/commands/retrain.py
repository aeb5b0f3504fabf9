"""The trainings of `actsearch retrain`: a config and the original beside it, on fresh seeds.

No service is needed. What is done is noted in the output folder line by line, and a checkpoint is
kept after each epoch, so the same command goes on where it was stopped. The verdict is not told
here: the command reads the notes and tells it by the rules of the service.
"""

import argparse
import contextlib
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from search_space.contract import (
    RUN,
    WEIGHTS,
    Assignment,
    FailureClass,
    OutcomeKind,
    Report,
    TrialKind,
    Verdict,
    read_config,
    test_metric,
)
from search_space.errors import SearchSpaceError, SitesDiffer
from search_space.spec import ActivationConfig, Candidate, SitePlan, canonical_json, to_data
from search_space.transfer import transfer
from workers.commands.alone import Alone, run_alone
from workers.environment import setting
from workers.errors import CannotRetrain, Diverged, WorkerError
from workers.handle.seeds import derive
from workers.tasks.base import FunctionTask, Place
from workers.tasks.registry import load_tasks

NOTES = "trainings.jsonl"
WINNER, ORIGINAL, TUNED = "winner", "original network", "tuned original"
_REFUSED, _STOPPED = 2, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing; return 0 when all is there."""
    options = _parser().parse_args(arguments)
    try:
        _retrain(options)
    except (WorkerError, SearchSpaceError) as error:
        sys.stderr.write(f"actsearch: {error}\n")
        return _REFUSED
    except (_Stopped, KeyboardInterrupt):
        sys.stderr.write("actsearch: stopped; the same command goes on from here\n")
        return _STOPPED
    return 0


class _Stopped(Exception):
    """The process was told to end."""


class Kept(Alone):
    """A training that leaves its checkpoints and its weights in a folder.

    Attributes:
        resumed_at: Epochs that were trained before it was stopped the last time.
    """

    def __init__(self, assignment: Assignment, folder: Path, name: str) -> None:
        super().__init__(assignment, folder / "scratch")
        self._name = name
        self._checkpoint = folder / f"{name}.checkpoint"
        self._weights = folder / f"{name}.safetensors"
        self.resumed_at = 0

    def report(self, report: Report) -> Verdict:
        """Say how it goes, and go on."""
        value = report.metrics.get(self.assignment.metric, float("nan"))
        sys.stderr.write(
            f"{self._name}, epoch {report.step}: {self.assignment.metric} {value:.4f}\n"
        )
        return super().report(report)

    def keep(self, checkpoint: bytes) -> None:
        """Keep a checkpoint for the next try."""
        _write(self._checkpoint, checkpoint)

    def checkpoint(self) -> bytes | None:
        return self._checkpoint.read_bytes() if self._checkpoint.is_file() else None

    def upload(self, name: str, data: bytes) -> None:
        super().upload(name, data)
        if name == WEIGHTS:
            _write(self._weights, data)
        elif name == RUN:
            self.resumed_at = json.loads(data)["resumed_at"]

    def forget(self) -> None:
        """Remove the checkpoint of a training that is over."""
        self._checkpoint.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Job:
    """What is trained, and where.

    Attributes:
        transfer: How the config came from a network with other sites; None if it did not.
    """

    task: FunctionTask
    settings: Mapping[str, Any]
    place: Place
    metric: str
    plan: SitePlan
    candidates: Mapping[str, Candidate]
    output: Path
    transfer: Mapping[str, Any] | None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="actsearch retrain", description="Train a config in full, beside the original."
    )
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument("--task", type=Path)
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--match", choices=("name", "order", "depth"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data-root", type=Path, default=setting("DATA_ROOT"))
    parser.add_argument("--tasks", type=Path, default=setting("TASKS"))
    parser.add_argument("--load", type=Path, action="append", default=[])
    parser.add_argument("--home", type=Path, default=setting("HOME"))
    return parser


def _retrain(options: argparse.Namespace) -> None:
    job = _job(options)
    notes = options.output / NOTES
    done = _done(notes, job)
    for seed in range(options.seeds):
        for label, candidate in job.candidates.items():
            if (label, seed) in done:
                continue
            said = _train(job, label, candidate, seed)
            line = json.dumps({"label": label, "seed": seed, **said}) + "\n"
            _write(notes, notes.read_bytes() + line.encode())
            told = said["failure"] or f"{test_metric(job.metric)} {said['test']:.4f}"
            sys.stderr.write(f"{label}, seed {seed}: {told}\n")


def _job(options: argparse.Namespace) -> _Job:
    config = _config(options.config)
    document = _document(options.task) if options.task is not None else {"task": config.task}
    settings = dict(document["task"])
    if options.epochs is not None:
        settings["epochs"] = options.epochs
    task = _task(settings, options)
    home = options.home.expanduser().resolve()
    place = Place(home, options.data_root.expanduser().resolve(), threads=options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    plan = _sites(task, settings, place, options.output)
    if options.match is not None:
        config = transfer(config, plan, options.match)
    elif plan.fingerprint != config.fingerprint:
        raise _differing(config.plan, plan)
    metric = _metric(document, config, task)
    found = config.candidate
    original = Candidate({site.id: site.original_spec for site in plan.sites})
    rate = found.training.learning_rate_factor
    tuned = replace(original, training=replace(original.training, learning_rate_factor=rate))
    candidates = {WINNER: found, ORIGINAL: original} | ({TUNED: tuned} if tuned != original else {})
    carried = _transfer(config)
    return _Job(task, settings, place, metric, plan, candidates, options.output, carried)


def _transfer(config: ActivationConfig) -> Mapping[str, Any] | None:
    """Return from what task a config was carried over, by what match, and which sites found one."""
    told = config.provenance.get("transfer")
    if told is None:
        return None
    named = {name: told.get(name) for name in ("match", "task", "sites")}
    return {**named, "of": len(config.plan.sites)}


def _config(path: Path) -> ActivationConfig:
    try:
        return read_config(json.loads(path.read_bytes()))
    except OSError as error:
        raise CannotRetrain(f"CONFIG {path}", f"it cannot be read: {error.strerror}") from None
    except (ValueError, ValidationError):
        reason = "it is no activations.json, which `actsearch best ID --output FOLDER` saves"
        raise CannotRetrain(f"CONFIG {path}", reason) from None


def _document(path: Path) -> dict[str, Any]:
    """Return a search, or a task alone as one."""
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise CannotRetrain(f"--task {path}", f"it cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CannotRetrain(f"--task {path}", f"it is no YAML: {error}") from None
    if isinstance(data, dict) and isinstance(data.get("task"), dict):
        data, task = data, data["task"]
    else:
        data, task = {"task": data}, data
    if not isinstance(task, dict) or not isinstance(task.get("name"), str):
        reason = "it must hold a search with `task: {name: ...}`, or the mapping of a task itself"
        raise CannotRetrain(f"--task {path}", reason)
    return data


def _task(settings: Mapping[str, Any], options: argparse.Namespace) -> FunctionTask:
    offered = load_tasks(options.tasks, options.load)
    name = settings["name"]
    task = offered.get(name)
    if task is None:
        reason = f"it is unknown here; there are {', '.join(sorted(offered))}"
        raise CannotRetrain(f"task {name!r}", reason)
    if not isinstance(task, FunctionTask):
        reason = "it is a command: run it by hand, with the config applied"
        raise CannotRetrain(f"task {name!r}", reason)
    given = {key: value for key, value in settings.items() if key != "name"}
    for error in Draft202012Validator(task.offer.settings).iter_errors(given):
        field = ".".join(map(str, ("task", *error.absolute_path)))
        raise CannotRetrain(field, error.message)
    return task


def _metric(document: Mapping[str, Any], config: ActivationConfig, task: FunctionTask) -> str:
    """Return what is compared: the search's first objective, else what the config was found by."""
    objective = document.get("objective")
    if isinstance(objective, list):
        objective = objective[0]
    asked = (objective or {}).get("metric")
    found = next(iter(config.provenance.get("metrics", {})), None)
    metric = asked or (found if found in task.offer.metrics else next(iter(task.offer.metrics)))
    if metric not in task.offer.metrics:
        known = ", ".join(task.offer.metrics)
        raise CannotRetrain("objective.metric", f"{metric!r} is unknown; there are {known}")
    return metric


def _sites(task: FunctionTask, settings: Mapping[str, Any], place: Place, folder: Path) -> SitePlan:
    inspection = Alone(_assignment(settings, "", TrialKind.INSPECTION), folder / "scratch")
    run_alone(task, inspection, place)
    assert inspection.outcome is not None
    assert inspection.outcome.plan is not None
    return inspection.outcome.plan


def _differing(of_config: SitePlan, of_network: SitePlan) -> SearchSpaceError:
    ours, theirs = ({site.id for site in plan.sites} for plan in (of_config, of_network))
    missing, extra = sorted(ours - theirs), sorted(theirs - ours)
    both = sorted(ours & theirs) if not missing and not extra else []
    return SitesDiffer(missing, extra, both)


def _done(notes: Path, job: _Job) -> set[tuple[str, int]]:
    """Return what is there already; the first line says what it is of."""
    what = {
        "task": dict(job.settings),
        "metric": test_metric(job.metric),
        "direction": job.task.offer.metrics[job.metric],
        "candidates": hashlib.sha256(
            canonical_json({k: to_data(v) for k, v in job.candidates.items()}).encode()
        ).hexdigest(),
        **({} if job.transfer is None else {"transfer": job.transfer}),
    }
    if not notes.is_file():
        _write(notes, (json.dumps(what) + "\n").encode())
        return set()
    first, *lines = [json.loads(line) for line in notes.read_text().splitlines()]
    if first != what:
        keys = dict.fromkeys([*what, *first])
        differing = ", ".join(key for key in keys if first.get(key) != what.get(key))
        reason = f"it holds trainings of another {differing}; name another folder"
        raise CannotRetrain(f"--output {job.output}", reason)
    return {(line["label"], line["seed"]) for line in lines}


def _train(job: _Job, label: str, candidate: Candidate, seed: int) -> dict[str, Any]:
    assignment = _assignment(job.settings, job.metric, TrialKind.CONFIRMATION)
    assignment = assignment.model_copy(
        update={
            "candidate": candidate,
            "fingerprint": job.plan.fingerprint,
            "seed": derive(seed, "retrain", label),
        }
    )
    name = f"{label.replace(' ', '-')}-{seed}"
    training = Kept(assignment, job.output, name)
    # A divergence is told as an outcome, too.
    with contextlib.suppress(Diverged):
        run_alone(job.task, training, job.place)
    outcome = training.outcome
    assert outcome is not None
    diverged = outcome.failure == FailureClass.DIVERGED
    if outcome.outcome != OutcomeKind.COMPLETED and not diverged:
        raise _Stopped
    test = outcome.test.get(test_metric(job.metric))
    if test is None and not diverged:
        reason = f"it reports no {test_metric(job.metric)} in a confirmation"
        raise CannotRetrain(f"task {job.settings['name']!r}", reason)
    training.forget()
    return {
        "test": test,
        "validation": None if diverged else training.reports[-1].metrics.get(job.metric),
        "failure": outcome.message.splitlines()[0] if diverged else None,
        "weights": None if diverged else f"{name}.safetensors",
        "resumed_at": training.resumed_at,
    }


def _assignment(settings: Mapping[str, Any], metric: str, kind: TrialKind) -> Assignment:
    return Assignment(
        lease="retrain",
        token="",
        search="retrain",
        trial="retrain",
        number=None,
        kind=kind,
        attempt=1,
        lease_seconds=60,
        task=dict(settings),
        metric=metric,
        candidate=None,
        fingerprint=None,
        seed=0,
    )


def _write(path: Path, data: bytes) -> None:
    """Write a file that is never seen half."""
    partial = path.with_suffix(f"{path.suffix}.partial")
    partial.write_bytes(data)
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
