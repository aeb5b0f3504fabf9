"""torchrun with the exit code of the rank that failed first; its own command always exits with 1.

Started by its path: it imports torch, and none of our packages.
"""

import signal
import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

# Signals that no rank gets because another one failed. The first one listed wins.
_SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
# torchrun kills the other ranks half a minute after the first failure; those do not count.
_SECONDS = 15


def code_of(failed: ChildFailedError) -> int:
    """Return the exit code in the way of a shell: 128 plus the signal that ended a rank."""
    failures = failed.failures.values()
    first = min(failure.timestamp for failure in failures)
    codes = {f.exitcode for f in failures if f.timestamp - first < _SECONDS}
    ended = (128 + number for number in _SIGNALS if not codes.isdisjoint({-number, 128 + number}))
    return next(ended, 1)


def main() -> None:
    try:
        run(parse_args(None))  # type: ignore[no-untyped-call]
    except ChildFailedError as failed:
        sys.stderr.write(f"{failed}\n")
        sys.exit(code_of(failed))


if __name__ == "__main__":
    main()
