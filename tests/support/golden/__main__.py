"""Write anew what later versions are compared with, under `tests/service/golden`.

    python -m tests.support.golden              all of it
    python -m tests.support.golden openapi      the OpenAPI document
    python -m tests.support.golden answers      the answers about every stored database

`openapi` is for additions to the API that are made on purpose. `answers` is for a change of what
is answered that is made on purpose, such as a new release of Optuna, which proposes otherwise;
the stored databases stay. Without an argument the searches of the installed version are run too,
and its database is stored beside those of earlier versions, which are never made anew. Where
nothing has changed, every file comes out as it was.
"""

import sys
import tempfile
from pathlib import Path

from tests.support.golden import files
from tests.support.golden.answers import going_on, reads, serving
from tests.support.golden.making import make_store
from tests.support.golden.openapi import document_of
from tests.support.serving import Served


def write_openapi() -> None:
    with tempfile.TemporaryDirectory() as folder:
        served = Served(Path(folder) / "home")
        try:
            document = document_of(served)
        finally:
            served.close()
    _report(files.write("openapi", files.current_version(), document))


def write_store() -> None:
    _report(files.write("rows", files.current_version(), make_store()))


def write_answers() -> None:
    for version in files.versions("rows"):
        stored = files.read("rows", version)
        with (
            tempfile.TemporaryDirectory() as folder,
            serving(stored, Path(folder) / "home") as served,
        ):
            found = {"reads": reads(served, stored), "going_on": going_on(served, stored)}
        _report(files.write("answers", version, found))


def _report(path: Path) -> None:
    sys.stdout.write(f"{path.name}: {path.stat().st_size} bytes\n")


def main(arguments: list[str]) -> None:
    parts = {"openapi": write_openapi, "store": write_store, "answers": write_answers}
    known = ("openapi", "answers")
    if any(one not in known for one in arguments):
        raise SystemExit(f"name some of {', '.join(known)}, or nothing for all")
    for name, write in parts.items():
        if not arguments or name in arguments:
            write()


if __name__ == "__main__":
    main(sys.argv[1:])
