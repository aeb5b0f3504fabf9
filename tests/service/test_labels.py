"""How values, differences and trials are written for people."""

import pytest

from service.schemas.labels import (
    difference_text,
    interval_text,
    mean_text,
    metric_label,
    short_trial_name,
    trial_name,
    value_text,
)

ACCURACY, LOSS = "test_accuracy", "validation_mse"


def test_fractions_are_written_in_percent_and_their_differences_in_points() -> None:
    assert value_text(ACCURACY, 0.9152) == "91.52 %"
    assert value_text("test_mean_iou", 0.5) == "50.00 %"
    assert difference_text(ACCURACY, 0.0031) == "+0.31 points"
    assert interval_text(ACCURACY, 0.0031, -0.001, 0.0072) == "+0.31 points [-0.10, 0.72]"


def test_small_values_of_other_metrics_keep_their_digits() -> None:
    assert value_text(LOSS, 0.0012345) == "0.001234"
    assert difference_text(LOSS, 0.0031) == "+0.0031"
    assert interval_text(LOSS, -0.0031, -0.004, 0.001) == "-0.0031 [-0.004, 0.001]"


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        (LOSS, (0.001, 0.003), "0.002 ± 0.001414"),
        (ACCURACY, (0.5, 0.5), "50.00 ± 0.00 %"),
        (ACCURACY, (0.5,), "50.00 %"),
    ],
)
def test_a_mean_has_its_deviation_if_there_are_several_values(
    metric: str, values: tuple[float, ...], expected: str
) -> None:
    assert mean_text(metric, values) == expected


def test_what_is_not_known_is_a_dash() -> None:
    assert value_text(ACCURACY, None) == difference_text(LOSS, None) == "-"


def test_a_trial_is_named_by_its_label_and_number() -> None:
    assert (trial_name(3, None), trial_name(3, "uniform silu")) == (
        "trial 3",
        "uniform silu, trial 3",
    )
    assert (short_trial_name(3, None), short_trial_name(3, "winner")) == ("trial 3", "winner")
    assert metric_label(ACCURACY) == "test accuracy"
