"""What the entries say, and what they refuse."""

import math
from typing import Any

import pytest

from search_space.catalog.entry import Entry, Parameter
from search_space.catalog.lookup import CATALOG, validate
from search_space.errors import BadParameter
from search_space.spec import ActivationSpec

ENTRIES = pytest.mark.parametrize("entry", CATALOG.values(), ids=CATALOG)


@ENTRIES
def test_an_entry_is_complete(entry: Entry) -> None:
    assert entry.formula
    assert entry.source
    assert 1980 <= entry.year <= 2030 or entry.name == "identity"
    assert entry.learned == bool(entry.shares) == any(entry.learned_parameters.values())
    assert entry.flops >= 0
    assert entry.kept >= 0
    for parameter in entry.parameters:
        assert parameter.meaning
        parameter.check(entry.name, parameter.default)
    for start in entry.starts:
        assert start in CATALOG
    assert entry.load().__doc__


def test_no_two_entries_have_a_name_or_a_module_in_common() -> None:
    entries = list(CATALOG.values())
    assert len({entry.target for entry in entries}) == len(entries)
    assert all(name == entry.name for name, entry in CATALOG.items())


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ActivationSpec("meta_acon", {"norm": "instance"}), "one of batch, layer, none"),
        (ActivationSpec("meta_acon", {"norm": None}), "of type str"),
        (ActivationSpec("pwlu", {"bounds": 0.0}), "between 0.01 and 1e+06"),
        (ActivationSpec("pwlu", {"bounds": "wide"}), "of type float or null"),
        (ActivationSpec("pwlu", {"bounds": math.nan}), "between 0.01 and 1e+06"),
        (ActivationSpec("pwlu", {"snap_zero": 1}), "of type bool"),
        (ActivationSpec("leaky_relu", {"negative_slope": True}), "of type float"),
        (ActivationSpec("composed", {"first": "max"}), "one of identity, negative"),
    ],
)
def test_what_a_parameter_does_not_take_is_refused(spec: ActivationSpec, expected: str) -> None:
    with pytest.raises(BadParameter) as caught:
        validate(spec)
    assert expected in caught.value.expected


@pytest.mark.parametrize("params", [{"bounds": None}, {"bounds": 2}, {"snap_zero": True}])
def test_what_it_takes_is_taken(params: dict[str, Any]) -> None:
    validate(ActivationSpec("pwlu", params))


def test_a_limit_may_be_on_one_side() -> None:
    parameter = Parameter("rate", 1.0, 0, meaning="a rate")
    parameter.check("x", 1e9)
    with pytest.raises(BadParameter, match="at least 0"):
        parameter.check("x", -1.0)
