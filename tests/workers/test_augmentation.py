"""What is done to training images, on the device."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from workers.training.augmentation import cut_out, moved
from workers.training.batches import Batches
from workers.training.recipe import Augmentation

# Every pixel has its own value, column in the units and row in the tens.
IMAGE = (torch.arange(10)[:, None] * 10 + torch.arange(10)).to(torch.uint8)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_images_are_moved_by_no_more_than_was_said_and_what_moves_in_is_reflected() -> None:
    made = moved(IMAGE.repeat(256, 1, 1, 1), Augmentation(shift=4), torch.arange(256))
    assert made.dtype is torch.uint8
    padded = F.pad(IMAGE[None, None].float(), (4, 4, 4, 4), mode="reflect")[0, 0]
    crops = {
        bytes(padded[y : y + 10, x : x + 10].to(torch.uint8).flatten().tolist()): (y, x)
        for y in range(9)
        for x in range(9)
    }
    found = {crops[bytes(image.flatten().tolist())] for image in made}
    assert len(found) > 70
    assert {y for y, _ in found} == {x for _, x in found} == set(range(9))


def test_images_are_mirrored_in_every_other_epoch() -> None:
    images, how = IMAGE.repeat(4, 1, 1, 1), Augmentation(mirror=True)
    even, odd = (moved(images, how, torch.arange(4) + epoch) for epoch in (0, 1))
    assert torch.equal(even[0], images[0])
    assert torch.equal(even[1], images[1].flip(-1))
    assert torch.equal(odd.flip(-1), even)


def test_the_memory_format_of_images_is_kept() -> None:
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    last = images.contiguous(memory_format=torch.channels_last)
    made = moved(last, Augmentation(shift=2), torch.arange(4))
    assert made.is_contiguous(memory_format=torch.channels_last)


def test_a_square_is_cut_out_at_a_random_place() -> None:
    made = cut_out(torch.ones(500, 2, 12, 12), 4)
    cut = (made == 0).sum(dim=(1, 2, 3)) // 2
    assert cut.max() == 16
    assert cut.min() >= 4  # a corner of it at least
    assert torch.equal(made[:, 0], made[:, 1])
    assert ((made == 0).any(dim=0)).all()


def batches(augmentation: Augmentation) -> Batches:
    images = torch.arange(16, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, 6, 6)
    return Batches(images, torch.arange(16), torch.tensor(8.0), torch.tensor(2.0), augmentation)


@pytest.mark.parametrize("how", [Augmentation(), Augmentation(shift=1, mirror=True)])
def test_an_epoch_shows_every_image_once_in_another_order(how: Augmentation) -> None:
    data = batches(how)
    seen: list[Tensor] = []
    for _ in range(2):
        xs, targets = zip(*data.epoch(0, 4), strict=True)
        assert torch.equal(torch.cat(xs)[:, 0, 0, 0] * 2 + 8, torch.cat(targets).float())
        seen.append(torch.cat(targets))
        assert sorted(seen[-1].tolist()) == list(range(16))
    assert not torch.equal(*seen)


def test_images_that_fill_no_batch_sit_an_epoch_out_and_are_all_evaluated() -> None:
    data = batches(Augmentation())
    assert [len(x) for x, _ in data.epoch(0, 5)] == [5, 5, 5]
    assert [len(x) for x, _ in data.ordered(5)] == [5, 5, 5, 1]
