"""Triton's kernels against the plain functions: interpreted on CPU tensors, and on a GPU."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

from search_space.activations.acon import acon_c
from search_space.activations.pwlu import pwlu
from search_space.kernels import acon as fused_acon
from search_space.kernels import layout
from search_space.kernels import pwlu as fused_pwlu
from tests.search_space.test_kernels import (
    CASES,
    SWITCHES,
    assert_alike,
    outcome,
    parameter_dtype,
    slopes,
    table,
)

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is missing")
interpreted = pytest.mark.skipif(not INTERPRETED, reason="runs in Triton's interpreter")

SMALL = [name for name in CASES if not name.startswith(("large", "many"))]


@pytest.mark.slow
@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="starts the interpreter")
def test_the_kernels_agree_in_the_interpreter() -> None:
    # Triton must find the variable when it is first imported, so in a process of its own.
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not gpu", __file__]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operators take Triton's kernels for CPU tensors, too."""

    def load(kernel: str, _: str) -> Any:
        return import_module(f"search_space.kernels.cuda_{kernel}")

    monkeypatch.setattr(fused_pwlu, "load", load)
    monkeypatch.setattr(fused_acon, "load", load)


@interpreted
@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("share", ["channel", "layer"])
@pytest.mark.parametrize("name", SMALL)
def test_pwlu_is_the_plain_one(name: str, share: str, dtype: torch.dtype) -> None:
    compare_pwlu(name, share, dtype, "cpu")


@interpreted
@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("name", SMALL)
def test_acon_c_is_the_plain_one(name: str, switch: str, dtype: torch.dtype) -> None:
    compare_acon(name, switch, dtype, "cpu")


@interpreted
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e30, -1e30])
def test_what_is_no_number_is_as_in_the_plain_ones(value: float) -> None:
    x = torch.randn(2, 3, 100)
    x.view(-1)[::7] = value
    ones = torch.ones(3)
    for functions, parameters in (
        ((fused_pwlu.pwlu, pwlu), table(3, 16)),
        ((fused_acon.acon_c, acon_c), [ones, 0 * ones, ones]),
    ):
        leaves, grad = [x, *parameters], torch.randn(x.shape)
        found, expected = (outcome(f, leaves, grad) for f in functions)
        for one, other in zip(found[:2], expected[:2], strict=True):
            torch.testing.assert_close(one, other, equal_nan=True)
        for one, other in zip(found[2:], expected[2:], strict=True):
            assert torch.equal(one.isfinite(), other.isfinite())


@interpreted
@pytest.mark.usefixtures("on_cpu")
def test_a_channel_is_divided_among_programs() -> None:
    x, grad = torch.randn(1, 2, 9001), torch.randn(1, 2, 9001)
    for functions, parameters in (
        ((fused_pwlu.pwlu, pwlu), table(2, 5)),
        ((fused_acon.acon_c, acon_c), slopes(x, 1, "channel", torch.float32)),
    ):
        found, expected = (outcome(f, [x, *parameters], grad) for f in functions)
        assert_alike(found, expected, torch.float32)


@pytest.mark.gpu
@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CASES)
def test_they_are_the_plain_ones_on_a_gpu(name: str, dtype: torch.dtype) -> None:
    for share in ("channel", "layer"):
        compare_pwlu(name, share, dtype, "cuda")
    for switch in SWITCHES:
        compare_acon(name, switch, dtype, "cuda")


@needs_triton
@pytest.mark.parametrize("name", CASES)
def test_every_element_belongs_to_one_program(name: str) -> None:
    from search_space.kernels.grid import parts

    case = CASES[name]
    x = layout.as_dense(case.input(torch.float32), case.channel_dim)
    view = layout.MemoryView.of(x, case.channel_dim)
    each = view.outer * view.length
    size, count = parts(each, view.channels, 64)
    assert size % 64 == 0
    assert (count - 1) * size < max(each, 1) <= count * size


def compare_pwlu(name: str, share: str, dtype: torch.dtype, device: str) -> None:
    case = CASES[name]
    x = case.input(dtype)
    width = x.shape[case.channel_dim] if share == "channel" else 1
    leaves = [x, *table(width, 16, parameter_dtype(dtype))]
    compare((fused_pwlu.pwlu, pwlu), leaves, case.channel_dim, device)


def compare_acon(name: str, switch: str, dtype: torch.dtype, device: str) -> None:
    case = CASES[name]
    x = case.input(dtype)
    leaves = [x, *slopes(x, case.channel_dim, switch, parameter_dtype(dtype))]
    compare((fused_acon.acon_c, acon_c), leaves, case.channel_dim, device)


def compare(
    functions: tuple[Callable[..., Tensor], Callable[..., Tensor]],
    leaves: list[Tensor],
    channel_dim: int,
    device: str,
) -> None:
    leaves = [leaf.to(device) for leaf in leaves]
    grad = torch.randn(leaves[0].shape).to(leaves[0])
    found, expected = (
        outcome(lambda *a, f=f: f(*a, channel_dim=channel_dim), leaves, grad) for f in functions
    )
    assert_alike(found, expected, leaves[0].dtype)
