"""The trainings of `actsearch retrain`: a config and the original network, on fresh seeds.

No service is needed. The output folder has a line for each training that is complete, and a
checkpoint after each epoch, so the same command resumes where it was stopped. This module gives
no verdict: the command reads the lines and applies the rules of the service.
"""

import argparse
import contextlib
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search_space.contract import FailureClass, OutcomeKind, TrialKind, test_metric
from search_space.errors import SearchSpaceError
from search_space.spec import Candidate, canonical_json, to_data
from workers.command_line import add_task_options
from workers.commands.local_attempt import run_locally
from workers.commands.resumable import ResumableAttempt, write_atomically
from workers.commands.retrain_job import RetrainJob, assignment_of, make_job
from workers.errors import CannotRetrain, Diverged, WorkerError
from workers.handle.seeds import derive

TRAININGS = "trainings.jsonl"
_REFUSED, _STOPPED = 2, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing.

    Returns:
        0 if everything is there, 1 if it was stopped, 2 if an input cannot be used.
    """
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
    add_task_options(parser)
    return parser


def _retrain(options: argparse.Namespace) -> None:
    job = make_job(options)
    trainings = options.output / TRAININGS
    done = _done(trainings, job)
    # Seeds in the outer loop: a command that is stopped leaves complete comparisons.
    for seed in range(options.seeds):
        for label, candidate in job.candidates.items():
            if (label, seed) in done:
                continue
            result = _train(job, label, candidate, seed)
            line = json.dumps({"label": label, "seed": seed, **result}) + "\n"
            # Rewritten as a whole: a crash while appending could leave half a line.
            write_atomically(trainings, trainings.read_bytes() + line.encode())
            summary = result["failure"] or f"{test_metric(job.metric)} {result['test']:.4f}"
            sys.stderr.write(f"{label}, seed {seed}: {summary}\n")


def _done(trainings: Path, job: RetrainJob) -> set[tuple[str, int]]:
    """Return the label and seed of each complete training. The first line describes the job.

    Raises:
        CannotRetrain: If the folder belongs to another job.
    """
    described = {
        "task": dict(job.settings),
        "metric": test_metric(job.metric),
        "direction": job.task.offer.metrics[job.metric],
        "candidates": hashlib.sha256(
            canonical_json({k: to_data(v) for k, v in job.candidates.items()}).encode()
        ).hexdigest(),
        **({} if job.transfer is None else {"transfer": job.transfer}),
    }
    if not trainings.is_file():
        write_atomically(trainings, (json.dumps(described) + "\n").encode())
        return set()
    first, *lines = [json.loads(line) for line in trainings.read_text().splitlines()]
    if first != described:
        keys = dict.fromkeys([*described, *first])
        differing = ", ".join(key for key in keys if first.get(key) != described.get(key))
        reason = f"it holds trainings of another {differing}; name another folder"
        raise CannotRetrain(f"--output {job.output}", reason)
    return {(line["label"], line["seed"]) for line in lines}


def _train(job: RetrainJob, label: str, candidate: Candidate, seed: int) -> dict[str, Any]:
    # A confirmation, since only that may report metrics on test data.
    assignment = assignment_of(job.settings, job.metric, TrialKind.CONFIRMATION)
    assignment = assignment.model_copy(
        update={
            "candidate": candidate,
            "fingerprint": job.plan.fingerprint,
            # With the label: equal seeds would make the trainings of one seed dependent.
            "seed": derive(seed, "retrain", label),
        }
    )
    name = f"{label.replace(' ', '-')}-{seed}"
    training = ResumableAttempt(assignment, job.output, name)
    # The outcome says that it diverged; this is a result, and no error of the command.
    with contextlib.suppress(Diverged):
        run_locally(job.task, training, job.place)
    outcome = training.outcome
    assert outcome is not None
    diverged = outcome.failure == FailureClass.DIVERGED
    if outcome.outcome != OutcomeKind.COMPLETED and not diverged:
        raise _Stopped
    test = outcome.test.get(test_metric(job.metric))
    if test is None and not diverged:
        reason = f"it reports no {test_metric(job.metric)} in a confirmation"
        raise CannotRetrain(f"task {job.settings['name']!r}", reason)
    training.remove_checkpoint()
    return {
        "test": test,
        "validation": None if diverged else training.reports[-1].metrics.get(job.metric),
        "failure": outcome.message.splitlines()[0] if diverged else None,
        "weights": None if diverged else f"{name}.safetensors",
        "resumed_at": training.resumed_at,
    }


if __name__ == "__main__":
    sys.exit(main())
