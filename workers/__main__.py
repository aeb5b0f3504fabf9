"""The worker's command: `python -m workers --url URL`, started by `actsearch worker` and `up`."""

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from workers.command_line import add_service_options, add_task_options, set_up_logging
from workers.environment import setting
from workers.threads import on_signals

if TYPE_CHECKING:
    from workers.agent.agent import Agent


_NUMBERS = {
    "memory_per_trial": "GiB of memory that a trial may use: a number, auto or none",
    "min_free_disk": "GiB; no trial starts on a fuller disk",
    "checkpoint_seconds": "a trial uploads its checkpoints at most once in so many seconds",
    "failures": "trials in a row that fail by the worker's fault before it leases no more",
    "grace": "seconds that trials have to save their work when the worker is stopped",
    "margin": "seconds that a trial is assumed to need for its first checkpoint",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a worker until it is told to stop, and return the exit code."""
    options = _parser().parse_args(arguments)
    set_up_logging()
    # Imported here: the forkserver's processes import this module, and need none of this.
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
    add_service_options(parser, scope="work")
    parser.add_argument(
        "--name", default=setting("NAME"), help="how its ids begin, instead of the host's name"
    )
    parser.add_argument("--executor", default=setting("EXECUTOR"), help="local or ray")
    parser.add_argument("--address", default=setting("ADDRESS"), help="of the Ray cluster")
    parser.add_argument("--slots", default=setting("SLOTS"), help="trials at once, or auto")
    for what in ("cpus", "gpus"):
        default = setting(f"{what.upper()}_PER_TRIAL")
        parser.add_argument(f"--{what}-per-trial", default=default, help="of a Ray node, or auto")
    loaded = [Path(file) for file in (setting("LOAD") or "").split(os.pathsep) if file]
    add_task_options(parser, loaded)
    for name, what in _NUMBERS.items():
        default = setting(name.upper())
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, default=default, help=f"{what} (%(default)s)")
    parser.add_argument(
        "--until",
        default=setting("UNTIL"),
        metavar="TIME",
        help="when the worker's time ends: no trial is leased that would not reach a checkpoint",
    )
    parser.add_argument(
        "--drain",
        action="store_true",
        help="tell the workers of this home to finish what they run, and leave",
    )
    parser.add_argument(
        "--exit-with-stdin", action="store_true", help="stop when standard input ends"
    )
    return parser


def _stop_on_signals(agent: "Agent", *, with_stdin: bool) -> None:
    # Slurm can be asked to send SIGUSR1 some time before it ends a job.
    on_signals((signal.SIGTERM, signal.SIGINT, signal.SIGUSR1), agent.stop)
    on_signals([signal.SIGUSR2], agent.drain)
    if with_stdin:
        threading.Thread(target=_stop_with_stdin, args=(agent,), daemon=True).start()


def _stop_with_stdin(agent: "Agent") -> None:
    # Standard input is a pipe from the parent: it ends when the parent does, however it ends.
    while os.read(0, 4096):
        pass
    agent.stop()


if __name__ == "__main__":
    sys.exit(main())
