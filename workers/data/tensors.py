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
    statistics = mean[0], deviation[0]
    labels = torch.from_numpy(train.labels).to(device)
    held_out = (
        torch.from_numpy(images.validation.images).to(device),
        torch.from_numpy(images.validation.labels).to(device),
    )
    return Batches(pixels, labels, *statistics), Batches(*held_out, *statistics)


def _first(split: Split, samples: int | None) -> Split:
    if samples is None:
        return split
    if samples > len(split):
        raise TooFewSamples(samples, len(split))
    return Split(split.images[:samples], split.labels[:samples])
