"""The worker's command: `python -m workers --url URL`, started by `actsearch worker` and `up`."""

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from workers.environment import setting

if TYPE_CHECKING:
    from workers.agent.agent import Agent


_NUMBERS = {
    "memory_per_trial": "GiB of memory that a trial may use: a number, auto or none",
    "min_free_disk": "GiB; no trial starts on a fuller disk",
    "checkpoint_seconds": "a trial uploads its checkpoints at most so often",
    "failures": "trials in a row that fail by the worker's fault before it leases no more",
    "grace": "seconds that trials have to hand in when the worker is stopped",
    "margin": "seconds that a trial is thought to need to its first checkpoint",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a worker until it is told to stop, and return the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    # One line per request is the client's habit, not ours.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    # Processes of trials import this module again and need nothing of what follows.
    from workers.agent.wiring import drain, make_agent
    from workers.errors import WorkerError

    if options.drain:
        return drain(options)
    try:
        agent = make_agent(options)
        _stop_on_signals(agent, with_stdin=options.exit_with_stdin)
        agent.run()
    except WorkerError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="actsearch worker",
        description="Train trials for a service. Every option is also an environment variable: "
        "ACTSEARCH_ and its name.",
    )
    parser.add_argument("--url", default=setting("URL"), help="the service (%(default)s)")
    parser.add_argument("--token", default=setting("TOKEN"), help="bearer token with scope work")
    parser.add_argument(
        "--name", default=setting("NAME"), help="how its ids begin, instead of the host's name"
    )
    parser.add_argument("--executor", default=setting("EXECUTOR"), help="local or ray")
    parser.add_argument("--address", default=setting("ADDRESS"), help="of the Ray cluster")
    parser.add_argument("--slots", default=setting("SLOTS"), help="trials at once, or auto")
    for what in ("cpus", "gpus"):
        default = setting(f"{what.upper()}_PER_TRIAL")
        parser.add_argument(f"--{what}-per-trial", default=default, help="of a Ray node, or auto")
    parser.add_argument("--data-root", type=Path, default=setting("DATA_ROOT"))
    parser.add_argument("--tasks", type=Path, default=setting("TASKS"), help="tasks.toml")
    loaded = [Path(file) for file in (setting("LOAD") or "").split(os.pathsep) if file]
    parser.add_argument(
        "--load",
        type=Path,
        action="append",
        default=loaded,
        metavar="FILE",
        help="a Python file that defines tasks; may be repeated",
    )
    parser.add_argument("--home", type=Path, default=setting("HOME"))
    for name, what in _NUMBERS.items():
        default = setting(name.upper())
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, default=default, help=f"{what} (%(default)s)")
    parser.add_argument(
        "--until",
        default=setting("UNTIL"),
        metavar="TIME",
        help="end of the worker's time: lease nothing that would not come to a checkpoint by then",
    )
    parser.add_argument(
        "--drain",
        action="store_true",
        help="tell the workers of this home to finish what they run and leave",
    )
    parser.add_argument(
        "--exit-with-stdin", action="store_true", help="stop when standard input ends"
    )
    return parser


def _stop_on_signals(agent: "Agent", *, with_stdin: bool) -> None:
    # SIGUSR1 is what Slurm is asked to send before a job's time ends.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        # From a thread: the handler may interrupt the main thread while it holds the event's lock.
        signal.signal(number, lambda *_: threading.Thread(target=agent.stop).start())
    signal.signal(signal.SIGUSR2, lambda *_: agent.drain())
    if with_stdin:
        threading.Thread(target=_stop_with_stdin, args=(agent,), daemon=True).start()


def _stop_with_stdin(agent: "Agent") -> None:
    while os.read(0, 4096):
        pass
    agent.stop()


if __name__ == "__main__":
    sys.exit(main())
