"""Our training loop: against a plain DataLoader loop, in parts, and what every task comes to.

`python -m tests.benchmarks.training` prints tables for `docs/training.md`; on a machine with a GPU
it is the GPU's edition. The sides of a comparison are interleaved and the fastest of each counts,
so that a busy machine slows both.
"""

import argparse
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from search_space.apply import apply
from search_space.sites import find_sites
from search_space.spec import ActivationSpec
from workers.errors import DataMissing
from workers.handle.protocol import Model
from workers.networks.registry import CLASSIFIERS
from workers.tasks.base import FunctionTask, Place
from workers.tasks.loading import target_of
from workers.tasks.registry import load_tasks
from workers.training import loop
from workers.training.batches import Batches
from workers.training.diagnostics import ActivationDiagnostics
from workers.training.recipe import Augmentation
from workers.trial import StandaloneTrial

# A name, and labelled sides to be compared.
Group = tuple[str, Sequence[tuple[str, Callable[[], None]]]]

BATCH, SHIFT = 128, 4
MEAN, DEVIATION = 120.0, 64.0
GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
IMAGES = 50_000 if GPU else 1_024
NETWORKS = ("resnet20", "resnet18", "vit-tiny") if GPU else ("small-cnn", "resnet20")

# Task, settings, activation everywhere (None: the network as it came), metric.
TRAININGS: Sequence[tuple[str, dict[str, Any], str | None, str]] = (
    ("image-classification", {"dataset": "digits", "network": "mlp"}, None, "accuracy"),
    ("image-classification", {"dataset": "digits", "network": "small-cnn"}, None, "accuracy"),
    (
        "image-classification",
        {"dataset": "fashion-mnist", "network": "small-cnn", "epochs": 4, "train_samples": 10_000},
        None,
        "accuracy",
    ),
    (
        "image-classification",
        {"dataset": "cifar10", "network": "small-cnn", "epochs": 4, "train_samples": 5_000},
        None,
        "accuracy",
    ),
    ("sequence-classification", {"dataset": "mnist-1d", "network": "cnn-1d"}, None, "accuracy"),
    *(
        (
            "implicit-image",
            {"image": "camera", "image_size": 128, "network": n, "epochs": 100},
            a,
            "psnr",
        )
        for n, a in (
            ("siren", None),
            ("coordinate-mlp", "relu"),
            ("coordinate-mlp", "swish"),
            ("coordinate-mlp", "pwlu"),
        )
    ),
    ("segmentation", {"epochs": 8}, None, "mean_iou"),
)
FULL: dict[str, dict[str, Any]] = {
    # What a GPU has time for.
    "image-classification": {"epochs": 16, "train_samples": None},
    "implicit-image": {"image_size": 256, "epochs": 100, "batch_size": 8192},
    "segmentation": {"epochs": 30},
}


class Handle(StandaloneTrial):
    """Keeps what is reported; may put one activation everywhere."""

    def __init__(self, activation: str | None = None) -> None:
        self.metrics: dict[str, float] = {}
        self.remarks: list[str] = []
        self._activation = activation

    def apply(self, model: Model, example_batch: Any, *, fused: bool = False, **_: object) -> Model:
        if self._activation is not None:
            sites = find_sites(model, example_batch).sites
            specs = {site.id: ActivationSpec(self._activation) for site in sites}
            apply(model, specs, example_batch, fused=fused)
        return model

    def report(self, *_: int, step_seconds: float | None = None, **metrics: float) -> None:  # noqa: ARG002
        self.metrics = metrics

    def warn(self, remark: str) -> None:
        self.remarks.append(remark)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=("speed", "parts", "tasks"), action="append")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    name = torch.cuda.get_device_name() if GPU else f"{platform.machine()} CPU"
    say(f"torch {torch.__version__}, {name}, {options.threads} threads\n")
    wanted = options.only or ("speed", "parts", "tasks")
    if "speed" in wanted:
        compare(speeds(options.threads), runs=options.runs, images=IMAGES)
    if "parts" in wanted:
        compare(parts(), runs=options.runs, images=BATCH)
    if "tasks" in wanted:
        train_tasks(options.threads)


def compare(
    groups: Iterator[tuple[str, Sequence[tuple[str, Callable[[], None]]]]],
    *,
    runs: int,
    images: int,
) -> None:
    """Print images per second of every side, and the ratio to the first of its group."""
    say("| network | side | images/s | ratio |\n|---|---|---:|---:|")
    for group, sides in groups:
        times = [float("inf")] * len(sides)
        for _ in range(runs):
            for index, (_, run) in enumerate(sides):
                start = time.perf_counter()
                run()
                if GPU:
                    torch.cuda.synchronize()
                times[index] = min(times[index], time.perf_counter() - start)
        for (label, _), seconds in zip(sides, times, strict=True):
            say(f"| {group} | {label} | {images / seconds:,.0f} | {times[0] / seconds:.2f} |")
    say("")


def speeds(threads: int) -> Iterator[Group]:
    """Yield an epoch of a plain loop and of ours, evaluation left out of both."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (IMAGES,), generator=generator)
    for name in NETWORKS:
        sides = [
            (f"plain, {loaders} loaders", plain_loop(name, images, labels, loaders))
            for loaders in (0, threads)
        ]
        yield name, [*sides, ("ours", our_loop(name, images, labels))]


def our_loop(name: str, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """Return one epoch of our training."""
    network = CLASSIFIERS[name]
    mean, deviation = (torch.full((3, 1, 1), v, device=DEVICE) for v in (MEAN, DEVIATION))
    pixels = images.to(
        DEVICE, memory_format=torch.channels_last if GPU else torch.contiguous_format
    )
    how = Augmentation(shift=SHIFT, mirror=True)
    data = Batches(pixels, labels.to(DEVICE), mean, deviation, how)
    few = Batches(pixels[:BATCH], labels[:BATCH].to(DEVICE), mean, deviation)

    def run() -> None:
        model = network.build(3, 10, 32).to(DEVICE)
        loop.train(Handle(), model, data, few, network.recipe, epochs=1, batch_size=BATCH)

    return run


def plain_loop(name: str, images: Tensor, labels: Tensor, loaders: int) -> Callable[[], None]:
    """Return one epoch of what most training scripts do."""
    network = CLASSIFIERS[name]
    loader = DataLoader(
        Augmented(images.numpy(), labels.numpy()),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=loaders,
        persistent_workers=loaders > 0,
        pin_memory=GPU,
    )

    def run() -> None:
        model = network.build(3, 10, 32).to(DEVICE)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        total = 0.0
        for x, y in loader:
            loss = F.cross_entropy(model(x.to(DEVICE)), y.to(DEVICE))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()

    return run


class Augmented(Dataset[tuple[Tensor, int]]):
    """Images one by one: cropped from a padded image, mirrored, normalised."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._images = images
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x = torch.from_numpy(self._images[index]).float().sub_(MEAN).div_(DEVIATION)
        x = F.pad(x[None], (SHIFT,) * 4, mode="reflect")[0]
        top, left = torch.randint(0, 2 * SHIFT + 1, (2,)).tolist()
        x = x[:, top : top + 32, left : left + 32]
        return (x.flip(-1) if torch.rand(()) < 0.5 else x).contiguous(), int(self._labels[index])


def parts() -> Iterator[Group]:
    """Yield one step in the ways that the loop chooses from."""
    x, y = torch.randn(BATCH, 3, 32, 32, device=DEVICE), torch.randint(10, (BATCH,), device=DEVICE)
    last = x.contiguous(memory_format=torch.channels_last)
    for name in NETWORKS[:2]:
        yield (
            name,
            [
                ("step", step(name, x, y)),
                ("channels last", step(name, last, y)),
                ("fused SGD", step(name, x, y, fused=True)),
                ("watched", step(name, x, y, watched=True)),
                ("bfloat16", step(name, x, y, dtype=torch.bfloat16)),
            ],
        )


def step(
    name: str,
    x: Tensor,
    y: Tensor,
    *,
    fused: bool = False,
    watched: bool = False,
    dtype: torch.dtype | None = None,
) -> Callable[[], None]:
    model: nn.Module = CLASSIFIERS[name].build(3, 10, 32).to(DEVICE)
    if not x.is_contiguous():
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=fused
    )
    watch = ActivationDiagnostics(model)

    def run() -> None:
        with torch.autocast(DEVICE.type, dtype=dtype) if dtype else nullcontext():
            loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def run_watched() -> None:
        with watch.epoch():
            run()
            watch.after_step()

    return run_watched if watched else run


def train_tasks(threads: int) -> None:
    """Train every task and print what it comes to."""
    data_root = Path(os.environ.get("ACTSEARCH_DATA_ROOT", "data"))
    tasks = load_tasks(None)
    say("| task | settings | activations | result | seconds |\n|---|---|---|---:|---:|")
    with tempfile.TemporaryDirectory() as home:
        place = Place(Path(home), data_root, threads=threads)
        for name, settings, activation, metric in TRAININGS:
            task = tasks[name]
            assert isinstance(task, FunctionTask)
            given = settings | (FULL.get(name, {}) if GPU else {})
            said = ", ".join(f"{key} {value}" for key, value in given.items())
            torch.manual_seed(0)
            handle, start = Handle(activation), time.perf_counter()
            try:
                target_of(task)(handle, given, place)
            except DataMissing as error:
                say(f"| {name} | {said} | | skipped: {error} | |")
                continue
            seconds = time.perf_counter() - start
            result = f"{metric} {handle.metrics[f'validation_{metric}']:.4g}"
            if metric == "psnr":
                # Of the pixels that were shown, by the last epoch's loss; values are 2 apart.
                result += f", fit {10 * math.log10(4 / handle.metrics['train_loss']):.4g}"
            say(f"| {name} | {said} | {activation or 'original'} | {result} | {seconds:.0f} |")
            for remark in handle.remarks:
                say(f"| | | | {remark} | |")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
