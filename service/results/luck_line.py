"""The luck line: what the best of equal networks would show."""

from statistics import NormalDist

from service.results.ranking import OriginalResults

MIN_SEEDS_FOR_LUCK = 3


def luck(original: OriginalResults, count: int, *, maximize: bool) -> float | None:
    """Return the value that the best of `count` networks as good as the original has by luck.

    The expected extreme of n normal values (Blom): mean + s * quantile((n - 0.375)/(n + 0.25)).
    None below three seeds, since the spread is not known well enough then.
    """
    if len(original.values) < MIN_SEEDS_FOR_LUCK or count < 1:
        return None
    middle, spread = original.mean, original.spread
    assert middle is not None
    assert spread is not None
    reach = spread * NormalDist().inv_cdf((count - 0.375) / (count + 0.25))
    return middle + reach if maximize else middle - reach
