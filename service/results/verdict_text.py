"""The texts of a verdict, and of what limits it."""

from collections.abc import Sequence

from search_space.contract import test_metric
from search_space.search import metric_in, weights_in
from service.results.confirmation import Agreement
from service.results.early_stopping import EarlyStops
from service.results.verdict import Comparison, describe, level_of
from service.store.models import Search


def claim(
    search: Search, comparisons: Sequence[Comparison], *, seeds: int, failed: int, looks: int
) -> str:
    """Return the text of a verdict: what the winner's comparisons show, and what they do not.

    Args:
        seeds: Seeds on which the winner was trained to its end.
        failed: Further seeds on which its training failed.
        looks: How often test data was used for a verdict on the search.
    """
    parts = [describe(comparisons, test_metric(metric_in(search.document)), _cost(search, seeds))]
    if failed:
        parts.append(
            f"on {failed} of {seeds + failed} seeds its training failed, which is left out"
        )
    if looks > 1:
        parts.append(_level_text(looks))
    return "; ".join(parts)


def notes(stops: EarlyStops, agreement: Agreement | None, looks: int) -> list[str]:
    """Return sentences on how reliable the results of the search are."""
    found = []
    if stops.stopped:
        found.append(_early_stopping_note(stops))
    if agreement is not None:
        found.append(_agreement_note(agreement))
    if looks:
        times = "once" if looks == 1 else f"{looks} times"
        found.append(f"Test data was looked at {times} for a verdict.")
    return found


def _early_stopping_note(stops: EarlyStops) -> str:
    start = "1 trial was" if stops.stopped == 1 else f"{stops.stopped} trials were"
    if not stops.ran_on:
        return (
            f"{start} stopped early; none of them has been trained to its end, so it is not known "
            "how often that was wrong."
        )
    whose = "its end" if stops.ran_on == 1 else "their end"
    return (
        f"{start} stopped early; {stops.ran_on} of them {'was' if stops.ran_on == 1 else 'were'} "
        f"trained to {whose} to see whether that was right: {stops.beat_median} came out better "
        f"than the median of those that were not stopped, {stops.beat_best} better than the best "
        "of them."
    )


def _agreement_note(agreement: Agreement) -> str:
    epochs = "the search's" if agreement.epochs is None else f"of {agreement.epochs}"
    start = (
        f"Trainings {epochs} and of {agreement.confirm_epochs} epochs rank "
        f"{agreement.candidates} candidates"
    )
    if agreement.tau is None:
        return f"{start}, but all values of one length are equal."
    return (
        f"{start} with Kendall's tau of {agreement.tau:.2f} (1: in the same order, -1: in the "
        "opposite one)."
    )


def _level_text(looks: int) -> str:
    level = 100 * level_of(looks)
    return f"this is look {looks} at the test data, so the level is {level:.3g} % instead of 5 %"


def _cost(search: Search, seeds: int) -> str:
    epochs = search.document["confirm"]["epochs"] or search.pinned["epochs"]
    length = "" if epochs is None else f", {epochs} epochs"
    tuned = "" if weights_in(search.document) is None else ", by fine-tuning the given weights"
    return f"{seeds} seeds{length}{tuned}"
