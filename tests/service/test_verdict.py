"""The verdict's statistics, at the rates that they promise."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from service.results.verdict import Sample, compare, holm, judge

DRAWS = 2000


def sample(label: str, *values: float) -> Sample:
    return Sample(label, values)


def test_the_interval_is_welchs() -> None:
    ours, theirs = (0.90, 0.92, 0.91, 0.93), (0.88, 0.86, 0.90, 0.91)
    comparison = compare(sample("winner", *ours), sample("original", *theirs), maximize=True)
    expected = ttest_ind(ours, theirs, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert comparison.difference == pytest.approx(0.0275)
    assert (comparison.low, comparison.high) == pytest.approx((interval.low, interval.high))
    assert comparison.p == pytest.approx(expected.pvalue)


def test_a_metric_to_minimise_turns_the_sign() -> None:
    winner, original = sample("winner", 0.3, 0.31), sample("original", 0.4, 0.42)
    up = compare(winner, original, maximize=True)
    down = compare(winner, original, maximize=False)
    assert down.difference == pytest.approx(-up.difference) == pytest.approx(0.105)
    assert (down.low, down.high) == pytest.approx((-up.high, -up.low))


@pytest.mark.parametrize(("theirs", "p"), [(0.9, 1.0), (0.8, 0.0)])
def test_samples_without_spread_differ_surely_or_not_at_all(theirs: float, p: float) -> None:
    comparison = compare(sample("a", 0.9, 0.9), sample("b", theirs, theirs), maximize=True)
    assert comparison.p == p
    assert comparison.low == comparison.high == comparison.difference


@pytest.mark.parametrize(
    ("p_values", "holding"),
    [
        ((0.02, 0.04), (True, True)),
        ((0.03, 0.001), (True, True)),
        ((0.03, 0.04), (False, False)),
        ((0.001, 0.2), (True, False)),
        ((0.06,), (False,)),
        ((0.04,), (True,)),
    ],
)
def test_holms_correction(p_values: tuple[float, ...], holding: tuple[bool, ...]) -> None:
    from service.results.verdict import Comparison

    given = [Comparison(str(i), 0.1, 0.0, 0.2, p) for i, p in enumerate(p_values)]
    assert tuple(one.holds for one in holm(given)) == holding


def test_the_gain_is_over_the_better_of_the_originals() -> None:
    own, tuned = sample("own", 0.80, 0.81), sample("tuned", 0.85, 0.86)
    (comparison,) = judge(sample("winner", 0.9, 0.91), [own, tuned], None, maximize=True)
    assert comparison.against == "tuned"


def confirmed_share(gain: float, rng: np.random.Generator, seeds: tuple[int, ...] = ()) -> float:
    """Return how often a winner with a true gain over both rivals is confirmed.

    Args:
        seeds: Those that the networks share, each with an effect of its own; empty: none.
    """
    confirmed = 0
    for _ in range(DRAWS):
        shared = rng.normal(0, 2, 8) if seeds else np.zeros(8)
        winner = Sample("winner", tuple(shared + rng.normal(gain, 1, 8)), seeds)
        original = Sample("original", tuple(shared + rng.normal(0, 1, 8)), seeds)
        uniform = Sample("uniform", tuple(shared + rng.normal(0, 1, 8)), seeds)
        found = judge(winner, [original], uniform, maximize=True)
        confirmed += any(one.holds and one.difference > 0 for one in found)
    return confirmed / DRAWS


@pytest.mark.parametrize("seeds", [(), tuple(range(8))])
def test_what_is_not_there_is_confirmed_as_rarely_as_promised(seeds: tuple[int, ...]) -> None:
    # One-sided, so half of the level at most; three standard errors of 2,000 draws above it.
    share = confirmed_share(0.0, np.random.default_rng(0), seeds)
    assert 0 < share <= 0.025 + 3 * 0.0035


def test_what_is_there_is_confirmed_nearly_always() -> None:
    assert confirmed_share(3.0, np.random.default_rng(1)) >= 0.99


def test_looking_again_and_again_claims_no_more_than_is_promised() -> None:
    """Somebody extends a search without a gain until it is confirmed, or eight times."""
    rng = np.random.default_rng(2)

    def is_claimed(looks: int) -> bool:
        winner, original = (sample(name, *rng.normal(0, 1, 8)) for name in ("winner", "original"))
        (found,) = judge(winner, [original], None, maximize=True, looks=looks)
        return found.holds and found.difference > 0

    claimed = sum(any(is_claimed(look) for look in range(1, 9)) for _ in range(DRAWS)) / DRAWS
    assert 0.025 < claimed <= 0.05 + 3 * 0.0049


def test_what_a_seed_does_to_all_networks_drops_out_of_a_paired_test() -> None:
    seeds = tuple(range(6))
    offsets = (0.0, 0.4, -0.3, 0.1, -0.2, 0.3)
    gains = (0.010, 0.012, 0.009, 0.011, 0.010, 0.013)
    rival = Sample("rival", offsets, seeds)
    winner = Sample("winner", tuple(o + g for o, g in zip(offsets, gains, strict=True)), seeds)
    paired = compare(winner, rival, maximize=True)
    unpaired = compare(Sample("winner", winner.values), Sample("rival", offsets), maximize=True)
    assert paired.p < 1e-4 < 0.9 < unpaired.p
    assert paired.difference == pytest.approx(sum(gains) / 6)
    assert 0.009 < paired.low < paired.difference < paired.high < 0.013
    assert compare(winner, rival, maximize=False).difference == -paired.difference


def test_a_seed_that_one_network_lacks_is_left_out_of_a_paired_test() -> None:
    winner = Sample("winner", (0.6, 0.9, 0.7, 0.5), (0, 1, 2, 3))
    rival = Sample("rival", (0.5, 0.6, 0.45), (0, 2, 3))
    assert compare(winner, rival, maximize=True).difference == pytest.approx(0.25 / 3)
    alone = Sample("rival", (0.5, 0.6), (4, 0))
    welch = compare(winner, alone, maximize=True)
    assert welch.difference == pytest.approx(0.675 - 0.55), "one shared seed is no pair of seeds"
