"""The search document: read, written, refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from search_space.catalog.lookup import CATALOG, Parameter, initial_for, validate
from search_space.errors import BadParameter, SitesDiffer, UnknownActivation
from search_space.search import SearchSpec
from search_space.spec import ActivationSpec

TASK = {"name": "image-classification"}


def test_only_the_task_is_required_and_every_default_is_written_out() -> None:
    written = SearchSpec.model_validate({"task": TASK}).model_dump(mode="json")
    assert written["budget"]["trials"] == 40
    standard = [name for name, entry in CATALOG.items() if entry.standard]
    assert [choice["name"] for choice in written["choices"]] == standard
    assert written["sites"] == {
        "per": "auto",
        "include": "*",
        "exclude": [],
        "choices": {},
    }


CHOICES = st.lists(
    st.one_of(
        st.sampled_from(["relu", "silu", "gelu", "acon_c"]),
        st.builds(
            lambda segments, share: {"name": "pwlu", "segments": segments, "share": share},
            st.one_of(st.integers(2, 64), st.lists(st.integers(2, 64), min_size=1, unique=True)),
            st.sampled_from(["layer", ["channel", "layer"]]),
        ),
    ),
    min_size=1,
    unique_by=lambda choice: choice if isinstance(choice, str) else choice["name"],
)


@given(CHOICES, st.integers(1, 500), st.sampled_from(["tpe", "random"]))
def test_a_document_reads_back_what_it_wrote(choices: Any, trials: int, sampler: str) -> None:
    document = SearchSpec.model_validate(
        {
            "task": TASK | {"dataset": "digits"},
            "choices": choices,
            "budget": {"trials": trials},
            "sampler": {"name": sampler},
            "hyperparameters": {"learning_rate_factor": [0.5, 1]},
        }
    )
    assert SearchSpec.model_validate_json(document.model_dump_json()) == document


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        SearchSpec.model_validate({"task": TASK, "colour": "blue"})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ActivationSpec("swosh"), "no activation named 'swosh'; the catalogue has relu"),
        (ActivationSpec("pwlu", {"segments": 99}), "segments must be between 2 and 64, got 99"),
        (ActivationSpec("pwlu", {"segments": True}), "segments must be of type int, got True"),
        (ActivationSpec("relu", {"slope": 1}), r"slope must be one of its parameters \(none"),
        (ActivationSpec("meta_acon", share="layer"), "share must be one of channel"),
        (
            ActivationSpec("acon_c", initial="sine"),
            "initial must be one of silu, relu, gelu, paper",
        ),
        (ActivationSpec("relu", initial="silu"), "initial must be left out"),
    ],
)
def test_a_spec_is_checked_by_name(spec: ActivationSpec, message: str) -> None:
    with pytest.raises((BadParameter, UnknownActivation), match=message):
        validate(spec)


def test_a_float_parameter_takes_whole_numbers_and_an_int_parameter_no_fractions() -> None:
    Parameter("beta", 1.0, 0, 10, "slope").check("swish", 2)
    with pytest.raises(BadParameter, match="of type int"):
        Parameter("segments", 8, 2, 64, "pieces").check("pwlu", 8.0)


@pytest.mark.parametrize("name", list(CATALOG))
def test_every_start_that_the_catalogue_promises_is_one_it_has(name: str) -> None:
    entry = CATALOG[name]
    for original in CATALOG:
        for policy in ("original", "paper"):
            start = initial_for(entry, original=original, policy=policy)
            assert start is None or start in entry.initials
            assert entry.learned or start is None


def test_a_difference_of_sites_is_told_whole() -> None:
    message = str(SitesDiffer(["a"], ["b", "c"], ["d"]))
    assert "missing from the network: a" in message
    assert "in the network but not in the config: b, c" in message
    assert "of another size or original: d" in message
