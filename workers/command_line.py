"""What the commands of this package have in common: options and logging."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from workers.environment import setting


def set_up_logging() -> None:
    """Write the log to standard error, without a line for each HTTP request."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    # httpx2 logs every request at INFO.
    logging.getLogger("httpx2").setLevel(logging.WARNING)


def add_service_options(parser: argparse.ArgumentParser, *, scope: str) -> None:
    """Add `--url` and `--token`; a token needs `scope`."""
    parser.add_argument("--url", default=setting("URL"), help="the service (%(default)s)")
    parser.add_argument(
        "--token", default=setting("TOKEN"), help=f"bearer token with scope {scope}"
    )


def add_task_options(parser: argparse.ArgumentParser, loaded: Sequence[Path] = ()) -> None:
    """Add the options that say which tasks there are, and where data and caches lie.

    Args:
        loaded: Files that are loaded in addition to those of `--load`.
    """
    parser.add_argument("--data-root", type=Path, default=setting("DATA_ROOT"))
    parser.add_argument("--tasks", type=Path, default=setting("TASKS"), help="tasks.toml")
    parser.add_argument(
        "--load",
        type=Path,
        action="append",
        default=list(loaded),
        metavar="FILE",
        help="a Python file that defines tasks; may be repeated",
    )
    parser.add_argument("--home", type=Path, default=setting("HOME"))
