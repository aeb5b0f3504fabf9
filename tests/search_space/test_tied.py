"""Composed units: what is chosen for one site is chosen for all that have one."""

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FixedTrial

from search_space.search import SearchSpec
from search_space.space.space import Space, make_space
from search_space.spec import Candidate, Site, SitePlan

PLAN = SitePlan(tuple(Site(f"b{i}.act", 4, 16, 1, "relu", str(i), f"b{i}") for i in range(3)))
COMPOSED = {"name": "composed", "first": ["identity", "tanh"], "binary": ["multiply", "maximum"]}


def space_of(*choices: Any, per: str = "layer") -> Space:
    document = {"task": {"name": "t"}, "choices": list(choices), "sites": {"per": per}}
    return make_space(SearchSpec.model_validate(document), PLAN)


@pytest.mark.parametrize(
    "choices",
    [
        ["relu", COMPOSED],
        [COMPOSED],
        ["relu", "silu", COMPOSED],
        [COMPOSED, {"name": "pwlu", "segments": [4, 8]}],
        [COMPOSED, {"name": "pwlu", "segments": [4, 8], "bounds": [None, 2]}],
        ["relu", {**COMPOSED, "share": ["channel", "layer"]}],
    ],
)
@pytest.mark.parametrize("per", ["layer", "network"])
def test_all_sites_with_it_have_the_same_and_the_size_counts_them(
    choices: list[Any], per: str
) -> None:
    space = space_of(*choices, per=per)
    keys = set()
    for params, candidate in space.enumerate():
        specs = {str(s) for s in candidate.sites.values() if s.name == "composed"}
        assert len(specs) <= 1
        keys.add(space.key(candidate))
        back = space.params_of(candidate)
        assert back is not None
        assert space.key(space.candidate(back)) == space.key(candidate)
        assert space.key(space.candidate(params)) == space.key(candidate)
    assert space.size == len(keys)


def test_it_is_drawn_once_for_the_network() -> None:
    space = space_of("relu", COMPOSED)
    params = {
        "b0.act": "composed",
        "network/composed/binary": "maximum",
        "network/composed/first": "tanh",
        "b1.act": "relu",
        "b2.act": "composed",
    }
    assert list(space.suggest(FixedTrial(params)).items()) == list(params.items())
    first = space.distributions(params)["network/composed/first"]
    assert first == CategoricalDistribution(("identity", "tanh"))


def test_sites_that_differ_in_it_lie_outside_the_space() -> None:
    space = space_of("relu", COMPOSED)
    one = space.candidate({"b0.act": "composed", "network/composed/first": "tanh"})
    other = space.candidate({"b1.act": "composed"})
    mixed = Candidate({**one.sites, "b1.act": other.sites["b1.act"]})
    assert space.params_of(one) is not None
    assert space.params_of(mixed) is None


def test_networks_of_a_small_network_are_told_apart_by_what_they_are() -> None:
    def key(**params: Any) -> str:
        space = space_of({"name": "meta_acon", **params}, per="network")
        return space.key(space.uniforms["meta_acon"])

    # Neither reduction nor norm matter where there is no network.
    assert key(switch="pixel") == key(switch="pixel", reduction=4, norm="none")
    assert key(switch="pixel") != key(switch="layer") != key()
    # 16 channels: both come to a hidden width of 16.
    assert key(reduction=1) == key(reduction=16, rule="official") != key(norm="layer", reduction=1)


def test_bounds_that_are_fixed_leave_no_phase() -> None:
    assert space_of({"name": "pwlu", "bounds": [None, 2.0]}).has_phases
    fixed = space_of({"name": "pwlu", "bounds": 2})
    assert not fixed.has_phases
    (spec, *_) = fixed.canonical(fixed.uniforms["pwlu"]).sites.values()
    assert spec.params["bounds"] == 2.0
    assert isinstance(spec.params["bounds"], float)


def test_a_choice_needs_the_dimensions_that_it_needs() -> None:
    vector = SitePlan((Site("head", 2, 16, 1, "relu", "head", "root"),))
    document = {"task": {"name": "t"}, "choices": ["frelu"]}
    with pytest.raises(ValueError, match=r"frelu does not fit the site 'head'.* 4 dimensions"):
        make_space(SearchSpec.model_validate(document), vector)
