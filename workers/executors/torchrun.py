"""torchrun, which ends as the rank has ended that was the first to fail.

Its own command ends with 1 however that was. Started by its path: needs torch, and nothing of ours.
"""

import signal
import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

# What the others cannot cause by failing too; sooner listed, sooner told.
_SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
# torchrun kills, half a minute later, what does not end by itself after the first failure.
_SECONDS = 15


def code_of(failed: ChildFailedError) -> int:
    """Return the exit code, as a shell has it: 128 and the signal that ended a rank."""
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
