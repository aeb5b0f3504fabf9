"""Rows of tables that the report and the paper share."""

from service.bundle.data import BundleData
from service.schemas.labels import difference_text, interval_text, short_trial_name, value_text
from service.schemas.results import ComparisonAnswer

Row = tuple[str, ...]


def ranking_rows(data: BundleData, limit: int) -> list[Row]:
    """Return name, value, seeds and gain: of the original, then of the best `limit` candidates."""
    metric, original = data.metric, data.best.original
    rows: list[Row] = [
        ("original", value_text(metric, original.mean), str(len(original.values)), "-")
    ]
    rows += [
        (
            short_trial_name(row.number, row.label),
            value_text(metric, row.value),
            str(row.seeds),
            difference_text(metric, row.gain),
        )
        for row in data.best.ranking[:limit]
    ]
    return rows


def gain_text(data: BundleData, found: ComparisonAnswer) -> str:
    """Write the gain of the winner over another network on test data, with its interval."""
    return interval_text(data.test_metric, found.difference, found.low, found.high)
