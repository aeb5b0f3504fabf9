"""What `actsearch retrain` trains: from its options to a task, candidates and seeds."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from search_space.contract import Assignment, TrialKind, read_config
from search_space.errors import SearchSpaceError, SitesDiffer
from search_space.spec import ActivationConfig, Candidate, SitePlan
from search_space.transfer import transfer
from workers.commands.local_attempt import LocalAttempt, run_locally
from workers.errors import CannotRetrain
from workers.tasks.base import FunctionTask, Place
from workers.tasks.registry import load_tasks

WINNER, ORIGINAL, TUNED = "winner", "original network", "tuned original"


@dataclass(frozen=True, slots=True)
class RetrainJob:
    """What is trained, and where.

    Attributes:
        metric: What is compared, on validation data.
        candidates: By label: the config, the original network, and that with the config's
            learning rate, if it has one.
        transfer: From which network the config was transferred; None if it was not.
    """

    task: FunctionTask
    settings: Mapping[str, Any]
    place: Place
    metric: str
    plan: SitePlan
    candidates: Mapping[str, Candidate]
    output: Path
    transfer: Mapping[str, Any] | None


def make_job(options: argparse.Namespace) -> RetrainJob:
    """Return the job that the options describe.

    Raises:
        CannotRetrain: If a file cannot be read, or names what this machine does not have.
        SitesDiffer: If the config does not fit the network.
    """
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
        raise _sites_differ(config.plan, plan)
    metric = _metric(document, config, task)
    winner = config.candidate
    original = Candidate({site.id: site.original_spec for site in plan.sites})
    # Else a gain of the learning rate alone would look like one of the activations.
    rate = winner.training.learning_rate_factor
    tuned = replace(original, training=replace(original.training, learning_rate_factor=rate))
    candidates = {WINNER: winner, ORIGINAL: original}
    if tuned != original:
        candidates[TUNED] = tuned
    origin = _transfer(config)
    return RetrainJob(task, settings, place, metric, plan, candidates, options.output, origin)


def assignment_of(settings: Mapping[str, Any], metric: str, kind: TrialKind) -> Assignment:
    """Return the assignment of a training without a service; most fields have no meaning."""
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


def _transfer(config: ActivationConfig) -> Mapping[str, Any] | None:
    """Return from what task a config was transferred, how, and how many sites were matched."""
    origin = config.provenance.get("transfer")
    if origin is None:
        return None
    named = {name: origin.get(name) for name in ("match", "task", "sites")}
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
    """Return the search in a file; a file with only a task becomes a search with that task."""
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
    """Return the metric of the search's first objective, else the one that found the config."""
    objective = document.get("objective")
    if isinstance(objective, list):
        objective = objective[0]
    asked = (objective or {}).get("metric")
    found_by = next(iter(config.provenance.get("metrics", {})), None)
    fallback = found_by if found_by in task.offer.metrics else next(iter(task.offer.metrics))
    metric: str = asked or fallback
    if metric not in task.offer.metrics:
        known = ", ".join(task.offer.metrics)
        raise CannotRetrain("objective.metric", f"{metric!r} is unknown; there are {known}")
    return metric


def _sites(task: FunctionTask, settings: Mapping[str, Any], place: Place, folder: Path) -> SitePlan:
    """Return the sites of the task's network, found by an inspection."""
    assignment = assignment_of(settings, "", TrialKind.INSPECTION)
    inspection = LocalAttempt(assignment, folder / "scratch")
    run_locally(task, inspection, place)
    assert inspection.outcome is not None
    assert inspection.outcome.plan is not None
    return inspection.outcome.plan


def _sites_differ(of_config: SitePlan, of_network: SitePlan) -> SearchSpaceError:
    ours, theirs = ({site.id for site in plan.sites} for plan in (of_config, of_network))
    missing, extra = sorted(ours - theirs), sorted(theirs - ours)
    both = sorted(ours & theirs) if not missing and not extra else []
    return SitesDiffer(missing, extra, both)
