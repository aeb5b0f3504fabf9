"""`python -m workers.simulation --url URL`, started by `actsearch simulate`. Loads no torch."""

import argparse
import logging
import signal
import sys
from pathlib import Path

from workers.command_line import add_service_options, set_up_logging
from workers.errors import BadSetting, WorkerError
from workers.threads import on_signals

_MOST_WORKERS = 4096


def main(arguments: list[str] | None = None) -> int:
    """Run simulated workers until told to stop, and return the exit code."""
    options = _parser().parse_args(arguments)
    set_up_logging()
    from workers.simulation.fleet import Fleet
    from workers.simulation.table import BUILTIN, load
    from workers.simulation.worker import Behaviour

    try:
        _check(options)
        table = load(BUILTIN if options.table == "builtin" else Path(options.table))
        behaviour = Behaviour(options.speed, options.kill_rate, options.drop_rate)
        fleet = Fleet(
            options.url,
            options.token,
            table,
            behaviour,
            workers=options.workers,
            seed=options.seed,
        )
        on_signals((signal.SIGTERM, signal.SIGINT), fleet.stop)
        fleet.run()
    except WorkerError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="actsearch simulate",
        description="Workers that train nothing and answer from a table of real trainings: to "
        "try schedulers, samplers and pages with hundreds of workers. They offer one task, "
        "simulated-sequence-classification, so no other search is ever given their numbers.",
    )
    add_service_options(parser, scope="work")
    parser.add_argument("--workers", type=int, default=8, help="how many (%(default)s)")
    parser.add_argument("--table", default="builtin", help="builtin, or your own file")
    parser.add_argument("--speed", type=float, help="epochs per second of each worker (unlimited)")
    parser.add_argument(
        "--kill-rate",
        type=float,
        default=0.0,
        help="probability, in each epoch, that a worker crashes",
    )
    parser.add_argument(
        "--drop-rate", type=float, default=0.0, help="probability that an answer is lost"
    )
    parser.add_argument("--seed", type=int, default=0, help="of crashes and lost answers")
    return parser


def _check(options: argparse.Namespace) -> None:
    if not 1 <= options.workers <= _MOST_WORKERS:
        raise BadSetting("--workers", str(options.workers), f"a number from 1 to {_MOST_WORKERS}")
    if options.speed is not None and not options.speed > 0:
        raise BadSetting("--speed", str(options.speed), "more than 0 epochs a second")
    for name, rate in (("--kill-rate", options.kill_rate), ("--drop-rate", options.drop_rate)):
        if not 0 <= rate < 1:
            raise BadSetting(name, str(rate), "a probability from 0 to below 1")


if __name__ == "__main__":
    sys.exit(main())
