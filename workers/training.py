"""Our own training loop, written on the handle that every training script uses."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from search_space import kernels
from workers.errors import Diverged
from workers.handle import Trial
from workers.optimizing import make_optimizer, make_schedule
from workers.recipe import Recipe

# Faster on a CPU than larger ones, whose activations leave the cache; no matter on a GPU.
_EVALUATION_BATCH = 128
_EXAMPLES = 64
_SHIFT = 4


@dataclass(frozen=True, slots=True)
class Batches:
    """A split on the training device: bytes `(N, C, H, W)`, labels, statistics `(C, 1, 1)`."""

    images: Tensor
    labels: Tensor
    mean: Tensor
    deviation: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def normalised(self, images: Tensor) -> Tensor:
        return (images.float() - self.mean) / self.deviation

    def examples(self) -> Tensor:
        """Return a first few images as a network sees them."""
        return self.normalised(self.images[:_EXAMPLES])

    def batch(self, indices: Tensor, *, augmented: bool) -> tuple[Tensor, Tensor]:
        indices = indices.to(self.labels.device)
        images = self.images[indices]
        x = shifted_and_mirrored(images) if augmented else images
        return self.normalised(x), self.labels[indices]


class Precision:
    """Full precision on a CPU; on a GPU bfloat16, or float16 with scaled gradients."""

    def __init__(self, device: torch.device) -> None:
        self._device = device.type
        self._reduced = device.type == "cuda"
        bfloat = self._reduced and torch.cuda.is_bf16_supported(including_emulation=False)
        self._dtype = torch.bfloat16 if bfloat else torch.float16
        self.scaler = torch.amp.GradScaler(
            self._device, enabled=self._reduced and self._dtype is torch.float16
        )

    def autocast(self) -> torch.autocast:
        return torch.autocast(self._device, dtype=self._dtype, enabled=self._reduced)


def train(
    trial: Trial,
    model: nn.Module,
    data: Batches,
    validation: Batches,
    recipe: Recipe,
    *,
    epochs: int,
    batch_size: int,
    augmented: bool = False,
    test: Batches | None = None,
) -> None:
    """Train `model` as one trial. Everything is on one device already.

    Args:
        batch_size: The last images of an epoch that do not fill a batch sit it out.
        augmented: Shift and mirror the training images at random.
        test: Looked at once, after the last epoch, and only in a confirmation.
    """
    batch_size = min(batch_size, len(data))
    steps = len(data) // batch_size
    model = trial.apply(model, data.examples(), fused=_fused(data.images.device))
    optimizer = make_optimizer(trial, model, recipe)
    scheduler = make_schedule(optimizer, recipe, steps * epochs)
    precision = Precision(data.images.device)
    for epoch in trial.epochs(
        epochs, model, optimizer, scheduler, precision.scaler, steps_per_epoch=steps
    ):
        total = torch.zeros((), device=data.images.device)
        for indices in torch.split(_order(len(data)), batch_size)[:steps]:
            x, labels = data.batch(indices, augmented=augmented)
            total += _step(model, x, labels, optimizer, precision, recipe)
            scheduler.step()
        # One look per epoch: a look per step would make the device wait for the host.
        train_loss = total.item() / steps
        if not math.isfinite(train_loss):
            raise Diverged(epoch + 1, "train_loss", train_loss)
        trial.report(
            epoch, train_loss=train_loss, **_named("validation", model, validation, precision)
        )
    if test is not None:
        trial.report_test(**_named("test", model, test, precision))


def evaluate(
    model: nn.Module, data: Batches, precision: Precision | None = None
) -> dict[str, float]:
    """Return accuracy (a fraction) and mean loss, in batches of a fixed size."""
    precision = precision or Precision(data.images.device)
    model.eval()
    hits = torch.zeros((), device=data.images.device)
    loss = torch.zeros((), device=data.images.device)
    with torch.no_grad(), precision.autocast():
        for indices in torch.split(torch.arange(len(data)), _EVALUATION_BATCH):
            x, labels = data.batch(indices, augmented=False)
            outputs = model(x).float()
            hits += (outputs.argmax(dim=1) == labels).sum()
            loss += F.cross_entropy(outputs, labels, reduction="sum")
    model.train()
    return {"accuracy": hits.item() / len(data), "loss": loss.item() / len(data)}


def _fused(device: torch.device) -> bool:
    """Triton's kernels have not been measured on a GPU yet; the plain activations have."""
    return device.type == "cpu" and kernels.available("cpu")


def _named(split: str, model: nn.Module, data: Batches, precision: Precision) -> dict[str, float]:
    return {f"{split}_{name}": value for name, value in evaluate(model, data, precision).items()}


def _order(size: int) -> Tensor:
    # On the CPU, whatever the device: the handle seeded its generator for this epoch.
    return torch.randperm(size)


def _step(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    optimizer: Optimizer,
    precision: Precision,
    recipe: Recipe,
) -> Tensor:
    with precision.autocast():
        loss = F.cross_entropy(model(x), labels, label_smoothing=recipe.label_smoothing)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(precision.scaler.scale(loss))
    if recipe.clip is not None:
        precision.scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    precision.scaler.step(optimizer)
    precision.scaler.update()
    return loss.detach()


def shifted_and_mirrored(images: Tensor) -> Tensor:
    """Return the images `(N, C, H, W)`, each moved by up to 4 pixels, half of them mirrored.

    What moves in is reflected. Drawn from torch's CPU generator.
    """
    n, _, height, width = images.shape
    padded = F.pad(images.float(), (_SHIFT,) * 4, mode="reflect")
    shifts = torch.randint(0, 2 * _SHIFT + 1, (2, n, 1))
    rows = shifts[0] + torch.arange(height)
    columns = shifts[1] + torch.arange(width)
    mirrored = torch.rand(n, 1) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    at = (index.to(images.device) for index in (torch.arange(n), rows, columns))
    sample, row, column = at
    picked = padded.permute(0, 2, 3, 1)[sample[:, None, None], row[:, :, None], column[:, None]]
    return picked.permute(0, 3, 1, 2)
