"""What PWLU costs: alone against SiLU, and in a small network against ReLU.

`python -m tests.benchmarks.pwlu_network` prints the ratios of one run. Runs of the two sides
are interleaved and the fastest of each counts, so that a busy machine slows both.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.activations.pwlu import PWLU


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {options.threads} threads, fastest of {options.runs}")  # noqa: T201
    for name, sides in (("alone", alone()), ("network", networks())):
        times = fastest([side for _, side in sides], runs=options.runs)
        for (label, _), seconds in zip(sides, times, strict=True):
            ratio = seconds / times[0]
            print(f"{name:8} {label:16} {1e3 * seconds:8.2f} ms {ratio:6.2f}x")  # noqa: T201


def alone() -> list[tuple[str, Callable[[], None]]]:
    """Forward and backward of one activation on `(64, 64, 32, 32)`, float32."""
    x = torch.randn(64, 64, 32, 32, requires_grad=True)
    grad = torch.randn_like(x)

    def step(activation: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def run() -> None:
            x.grad = None
            activation(x).backward(grad)

        return run

    return [
        ("silu", step(F.silu)),
        ("pwlu", step(realigned(PWLU(64)))),
        ("pwlu, layer", step(realigned(PWLU(64, share="layer")))),
        ("pwlu, statistics", step(PWLU(64))),
    ]


def networks() -> list[tuple[str, Callable[[], None]]]:
    """One training step of the small network with ReLU, and with PWLU in either phase."""
    return [
        ("relu", training_step(lambda _: nn.ReLU())),
        ("pwlu", training_step(lambda channels: realigned(PWLU(channels)))),
        ("pwlu, statistics", training_step(PWLU)),
    ]


def training_step(activation: Callable[[int], nn.Module]) -> Callable[[], None]:
    """Return a training step on a batch of 64 images of 28x28: three blocks, one linear layer."""
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
        layers += [activation(after), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 9, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    images, labels = torch.randn(64, 1, 28, 28), torch.randint(10, (64,))

    def run() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return run


def realigned(module: PWLU) -> PWLU:
    """Return `module` past its statistics."""
    module.realign()
    return module


def fastest(sides: Sequence[Callable[[], None]], *, runs: int) -> list[float]:
    """Return the shortest time of each side in seconds, over interleaved runs."""
    best = [float("inf")] * len(sides)
    for run in range(runs + 2):
        for index, side in enumerate(sides):
            start = time.perf_counter()
            side()
            seconds = time.perf_counter() - start
            # The first two runs warm up allocators and threads.
            if run >= 2:
                best[index] = min(best[index], seconds)
    return best


if __name__ == "__main__":
    main()
