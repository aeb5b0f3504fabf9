"""What users of the last version rely on: its API, and the databases that it has left.

`python -m tests.support.golden` writes what is compared with here; its docstring says when.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import DATABASES
from tests.support.golden import files
from tests.support.golden.answers import going_on, reads, serving
from tests.support.golden.openapi import differences, document_of, without_version
from tests.support.postgres import Postgres
from tests.support.serving import Served

VERSIONS = files.versions("rows")
assert VERSIONS, "no stored database was found"
MOST_LINES = 40


def check_equal(old: Any, new: Any, *, may_add: bool = False) -> None:
    """Fail with one line for each place that differs, and with no more than can be read.

    Args:
        may_add: Answers may have more than before: clients ignore what they do not know.
    """
    found = differences(old, new)
    lines = [line for line in found if not (may_add and line.startswith("added "))]
    if lines:
        more = len(lines) - MOST_LINES
        rest = [f"and {more} more"] if more > 0 else []
        pytest.fail("\n".join([*lines[:MOST_LINES], *rest]), pytrace=False)


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest) -> str | None:
    """The URL of an empty database; None: SQLite in the home."""
    if request.param == "sqlite":
        return None
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.empty()


def test_the_openapi_document_is_that_of_the_last_version(tmp_path: Path) -> None:
    served = Served(tmp_path / "home")
    try:
        document = document_of(served)
    finally:
        served.close()
    last = files.read("openapi", files.versions("openapi")[-1])
    check_equal(without_version(last), without_version(document))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_database_of_an_earlier_version_is_answered_as_before(
    tmp_path: Path, url: str | None, version: str
) -> None:
    stored, before = files.read("rows", version), files.read("answers", version)
    with serving(stored, tmp_path / "home", url) as served:
        check_equal(before["reads"], reads(served, stored), may_add=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_searches_of_an_earlier_version_go_on_as_they_would_have(
    tmp_path: Path, url: str | None, version: str
) -> None:
    """The rebuilt studies propose the same, and the same follows, up to the claims."""
    stored, before = files.read("rows", version), files.read("answers", version)
    with serving(stored, tmp_path / "home", url) as served:
        check_equal(before["going_on"], going_on(served, stored), may_add=True)
