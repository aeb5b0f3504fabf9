"""`actsearch rerun TRIAL`: trains a trial again from its record, and compares the results.

On the same model of processor, with the same versions and number of threads, a training on a CPU
repeats bit for bit. On a GPU, one with `deterministic: true` does.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from search_space.contract import RUN, WEIGHTS, OutcomeKind
from workers.agent.task_code import code_of
from workers.attempt.http import HttpClient
from workers.command_line import add_service_options, add_task_options
from workers.commands.local_attempt import LocalAttempt, run_locally
from workers.errors import NotRepeatable, WorkerError
from workers.handle.provenance import RunRecord, differences, environment
from workers.tasks.base import FunctionTask, Place
from workers.tasks.registry import load_tasks

_PATIENCE = 10.0
_SAME, _DIFFERENT, _REFUSED = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a trial again; return 0 if the results are the same, 1 if not, 2 if it cannot be."""
    options = _parser().parse_args(arguments)
    client = HttpClient(options.url, options.token, patience=_PATIENCE)
    try:
        return _rerun(client, options)
    except WorkerError as error:
        sys.stderr.write(f"actsearch: {error}\n")
        return _REFUSED
    finally:
        client.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="actsearch rerun", description="Train a trial again, and compare what comes out."
    )
    parser.add_argument("trial", metavar="TRIAL", help="the trial's id")
    add_service_options(parser, scope="read")
    add_task_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _rerun(client: HttpClient, options: argparse.Namespace) -> int:
    path = f"/trials/{options.trial}"
    trial = client.call("GET", path).json()
    stored = {a["name"]: a["sha256"] for a in client.call("GET", f"{path}/artifacts").json()}
    if RUN not in stored:
        raise NotRepeatable(options.trial, f"it has stored no {RUN}; it is {trial['state']}")
    run = RunRecord.model_validate_json(client.call("GET", f"{path}/artifacts/{RUN}").content)
    task = load_tasks(options.tasks, options.load).get(run.assignment.task["name"])
    if not isinstance(task, FunctionTask):
        kind = "not offered here" if task is None else "a command: run it by hand with its seed"
        raise NotRepeatable(options.trial, f"its task {run.assignment.task['name']!r} is {kind}")
    reports = _first_of_each_epoch(client.call("GET", f"{path}/reports").json())
    # A trial that was stopped early is stopped after the same epoch again.
    stopped = trial["state"] == OutcomeKind.STOPPED.value
    last = max(reports, default=0) if stopped else None
    has_start = run.assignment.start is not None
    start = client.call("GET", f"{path}/start").content if has_start else None
    repeat = _train(run, task, options, last=last, start=start)
    changes = differences(run.environment, environment(code_of(task)))
    differs = list(_compare(reports, stored.get(WEIGHTS), repeat))
    if options.json:
        answer = {"same": not differs, "differences": differs, "environment": changes}
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        what = f"{len(reports)} epochs{' and the weights' if WEIGHTS in stored else ''}"
        sys.stdout.write("\n".join(_summary(run, what, differs, changes)) + "\n")
    return _DIFFERENT if differs else _SAME


def _first_of_each_epoch(reports: Sequence[dict[str, Any]]) -> dict[int, dict[str, float]]:
    """Return metrics by epoch: of several attempts, the first report is the one that counted."""
    found: dict[int, dict[str, float]] = {}
    for report in reports:
        found.setdefault(report["step"], report["metrics"])
    return found


def _train(
    run: RunRecord,
    task: FunctionTask,
    options: argparse.Namespace,
    *,
    last: int | None,
    start: bytes | None,
) -> LocalAttempt:
    home = options.home.expanduser().resolve()
    data_root = options.data_root.expanduser().resolve()
    place = Place(home, data_root, threads=run.environment["threads"])
    with tempfile.TemporaryDirectory() as scratch:
        repeat = LocalAttempt(run.assignment, Path(scratch), last=last, start=start)
        run_locally(task, repeat, place)
    return repeat


def _compare(
    reports: Mapping[int, dict[str, float]], weights: str | None, repeat: LocalAttempt
) -> Iterator[str]:
    """Yield a sentence for each result that differs."""
    again = {report.step: report.metrics for report in repeat.reports}
    for epoch, then in sorted(reports.items()):
        now = again.get(epoch)
        if now != then:
            yield f"epoch {epoch}: {then} then, {now} now"
    if weights is not None and repeat.digests.get(WEIGHTS) != weights:
        yield f"{WEIGHTS}: sha256 {weights} then, {repeat.digests.get(WEIGHTS)} now"


def _summary(
    run: RunRecord, what: str, differs: Sequence[str], changes: Sequence[str]
) -> Iterator[str]:
    if differs:
        yield "not the same:"
        yield from (f"  {difference}" for difference in differs)
    else:
        yield f"the same, bit for bit: {what}"
    if changes:
        yield "the environment differs:"
        yield from (f"  {change}" for change in changes)
    if run.resumed_at:
        yield f"an earlier attempt trained the first {run.resumed_at} epochs"


if __name__ == "__main__":
    sys.exit(main())
