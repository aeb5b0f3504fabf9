"""Pictures of activations: the numbers behind them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from search_space.catalog.lookup import CATALOG
from search_space.conformance.curve import curve


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_every_activation_has_a_curve_with_a_derivative(name: str) -> None:
    x, y, slope = curve(name)
    assert x.shape == y.shape == slope.shape
    assert y.isfinite().all()
    assert slope.isfinite().all()


def test_the_derivative_is_that_of_the_curve() -> None:
    x, y, slope = curve("silu")
    torch.testing.assert_close(y, x * torch.sigmoid(x))
    measured = (y[2:] - y[:-2]) / (x[2:] - x[:-2])
    torch.testing.assert_close(slope[1:-1], measured, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("names", "code"), [(["silu", "pwlu"], 0), (["silu", "swosh"], 2)])
def test_the_command_draws_a_file_or_says_what_is_wrong(
    tmp_path: Path, names: list[str], code: int
) -> None:
    file = tmp_path / "curve.svg"
    command = [sys.executable, "-m", "search_space", "curve", *names, "--output", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == code
    assert file.exists() == (code == 0)
    assert ("no activation named 'swosh'" in result.stderr) == (code == 2)
