"""Makes the stored database with the installed version, the same on every run."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from tests.support.golden.rows import Stored, dump
from tests.support.golden.searches import make_all
from tests.support.serving import Served

BEGIN = 1_750_000_000.0
TICK = 0.25


class Clock:
    """The database's clock, which moves with every call of the API and at no other time."""

    def __init__(self) -> None:
        self.seconds = BEGIN

    def tick(self, _request: object) -> None:
        self.seconds += TICK

    def strftime(self, form: str, _when: str) -> str:
        """Answer the three forms from which the service puts the time together."""
        rest = self.seconds % 60
        forms = {"%s": str(int(self.seconds)), "%f": f"{rest:06.3f}", "%S": f"{int(rest):02d}"}
        return forms[form]


@contextmanager
def database_clock() -> Iterator[Clock]:
    """Give every SQLite connection that is opened meanwhile the clock that is returned."""
    clock = Clock()

    def use(connection: Any, _record: object) -> None:
        connection.create_function("strftime", 2, clock.strftime)

    event.listen(Engine, "connect", use)
    try:
        yield clock
    finally:
        event.remove(Engine, "connect", use)


def make_store() -> Stored:
    """Run the searches on a new service and return what it has stored."""
    with tempfile.TemporaryDirectory() as folder, database_clock() as clock:
        home = Path(folder) / "home"
        served = Served(home)
        served.http.event_hooks["request"] = [clock.tick]
        try:
            make_all(served)
        finally:
            served.close()
        return dump(home)
