"""The space: what candidates there are, and which of them are one network."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution
from optuna.trial import FixedTrial

from search_space.errors import ChoicesClash, NoSuchSite, UnfitActivation
from search_space.search import SearchSpec
from search_space.space.space import Space, make_space
from search_space.spec import ActivationSpec, Candidate, Site, SitePlan, Training


def make_plan(sites: int = 3, channels: int = 16, original: str = "relu") -> SitePlan:
    return SitePlan(
        tuple(
            Site(f"b{i}.act", 4, channels * 2**i, 1, original, str(i // 2), f"b{i}")
            for i in range(sites)
        )
    )


def space_of(plan: SitePlan | None = None, **document: Any) -> Space:
    search = SearchSpec.model_validate({"task": {"name": "t"}, **document})
    return make_space(search, plan or make_plan())


RICH: dict[str, Any] = {
    "choices": [
        "relu",
        "silu",
        {"name": "pwlu", "segments": [4, 8], "share": ["channel", "layer"]},
        {"name": "meta_acon", "reduction": [4, 8, 16]},
    ],
    "hyperparameters": {
        "learning_rate_factor": [0.5, 1],
        "activation_learning_rate_factor": [0.1, 1],
        "realign_after": [0.05, 0.1],
    },
    "sites": {"per": "layer"},
}
RICH_SPACE = space_of(make_plan(2), **RICH)
EVERYTHING = list(RICH_SPACE.enumerate())


@pytest.mark.parametrize(
    ("per", "names"),
    [
        ("network", ["network"]),
        ("stage", ["stage 0", "stage 1"]),
        ("block", ["block b0", "block b1", "block b2"]),
        ("layer", ["b0.act", "b1.act", "b2.act"]),
    ],
)
def test_sites_are_tied_as_asked(per: str, names: list[str]) -> None:
    space = space_of(sites={"per": per}, choices=["relu", "silu"])
    assert [group.name for group in space.groups] == names


@pytest.mark.parametrize(("trials", "groups"), [(29, 2), (30, 3)])
def test_auto_means_layers_where_the_budget_allows_ten_trials_a_site(
    trials: int, groups: int
) -> None:
    space = space_of(budget={"trials": trials}, choices=["relu", "silu"])
    assert len(space.groups) == groups


def test_what_is_excluded_keeps_its_original() -> None:
    space = space_of(sites={"exclude": ["b0.*"], "per": "network"}, choices=["silu"])
    candidate = space.candidate({})
    assert [candidate.sites[f"b{i}.act"].name for i in range(3)] == ["relu", "silu", "silu"]


@pytest.mark.parametrize(
    ("sites", "field"),
    [
        ({"include": "c*"}, "sites.include"),
        ({"exclude": ["x"]}, "sites.exclude"),
        ({"exclude": ["*"]}, "sites.exclude"),
    ],
)
def test_a_pattern_that_leaves_no_site_is_refused(sites: dict[str, Any], field: str) -> None:
    with pytest.raises(NoSuchSite) as caught:
        space_of(sites=sites)
    assert caught.value.field == field


def test_a_choice_that_does_not_fit_a_site_is_refused_by_name() -> None:
    tokens = SitePlan((Site("ff", 3, 64, -1, "gelu", "ff", "ff"),))
    with pytest.raises(UnfitActivation, match="meta_acon does not fit the site 'ff'"):
        space_of(tokens, choices=["meta_acon"])


@given(st.sampled_from(EVERYTHING))
def test_parameters_and_candidates_are_one_thing_said_twice(
    pair: tuple[dict[str, Any], Candidate],
) -> None:
    params, candidate = pair
    assert RICH_SPACE.candidate(params) == candidate
    back = RICH_SPACE.params_of(candidate)
    assert back is not None
    assert RICH_SPACE.key(RICH_SPACE.candidate(back)) == RICH_SPACE.key(candidate)


@given(st.sampled_from(EVERYTHING))
def test_a_canonical_candidate_is_its_own_canonical_form(
    pair: tuple[dict[str, Any], Candidate],
) -> None:
    canonical = RICH_SPACE.canonical(pair[1])
    assert RICH_SPACE.canonical(canonical) == canonical
    assert RICH_SPACE.key(canonical) == RICH_SPACE.key(pair[1])


@settings(max_examples=30, deadline=None)
@given(
    st.sets(st.sampled_from(["relu", "silu", "acon_c", "pwlu", "meta_acon"]), min_size=1),
    st.sampled_from(["network", "layer"]),
    st.sampled_from([[1.0], [0.1, 1.0]]),
    st.sampled_from([[0.05], [0.05, 0.1]]),
)
def test_the_size_is_the_number_of_different_candidates(
    names: set[str], per: str, factors: list[float], phases: list[float]
) -> None:
    options = {"pwlu": {"segments": [4, 8]}, "meta_acon": {"reduction": [2, 4, 8, 16]}}
    space = space_of(
        make_plan(2),
        choices=[{"name": name, **options.get(name, {})} for name in sorted(names)],
        sites={"per": per},
        hyperparameters={
            "learning_rate_factor": [0.5, 1.0],
            "activation_learning_rate_factor": factors,
            "realign_after": phases,
        },
    )
    assert space.size == len({space.key(candidate) for _, candidate in space.enumerate()})


def test_a_range_makes_the_space_infinite() -> None:
    assert space_of(hyperparameters={"learning_rate_factor": {"low": 0.1, "high": 1}}).size == (
        math.inf
    )


def test_meta_acon_is_told_apart_by_its_hidden_width() -> None:
    space = space_of(choices=[{"name": "meta_acon", "reduction": [4, 8, 16]}])
    narrow = {site: ActivationSpec("meta_acon", {"reduction": 8}) for site in ("b0.act",)}

    def key(reduction: int) -> str:
        sites = {"b0.act": ActivationSpec("meta_acon", {"reduction": reduction})}
        return space.key(Candidate(sites))

    # 16 channels: reductions 8 and 16 both come to a hidden width of 4; 2 comes to 8.
    assert key(8) == key(16) == space.key(Candidate(narrow))
    assert key(2) != key(4)


def test_inactive_hyperparameters_do_not_tell_candidates_apart() -> None:
    fixed = {"b0.act": ActivationSpec("silu")}
    learned = {"b0.act": ActivationSpec("acon_c")}
    tuned = Training(activation_learning_rate_factor=0.1, realign_after=0.1)
    key = RICH_SPACE.key
    assert key(Candidate(fixed, tuned)) == key(Candidate(fixed))
    assert key(Candidate(learned, tuned)) != key(Candidate(learned))
    only_phase = Training(realign_after=0.1)
    assert key(Candidate(learned, only_phase)) == key(Candidate(learned))


def test_equal_at_the_start_is_not_equal() -> None:
    """PWLU that starts as ReLU is another network than ReLU, and than PWLU from SiLU."""
    one = {"b0.act": ActivationSpec("pwlu", initial="relu")}
    other = {"b0.act": ActivationSpec("pwlu", initial="silu")}
    plain = {"b0.act": ActivationSpec("relu")}
    assert len({RICH_SPACE.key(Candidate(sites)) for sites in (one, other, plain)}) == 3


def test_learned_choices_start_as_what_they_replace_or_as_their_paper_says() -> None:
    plan = make_plan(original="gelu")
    choices = ["pwlu", "acon_c"]
    original = space_of(plan, choices=choices).uniforms
    paper = space_of(plan, choices=choices, initial="paper").uniforms
    assert {spec.initial for spec in original["pwlu"].sites.values()} == {"gelu"}
    assert {spec.initial for spec in paper["pwlu"].sites.values()} == {"relu"}
    assert {spec.initial for spec in paper["acon_c"].sites.values()} == {"paper"}


def test_a_uniform_network_has_the_entrys_defaults_at_every_site() -> None:
    space = space_of(choices=[{"name": "pwlu", "segments": [4, 16, 32]}], sites={"per": "layer"})
    specs = set(map(str, space.uniforms["pwlu"].sites.values()))
    assert len(specs) == 1
    assert all(spec.params["segments"] == 16 for spec in space.uniforms["pwlu"].sites.values())


def test_the_original_lies_in_the_space_when_its_activation_is_offered() -> None:
    assert space_of(choices=["silu", "acon_c"]).params_of(space_of().original) is None
    offered = space_of(choices=["relu", "silu"], sites={"per": "network"})
    assert offered.params_of(offered.original) == {"network": "relu"}
    tuned = space_of(choices=["relu"], hyperparameters={"learning_rate_factor": [0.5, 2]})
    assert tuned.params_of(tuned.original) is None
    # That of activations that learn nothing does not matter.
    factors = {"activation_learning_rate_factor": [0.5, 2], "learning_rate_factor": [0.5, 1]}
    tuned = space_of(choices=["relu"], hyperparameters=factors)
    params = tuned.params_of(tuned.original)
    assert params is not None
    assert tuned.key(tuned.candidate(params)) == tuned.key(tuned.original)


def test_suggestions_come_in_a_fixed_order_and_only_where_there_is_a_choice() -> None:
    params = {
        "stage 0": "pwlu",
        "stage 0/pwlu/segments": 4,
        "stage 1": "relu",
    }
    choices = ["relu", {"name": "pwlu", "segments": [4, 8]}]
    space = space_of(choices=choices, sites={"per": "stage"})
    assert list(space.suggest(FixedTrial(params)).items()) == list(params.items())
    distributions = space.distributions(params)
    assert distributions["stage 0"] == CategoricalDistribution(("relu", "pwlu"))
    assert list(distributions) == list(params)


FLAT = {**RICH, "sampler": {"encoding": "flat"}}


def test_flat_variants_are_the_same_candidates_under_one_parameter_a_group() -> None:
    flat = space_of(make_plan(2), **FLAT)
    assert flat.size == RICH_SPACE.size
    keys = [{s.key(c) for _, c in s.enumerate()} for s in (flat, RICH_SPACE)]
    assert keys[0] == keys[1]
    activations = [name for name in flat.every_distribution if not name.startswith("training/")]
    assert activations == ["b0.act", "b1.act"]
    labels = flat.every_distribution["b0.act"]
    assert isinstance(labels, CategoricalDistribution)
    assert labels.choices == (
        *("relu", "silu"),
        *("pwlu-4-channel", "pwlu-4-layer", "pwlu-8-channel", "pwlu-8-layer"),
        *("meta_acon-4", "meta_acon-8", "meta_acon-16"),
    )


@given(st.sampled_from(EVERYTHING))
def test_a_flat_label_and_its_parameters_mean_the_same(
    pair: tuple[dict[str, Any], Candidate],
) -> None:
    flat = space_of(make_plan(2), **FLAT)
    params = flat.params_of(pair[1])
    assert params is not None
    assert flat.key(flat.candidate(params)) == RICH_SPACE.key(pair[1])
    assert list(flat.suggest(FixedTrial(params))) == list(params)


def test_every_parameter_has_one_distribution_whatever_is_chosen() -> None:
    for params, _ in EVERYTHING[::7]:
        distributions = RICH_SPACE.distributions(params)
        assert list(distributions) == list(params)
        assert distributions.items() <= RICH_SPACE.every_distribution.items()


SOME: dict[str, Any] = {
    "choices": ["relu", "silu", {"name": "pwlu", "segments": [4, 8]}],
    "sites": {"per": "layer", "choices": {"b0*": ["relu", "gelu"], "b2*": "tanh"}},
}


def test_sites_have_the_choices_of_their_pattern() -> None:
    space = space_of(**SOME)
    names: dict[str, set[str]] = {site: set() for site in ("b0.act", "b1.act", "b2.act")}
    for _, candidate in space.enumerate():
        for site, spec in candidate.sites.items():
            names[site].add(spec.name)
    assert names["b0.act"] == {"relu", "gelu"}
    assert names["b1.act"] == {"relu", "silu", "pwlu"}
    assert names["b2.act"] == {"tanh"}, "a single choice fixes a site"
    assert space.size == 2 * 4 == len({space.key(c) for _, c in space.enumerate()})
    assert set(space.every_distribution) == {"b0.act", "b1.act", "b1.act/pwlu/segments"}


def test_a_uniform_network_has_its_choice_wherever_that_is_offered() -> None:
    uniforms = {
        name: [spec.name for spec in candidate.sites.values()]
        for name, candidate in space_of(**SOME).uniforms.items()
    }
    assert uniforms["relu"] == ["relu", "relu", "tanh"]
    assert uniforms["silu"] == ["relu", "silu", "tanh"], "the original where it is not offered"
    assert uniforms["gelu"] == ["gelu", "relu", "tanh"]


def test_sites_with_different_choices_are_not_tied() -> None:
    sites = {"per": "network", "choices": {"b1*": ["gelu"]}}
    space = space_of(choices=["relu", "silu"], sites=sites)
    tied = {group.name: [site.id for site in group.sites] for group in space.groups}
    assert tied == {
        "network from b0.act": ["b0.act", "b2.act"],
        "network from b1.act": ["b1.act"],
    }


def test_fixed_sites_need_no_trials() -> None:
    fixed = {"choices": {"b1*": "relu", "b2*": "relu"}}
    space = space_of(choices=["relu", "silu"], sites=fixed, budget={"trials": 10})
    assert {group.name for group in space.groups} == {"b0.act", "b1.act", "b2.act"}
    tied = space_of(choices=["relu", "silu"], budget={"trials": 10})
    assert {group.name for group in tied.groups} == {"stage 0", "stage 1"}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"b0*": ["silu"], "*act": ["gelu"]}, r"'b0\*' and '\*act' differ, and both match"),
        (
            {"b0*": {"name": "composed", "first": ["tanh"]}, "b1*": "composed"},
            "composed has the same values at all sites",
        ),
    ],
)
def test_choices_that_contradict_each_other_are_refused(
    choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(ChoicesClash, match=message) as caught:
        space_of(choices=["relu"], sites={"choices": choices})
    assert caught.value.field == "sites.choices"


def test_a_pattern_of_choices_that_matches_nothing_is_refused() -> None:
    with pytest.raises(NoSuchSite, match=r"sites.choices: 'c\*' matches no site"):
        space_of(sites={"choices": {"c*": "relu"}})


def test_a_choice_of_a_pattern_must_fit_its_sites() -> None:
    plan = SitePlan((*make_plan(1).sites, Site("ff", 3, 64, -1, "gelu", "ff", "ff")))
    choices = ["relu", "meta_acon"]
    assert space_of(plan, choices=choices, sites={"choices": {"ff": ["relu", "silu"]}}).size
    with pytest.raises(UnfitActivation, match="meta_acon does not fit the site 'ff'"):
        space_of(plan, choices=["relu"], sites={"choices": {"ff": choices}})
