"""What activations cost: forward, forward and backward, and what they keep for it.

`python -m tests.benchmarks.activations` prints one table for each device, with all activations of
the catalogue or those of `--only`, against SiLU, with ReLU and a naive PWLU (index arithmetic and
masks) as yardsticks. All sides are run in turn, many times, in an order that changes, and the
fastest run of each counts, so that a busy machine slows all of them; ratios are those of one
process. Every fused side is compared with its plain one before it is timed.
"""

import argparse
import csv
import os
import platform
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space import kernels
from search_space.activations.pwlu import PWLU
from search_space.build import build, has_fused_twin
from search_space.catalog.lookup import CATALOG
from search_space.spec import ActivationSpec

SHAPES = {"cpu": (64, 64, 32, 32), "cuda": (256, 64, 56, 56)}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What ratios are of, measured first; and what torch computes by itself.
YARDSTICKS = {"silu": F.silu, "relu": F.relu}


@dataclass(frozen=True)
class Row:
    """One activation in one form; times in milliseconds."""

    device: str
    activation: str
    form: str
    forward: float
    both: float
    ratio: float
    kept: float


def main() -> None:
    """Measure, print, and write the CSV that was asked for."""
    options = arguments()
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    for device in options.device:
        shape, dtype = options.shape or SHAPES[device], DTYPES[options.dtype or default(device)]
        print(describe(device, shape, dtype, options))  # noqa: T201
        x = torch.randn(shape, device=device, dtype=dtype)
        if options.channels_last:
            x = x.to(memory_format=torch.channels_last)
        competing = list(sides(x, options.only, compiled=options.compile))
        found = measure(competing, x, runs=options.runs)
        print(table(found))  # noqa: T201
        rows += found
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    parser.add_argument("--device", nargs="+", default=devices, choices=["cpu", "cuda"])
    parser.add_argument("--shape", nargs="+", type=int, help="N C and further dimensions")
    names = [name for name in CATALOG if name not in YARDSTICKS]
    parser.add_argument("--only", nargs="+", default=names, choices=names, metavar="NAME")
    parser.add_argument("--dtype", choices=DTYPES, help="float32 on CPU, bfloat16 on CUDA")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--compile", action="store_true", help="also torch.compile of the plain")
    parser.add_argument("--csv", type=Path, help="write the rows there too")
    return parser.parse_args()


def default(device: str) -> str:
    return "bfloat16" if device == "cuda" else "float32"


def describe(device: str, shape: tuple[int, ...], dtype: torch.dtype, options: object) -> str:
    """Return a line on the machine and the measurement."""
    load = os.getloadavg()[0]
    name = torch.cuda.get_device_name() if device == "cuda" else processor()
    return (
        f"{name}, torch {torch.__version__}, {torch.get_num_threads()} threads, load {load:.1f}\n"
        f"{tuple(shape)} {dtype}, fastest of {vars(options)['runs']} interleaved runs"
    )


def processor() -> str:
    """Return the name of this machine's processor, as far as it tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if "model name" in line), "CPU")


@dataclass(frozen=True)
class Side:
    """One activation in one form, ready to be timed."""

    activation: str
    form: str
    module: Callable[[Tensor], Tensor]
    # Slow ones need no more than a few runs.
    slow: bool = False


def sides(x: Tensor, names: list[str], *, compiled: bool) -> Iterator[Side]:
    """Yield every side for the input `x`, SiLU first and the naive PWLU last."""
    for name, function in YARDSTICKS.items():
        yield Side(name, "torch", function)
    for name in names:
        for share in CATALOG[name].shares or ("channel",):
            yield from forms(ActivationSpec(name, share=share), x, compiled=compiled)
    yield Side("pwlu (channel)", "naive", NaivePWLU(x.shape[1]).to(x.device), slow=True)


def forms(spec: ActivationSpec, x: Tensor, *, compiled: bool) -> Iterator[Side]:
    """Yield one activation as it stands, compiled, and fused."""
    label = f"{spec.name} ({spec.share})" if len(CATALOG[spec.name].shares) > 1 else spec.name
    plain = prepared(spec, x, fused=False)
    yield Side(label, "plain", plain, slow=True)
    if compiled:
        yield Side(label, "compiled", torch.compile(plain), slow=True)
    if has_fused_twin(spec) and kernels.available(x.device.type):
        fused = prepared(spec, x, fused=True)
        fused.load_state_dict(plain.state_dict())
        torch.testing.assert_close(fused(x), plain(x))
        yield Side(label, "fused", fused)


def prepared(spec: ActivationSpec, x: Tensor, *, fused: bool) -> nn.Module:
    """Return the module past its statistics, with a table that is no longer its start."""
    torch.manual_seed(0)
    module = build(spec, channels=x.shape[1], fused=fused).to(x.device)
    if isinstance(module, PWLU):
        module(x)
        module.realign()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    return module


class NaivePWLU(nn.Module):
    """PWLU as it is often written: an index, three look-ups, masks; backward by autograd."""

    def __init__(self, channels: int, segments: int = 16) -> None:
        super().__init__()
        self.segments = segments
        knots = torch.linspace(-3, 3, segments + 1)
        self.values = nn.Parameter(F.relu(knots).repeat(channels, 1))
        self.left_slope = nn.Parameter(torch.zeros(channels))
        self.right_slope = nn.Parameter(torch.ones(channels))
        self.left = nn.Parameter(torch.full((channels,), -3.0))
        self.right = nn.Parameter(torch.full((channels,), 3.0))

    def forward(self, x: Tensor) -> Tensor:
        shape = [1, -1] + [1] * (x.dim() - 2)
        left, right, left_slope, right_slope = (
            p.to(x.dtype).view(shape)
            for p in (self.left, self.right, self.left_slope, self.right_slope)
        )
        step = (right - left) / self.segments
        index = ((x - left) / step).floor().clamp(0, self.segments - 1).long()
        channel = torch.arange(x.shape[1], device=x.device).view(shape).expand_as(index)
        values = self.values.to(x.dtype)
        start, end = values[channel, index], values[channel, index + 1]
        inside = (x - left - index * step) * (end - start) / step + start
        below, above = (x < left).to(x.dtype), (x >= right).to(x.dtype)
        y = below * ((x - left) * left_slope + values[:, :1].view(shape))
        y = y + above * ((x - right) * right_slope + values[:, -1:].view(shape))
        return y + (1 - below) * (1 - above) * inside


def both_ways(module: Callable[[Tensor], Tensor], leaf: Tensor, grad: Tensor) -> None:
    module(leaf).backward(grad)


def measure(sides: list[Side], x: Tensor, *, runs: int) -> list[Row]:
    """Return the fastest times of all sides, run in turn."""
    leaf, grad = x.detach().requires_grad_(), torch.randn_like(x)
    forward, both = ([float("inf")] * len(sides) for _ in range(2))
    # In another order each time: what ran before decides what memory and caches look like.
    shuffle = random.Random(0)
    order = [(run, *side) for run in range(runs + 2) for side in shuffled(sides, shuffle)]
    for run, index, side in order:
        if side.slow and run > max(6, runs // 4):
            continue
        leaf.grad = None
        seconds = clock(x.device, partial(side.module, leaf))
        more = clock(x.device, partial(both_ways, side.module, leaf, grad))
        # The first two runs compile, and warm up allocators and threads.
        if run >= 2:
            forward[index] = min(forward[index], seconds)
            both[index] = min(both[index], more)
    return [
        Row(
            device=x.device.type,
            activation=side.activation,
            form=side.form,
            forward=round(1e3 * one, 3),
            both=round(1e3 * two, 3),
            ratio=round(two / both[0], 2),
            kept=round(kept(side.module, leaf), 2),
        )
        for side, one, two in zip(sides, forward, both, strict=True)
    ]


def shuffled(sides: list[Side], shuffle: random.Random) -> list[tuple[int, Side]]:
    numbered = list(enumerate(sides))
    return shuffle.sample(numbered, len(numbered))


def clock(device: torch.device, run: Callable[[], object]) -> float:
    """Return the seconds that `run` takes, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def kept(module: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Return the bytes for each element that are kept for the backward pass."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = module(x)
    del y
    return sum(storages.values()) / x.numel()


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| activation | form | forward, ms | forward+backward, ms | against SiLU | bytes kept |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r.activation} | {r.form} | {r.forward:.2f} | {r.both:.2f} | {r.ratio:.2f}x "
        f"| {r.kept:.1f} |"
        for r in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
