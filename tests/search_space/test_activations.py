"""What every activation of the catalogue must do. A new entry is tested by being listed."""

import pytest

from search_space.catalog.lookup import CATALOG
from search_space.conformance.cases import Case
from search_space.conformance.rules import Check, suite

SUITE = [
    pytest.param(check, case, id=f"{case}-{name}")
    for entry in CATALOG.values()
    for name, check, case in suite(entry)
]


# Torch warns of itself: its compiler instantiates the function that it traces.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(("check", "case"), SUITE)
def test_it_conforms(check: Check, case: Case) -> None:
    check(case)
