"""Which levels the parameters of a study have, and how alike they are."""

from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from service.study.additive.conditions import observed_parents
from service.study.additive.features import families_of
from service.study.additive.levels import cells_of
from service.study.additive.space import MOST_LEVELS, Parent, make_space
from tests.service.study.additive_cases import CONDITIONAL, conditional_space, random_codes


def test_a_choice_with_options_is_an_axis_with_a_level_for_each_variant() -> None:
    space = conditional_space()

    assert [axis.name for axis in space.axes] == ["first", "second", "third", "rate"]
    assert space.sizes[:3] == (5, 5, 5)


def test_parameters_that_are_not_active_make_no_difference() -> None:
    space = conditional_space()
    params = {"first": "relu", "second": "gelu", "third": "relu", "rate": 1e-3}

    assert space.encode(params) == space.encode(params | {"first/pwlu/segments": 16})


def test_every_candidate_survives_a_round_trip() -> None:
    space = conditional_space()
    rng = np.random.default_rng(0)

    for code in random_codes(space, 200).tolist():
        params = space.decode(code, rng)
        assert space.encode(params) == tuple(code)
        assert 1e-4 <= params["rate"] <= 1e-1


def test_values_outside_the_space_are_no_candidate() -> None:
    space = conditional_space()
    params = {"first": "relu", "second": "gelu", "third": "relu", "rate": 1e-3}

    assert space.encode(params | {"first": "tanh"}) is None
    assert space.encode(params | {"rate": 3.0}) is None
    assert space.encode({"other": 1}) is None


@pytest.mark.parametrize(
    "distribution",
    [
        CategoricalDistribution((4, 8, 16)),
        IntDistribution(4, 16, step=4),
        CategoricalDistribution(("pwlu-4", "pwlu-8", "pwlu-16")),
    ],
)
def test_neighbours_in_an_order_are_more_alike(distribution: BaseDistribution) -> None:
    (family,) = families_of(make_space({"segments": distribution}))
    alike = family.levels.correlation

    assert alike[0, 1] > alike[0, 2]
    assert alike[1, 2] > alike[0, 2]


def test_steps_of_a_factor_are_equally_long() -> None:
    positions = [cell.position for cell in cells_of(CategoricalDistribution((4, 8, 16)))]

    assert positions == pytest.approx([0, 0.5, 1])


def test_versions_of_an_activation_are_alike_and_others_are_not() -> None:
    choices = CategoricalDistribution(("relu", "pwlu-4", "pwlu-8", "pwlu-16"))
    (family,) = families_of(make_space({"site": choices}))
    alike = family.levels.correlation

    assert alike[0, 1:] == pytest.approx([0, 0, 0])
    assert 1 > alike[1, 2] > alike[1, 3] >= 0.5


def test_options_of_one_choice_are_alike_in_a_conditional_space_too() -> None:
    space = conditional_space()
    (family,) = (f for f in families_of(space) if len(f.axes) == 3)
    level = {level[1:]: number for number, level in enumerate(space.axes[0].levels) if level[1:]}
    four, eight, sixteen = (level[(("first/pwlu/segments", i),)] for i in range(3))
    alike = family.levels.correlation

    assert 1 > alike[four, eight] > alike[four, sixteen] >= 0.5


def test_sites_are_one_family_and_hyperparameters_are_not_of_it() -> None:
    distributions: dict[str, BaseDistribution] = {
        "one": CategoricalDistribution(("relu", "gelu")),
        "batch": CategoricalDistribution((16, 32, 64)),
        "two": CategoricalDistribution(("relu", "gelu", "silu")),
        "epochs": CategoricalDistribution((16, 32, 64)),
    }

    assert make_space(distributions).families == ((0, 2), (1,), (3,))


def test_sites_that_offer_different_choices_share_what_they_have_in_common() -> None:
    space = make_space(
        {
            "one": CategoricalDistribution(("relu", "gelu")),
            "two": CategoricalDistribution(("gelu", "silu")),
        }
    )
    (family,) = families_of(space)

    assert [members.tolist() for members in family.members] == [[0, 1], [1, 2]]
    assert set(space.uniforms) == {"relu", "gelu", "silu"}
    assert space.uniforms["gelu"] == (1, 0)


def test_trials_show_on_what_a_parameter_depends() -> None:
    distributions: dict[str, BaseDistribution] = {
        "optimizer": CategoricalDistribution(("sgd", "adam")),
        "layers": CategoricalDistribution(("one", "two")),
        "momentum": FloatDistribution(0, 1),
    }
    trials: list[dict[str, Any]] = [
        {"optimizer": "sgd", "layers": "one", "momentum": 0.5},
        {"optimizer": "sgd", "layers": "two", "momentum": 0.2},
        {"optimizer": "adam", "layers": "one"},
        {"optimizer": "adam", "layers": "two"},
    ]

    found = observed_parents(trials, distributions)

    assert found == {"momentum": Parent("optimizer", frozenset({0}))}


def test_a_parameter_that_nothing_decides_has_no_parent() -> None:
    distributions: dict[str, BaseDistribution] = {
        "optimizer": CategoricalDistribution(("sgd", "adam")),
        "momentum": FloatDistribution(0, 1),
    }
    trials: list[dict[str, Any]] = [
        {"optimizer": "sgd", "momentum": 0.5},
        {"optimizer": "sgd"},
        {"optimizer": "adam"},
    ]

    assert observed_parents(trials, distributions) == {}


def test_an_axis_that_would_have_too_many_levels_is_taken_apart() -> None:
    distributions: dict[str, BaseDistribution] = {
        "site": CategoricalDistribution(("relu", "much")),
        **{f"site/much/{n}": CategoricalDistribution(tuple(range(6))) for n in range(4)},
    }
    space = make_space(distributions)

    assert len(space.axes) == 5
    assert max(space.sizes) <= MOST_LEVELS
    params = {"site": "much"} | {f"site/much/{n}": n for n in range(4)}
    assert space.encode(params) == (1, 0, 1, 2, 3)


def test_a_parameter_with_one_value_is_no_axis() -> None:
    space = make_space(CONDITIONAL | {"fixed": CategoricalDistribution(("only",))})

    assert space.sizes == conditional_space().sizes
