"""From arrays on disk to tensors on the training device."""

import torch

from workers.data.images import Images, Split
from workers.errors import TooFewSamples
from workers.training.batches import Batches
from workers.training.recipe import Augmentation

_IMAGES = 4


def pick_device() -> torch.device:
    """Return the GPU that this process may use, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_device(
    images: Images,
    device: torch.device,
    *,
    train_samples: int | None,
    augmentation: Augmentation | None = None,
) -> tuple[Batches, Batches]:
    """Return training and validation data, normalised with statistics of the training images."""
    train = _first(images.train, train_samples)
    inputs = _inputs(train, device)
    others = [dimension for dimension in range(inputs.dim()) if dimension != 1]
    deviation, mean = torch.std_mean(inputs.float(), dim=others, keepdim=True, correction=0)
    labels = torch.from_numpy(train.labels).to(device)
    how = augmentation or Augmentation()
    batches = Batches(inputs, labels, mean[0], deviation[0], how)
    return batches, beside(images.validation, batches)


def beside(split: Split, train: Batches) -> Batches:
    """Return a split on the device of the training data, with the same normalisation."""
    labels = torch.from_numpy(split.labels).to(train.device)
    return Batches(_inputs(split, train.device), labels, train.mean, train.deviation)


def _inputs(split: Split, device: torch.device) -> torch.Tensor:
    inputs = torch.from_numpy(split.images).to(device)
    if device.type == "cuda" and inputs.dim() == _IMAGES:
        # The memory format of the network; batches that are indexed from it keep it.
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs


def _first(split: Split, samples: int | None) -> Split:
    if samples is None:
        return split
    if samples > len(split):
        raise TooFewSamples(samples, len(split))
    return Split(split.images[:samples], split.labels[:samples])
