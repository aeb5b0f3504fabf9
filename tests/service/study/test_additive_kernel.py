"""The covariance of candidates, against its definition written out."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.study.additive.features import Family
from service.study.additive.kernel import Kernel
from service.study.additive.space import Space
from tests.service.study.additive_cases import (
    conditional_space,
    plain_space,
    random_codes,
    random_setting,
)

SPACES = {"conditional": conditional_space(), "plain": plain_space(), "two": plain_space(2)}


@pytest.fixture(params=sorted(SPACES))
def space(request: pytest.FixtureRequest) -> Space:
    return SPACES[request.param]


@settings(deadline=None, max_examples=30)
@given(
    sites=st.integers(1, 6),
    choices=st.integers(2, 5),
    seed=st.integers(0, 10**6),
)
def test_every_part_is_positive_semidefinite(sites: int, choices: int, seed: int) -> None:
    space = plain_space(sites, "abcde"[:choices])
    for part in Kernel(space).components(random_codes(space, 40, seed)):
        assert np.linalg.eigvalsh(part).min() > -1e-8


def test_every_part_is_positive_semidefinite_with_options_and_numbers() -> None:
    space = conditional_space()
    for part in Kernel(space).components(random_codes(space, 80)):
        assert np.linalg.eigvalsh(part).min() > -1e-8


def test_the_parts_are_what_their_definitions_say(space: Space) -> None:
    kernel = Kernel(space)
    codes = random_codes(space, 12)
    parts = dict(zip(kernel.parts, kernel.components(codes), strict=True))

    for i, x in enumerate(codes):
        for j, y in enumerate(codes):
            expected = _by_definition(kernel, x, y)
            assert expected == pytest.approx({name: parts[name][i, j] for name in expected})


def test_the_weighted_sum_is_that_of_the_parts(space: Space) -> None:
    kernel = Kernel(space)
    codes, weights = random_codes(space, 20), random_setting(kernel).shares
    expected = np.tensordot(weights, kernel.components(codes), 1)

    np.testing.assert_allclose(kernel.covariance(codes, codes, weights), expected, atol=1e-10)
    np.testing.assert_allclose(kernel.variance(codes, weights), np.diag(expected), atol=1e-10)
    np.testing.assert_allclose(
        kernel.covariance(codes[:3], codes[3:], weights), expected[:3, 3:], atol=1e-10
    )


def test_every_part_has_mean_variance_one() -> None:
    space = plain_space(3, "abc")
    codes = space.enumerate()

    for name, part in zip(Kernel(space).parts, Kernel(space).components(codes), strict=True):
        assert np.diag(part).mean() == pytest.approx(1.0), name


def test_sites_of_one_stage_are_more_alike_than_others() -> None:
    kernel = Kernel(conditional_space())
    first, second, third = (kernel.offsets[axis] for axis in range(3))
    stage, depth = kernel.main["first/stage"], kernel.main["first/depth"]

    assert stage[first, second] > 0
    assert stage[first, third] == 0
    assert depth[first, second] > depth[second, third] > depth[first, third] > 0


def test_hashes_meet_as_often_as_levels_correlate() -> None:
    (family,) = (f for f in Kernel(conditional_space()).families if len(f.axes) == 3)
    levels = family.levels
    keys = levels.hashes(40_000, np.random.default_rng(0))

    meet = (keys[:, :, None] == keys[:, None]).mean(axis=0)
    np.testing.assert_allclose(meet, levels.correlation, atol=0.015)


def _by_definition(kernel: Kernel, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Write out every part between two candidates."""
    total = {}
    axes = {axis: family for family in kernel.families for axis in family.axes}

    def alike(axis: int, other: int, matrix: str) -> float:
        family = axes[axis]
        row = family.members[family.axes.index(axis)][x[axis]]
        column = family.members[family.axes.index(other)][y[other]]
        return float(getattr(family.levels, matrix)[row, column])

    for family in kernel.families:
        name = kernel.space.axes[family.axes[0]].name
        for component in family.couplings:
            total[f"{name}/{component}"] = sum(
                _tie(family, component, s, t) * alike(a, b, "centred") / len(family.axes)
                for s, a in enumerate(family.axes)
                for t, b in enumerate(family.axes)
            )
    pairs = list(combinations(axes, 2))
    total["pairs"] = sum(alike(a, a, "centred") * alike(b, b, "centred") for a, b in pairs) / max(
        len(pairs), 1
    )
    ignored = np.exp(-3.0 / len(axes))
    total["local"] = float(
        np.prod([ignored + (1 - ignored) * alike(a, a, "correlation") for a in axes])
    )
    total["individual"] = float((x == y).all())
    return total


def _tie(family: Family, component: str, s: int, t: int) -> float:
    return {
        "own": 1.0,
        "shared": 1.0,
        "depth": float(np.exp(-abs(family.depths[s] - family.depths[t]) / 0.35)),
        "stage": float(family.stages[s] == family.stages[t]),
        "site": float(s == t),
    }[component]
