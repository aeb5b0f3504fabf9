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


def confirmed_share(gain: float, rng: np.random.Generator) -> float:
    """Return how often a winner with a true gain over both rivals is confirmed."""
    confirmed = 0
    for _ in range(DRAWS):
        winner = sample("winner", *rng.normal(gain, 1, 8))
        original = sample("original", *rng.normal(0, 1, 8))
        uniform = sample("uniform", *rng.normal(0, 1, 8))
        found = judge(winner, [original], uniform, maximize=True)
        confirmed += any(one.holds and one.difference > 0 for one in found)
    return confirmed / DRAWS


def test_what_is_not_there_is_confirmed_as_rarely_as_promised() -> None:
    # One-sided, so half of the level at most; three standard errors of 2,000 draws above it.
    assert confirmed_share(0.0, np.random.default_rng(0)) <= 0.025 + 3 * 0.0035


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
