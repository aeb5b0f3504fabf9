"""From arrays on disk to tensors on the training device."""

import torch

from workers.data.images import Images, Split
from workers.errors import TooFewSamples
from workers.training import Batches


def pick_device() -> torch.device:
    """Return the one GPU that the executor lets this process see, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_device(
    images: Images, device: torch.device, *, train_samples: int | None
) -> tuple[Batches, Batches]:
    """Return training and validation data, both normalised by the training images used."""
    train = _first(images.train, train_samples)
    pixels = torch.from_numpy(train.images).to(device)
    deviation, mean = torch.std_mean(pixels.float(), dim=(0, 2, 3), keepdim=True, correction=0)
    labels = torch.from_numpy(train.labels).to(device)
    batches = Batches(pixels, labels, mean[0], deviation[0])
    return batches, beside(images.validation, batches)


def beside(split: Split, train: Batches) -> Batches:
    """Return a split on the device of the training data, normalised as that is."""
    device = train.images.device
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    return Batches(images.to(device), labels.to(device), train.mean, train.deviation)


def _first(split: Split, samples: int | None) -> Split:
    if samples is None:
        return split
    if samples > len(split):
        raise TooFewSamples(samples, len(split))
    return Split(split.images[:samples], split.labels[:samples])
