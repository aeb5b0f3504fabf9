"""Networks small enough to run in a millisecond, each with one way to call an activation."""

import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Every test starts from the same seed, with nothing compiled before."""
    torch.manual_seed(0)
    random.seed(0)
    yield
    torch.compiler.reset()


class Block(nn.Module):
    """A residual block whose one ReLU, in place, is called twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(x + self.relu(self.norm(self.conv(x))))
        return y


class Mixed(nn.Module):
    """Modules, shared modules, functions, methods and in-place calls, with and without space."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.layers = nn.Sequential(Block(8), nn.MaxPool2d(2), Block(8), nn.Conv2d(8, 6, 1))
        self.act: nn.Module = nn.SiLU()
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(F.relu(self.stem(x)))
        x = self.dropout(self.act(x)).mean((2, 3))
        x = (x - 0.1).relu_()
        y: Tensor = self.head(F.gelu(x, approximate="tanh").relu())
        return y


def kept_for_backward(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Return what a call of `module` keeps for its backward pass."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(x)
    return kept


MIXED_SITES = [
    ":relu@1",
    "layers.0.relu",
    "layers.0.relu@2",
    "layers.2.relu",
    "layers.2.relu@2",
    "act",
    ":relu@2",
    ":gelu_tanh@1",
    ":relu@3",
]


@pytest.fixture
def mixed() -> Mixed:
    return Mixed()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 12, 12)


def outputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Output and gradients in training, then output in evaluation, with the same dropout."""
    results = []
    for training in (True, False):
        torch.manual_seed(0)
        model.train(training).zero_grad()
        y = model(x)
        y.square().sum().backward()
        results += [y.detach(), *(p.grad for p in model.parameters())]
    return results
