"""`actsearch` with a weak moment: `python mortal.py WRITE MOMENT ARGUMENTS...`.

The process kills itself at the commit of the first transaction that has made a certain write, just
before that commit or just after it.
"""

import os
import signal
import sys
import threading
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from service.cli import main

WRITES = {
    "submit": ("INSERT INTO searches",),
    "lease": ("INSERT INTO attempts",),
    "report": ("INSERT INTO reports",),
    "outcome": ("UPDATE attempts", "outcome="),
}
MOMENTS = ("before", "after")


def arm(write: str, moment: str) -> None:
    """Let this process die at a commit."""
    has_written = threading.local()

    def look(
        _connection: Connection, _cursor: object, statement: str, *_more: object, **_names: Any
    ) -> None:
        first, *parts = WRITES[write]
        if statement.startswith(first) and all(part in statement for part in parts):
            has_written.it = True

    def die(_: Connection | Session) -> None:
        if getattr(has_written, "it", False):
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "after_cursor_execute", look)
    if moment == "before":
        event.listen(Engine, "commit", die)
    else:
        event.listen(Session, "after_commit", die)


if __name__ == "__main__":
    _, write, moment, *arguments = sys.argv
    arm(write, moment)
    sys.argv = ["actsearch", *arguments]
    main()
