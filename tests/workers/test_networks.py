"""The networks: as large as published, and every activation found."""

from types import ModuleType

import pytest
import torch

from search_space.apply import apply
from search_space.sites import find_sites
from search_space.spec import ActivationSpec
from workers.errors import UnknownNetwork
from workers.networks.registry import CLASSIFIERS, NETWORKS, build, names
from workers.networks.unet import UNet

PUBLISHED = {
    # The sizes that papers state are rounded to these counts: 266,610 of LeNet-300-100; 0.27,
    # 0.46 and 0.85 million of the small ResNets; 11.7 and 25.6 million of the large ones; 1.4
    # and 3.5 million of ShuffleNet; 3.4 of MobileNet with fewer biases; 5.7 of DeiT-Ti.
    "mlp": ((1, 10, 28), 266_610, 2),
    "small-cnn": ((1, 10, 32), 24_058, 3),
    # Three times 101 inputs and two of normalisation for each of 100, less 60 * 100; 101 * 10.
    "mlp-1d": ((1, 10, 40), 25_910, 3),
    "cnn-1d": ((1, 10, 40), 5_285, 3),
    "resnet20": ((3, 10, 32), 269_722, 19),
    "resnet32": ((3, 10, 32), 464_154, 31),
    "resnet56": ((3, 10, 32), 853_018, 55),
    "resnet18": ((3, 1000, 224), 11_689_512, 17),
    "resnet50": ((3, 1000, 224), 25_557_032, 49),
    "shufflenet-v2-0.5x": ((3, 1000, 224), 1_366_792, 37),
    "shufflenet-v2-1.5x": ((3, 1000, 224), 3_503_624, 37),
    "mobilenet-v2": ((3, 1000, 224), 3_504_872, 35),
    "vit-tiny": ((3, 1000, 224), 5_717_416, 12),
    # Four layers of 256: 2 * 256 + 256, three times 256 * 256 + 256, and 256 * 3 + 3.
    "siren": ((3, 3, 32), 198_915, 4),
    "coordinate-mlp": ((3, 3, 32), 204_547, 4),
    "unet": ((3, 2, 32), 486_562, 18),
}
SMALLEST = 16


def size_of(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_no_network_is_left_out() -> None:
    assert sorted(PUBLISHED) == sorted(names())


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_network_is_as_large_as_published(name: str) -> None:
    (channels, classes, size), parameters, _ = PUBLISHED[name]
    assert size_of(build(name, channels, classes, size)[0]) == parameters


def test_unet_at_the_width_of_its_paper_has_its_31_million_parameters() -> None:
    assert size_of(UNet(3, 2, width=64)) == 31_037_698


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_activation_of_a_network_is_found(name: str) -> None:
    (channels, classes, _), _, sites = PUBLISHED[name]
    model, batch = build(name, channels, classes, 16)
    plan = find_sites(model, batch)
    assert (len(plan.sites), plan.gates, plan.unreachable) == (sites, (), ())
    apply(model, {plan.sites[-1].id: ActivationSpec("pwlu")}, batch)
    assert torch.isfinite(model(batch)).all()


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
@pytest.mark.parametrize("size", [8, 28])
def test_a_classifier_takes_small_images(name: str, size: int) -> None:
    model = NETWORKS[name].build(1, 10, size)
    assert model(torch.randn(2, 1, size, size)).shape == (2, 10)


def test_a_shrinking_network_keeps_the_size_of_small_images() -> None:
    small, large = (NETWORKS["resnet18"].build(3, 10, size) for size in (32, 224))
    # Known from many trainings on CIFAR-10: the 3x3 stem has fewer parameters.
    assert size_of(small) == 11_173_962
    assert size_of(large) - size_of(small) == 64 * 3 * (49 - 9)


def test_patches_that_do_not_fill_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match="images of 30 pixels are not filled by patches of 4"):
        NETWORKS["vit-tiny"].build(3, 10, 30)


def test_unet_returns_a_class_for_every_pixel() -> None:
    assert NETWORKS["unet"].build(1, 4, 32)(torch.randn(2, 1, 32, 48)).shape == (2, 4, 32, 48)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("timm", "resnet18"),
        ("timm", "vit_tiny_patch16_224"),
        ("timm", "mobilenetv3_small_050"),
        ("torchvision", "resnet18"),
        ("torchvision", "vit_b_16"),
        ("torchvision", "mobilenet_v3_small"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_of_libraries_are_networks_too(source: str, name: str, channels: int) -> None:
    models = library(source)
    model, batch = models.build(name, channels, 10, 32)
    plan = find_sites(model, batch)
    assert len(plan.sites) >= 12
    assert plan.unreachable == ()
    apply(model, {plan.sites[0].id: ActivationSpec("acon_c")}, batch)
    assert model(batch).shape == (2, 10)


@pytest.mark.parametrize("source", ["timm", "torchvision"])
def test_a_library_knows_which_networks_it_has(source: str) -> None:
    models = library(source)
    assert "resnet18" in models.names()
    with pytest.raises(UnknownNetwork, match=f"{source} has no network 'resnet19'; it has resnet"):
        models.build("resnet19", 3, 10, 32)


def library(source: str) -> ModuleType:
    from importlib import import_module

    try:
        return import_module(f"workers.networks.{source}_models")
    except (ImportError, RuntimeError) as error:
        # Built for another torch, torchvision raises RuntimeError when imported.
        pytest.skip(f"{source} is not usable here: {error}")
