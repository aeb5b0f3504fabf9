"""Weights that were published for the papers' own modules load into ours."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from search_space.activations.acon import AconC, MetaAcon, acon_c
from search_space.build import build
from search_space.spec import ActivationSpec

CHANNELS, REDUCTION = 24, 16


def published_acon() -> OrderedDict[str, Tensor]:
    """The names and shapes that the authors' module has for images."""
    return OrderedDict({name: torch.randn(1, CHANNELS, 1, 1) for name in ("p1", "p2", "beta")})


def published_meta() -> OrderedDict[str, Tensor]:
    hidden = max(REDUCTION, CHANNELS // REDUCTION)
    layers = nn.ModuleDict(
        {
            "fc1": nn.Conv2d(CHANNELS, hidden, 1),
            "bn1": nn.BatchNorm2d(hidden),
            "fc2": nn.Conv2d(hidden, CHANNELS, 1),
            "bn2": nn.BatchNorm2d(CHANNELS),
        }
    )
    slopes = {name: torch.randn(1, CHANNELS, 1, 1) for name in ("p1", "p2")}
    return OrderedDict(slopes | layers.state_dict())


@pytest.mark.parametrize("assign", [False, True])
def test_a_published_acon_loads(assign: bool) -> None:
    given = published_acon()
    module = AconC(CHANNELS)
    module.load_state_dict(given, assign=assign)
    x = torch.randn(2, CHANNELS, 5, 5)
    z = (given["p1"] - given["p2"]) * x
    expected = z * torch.sigmoid(given["beta"] * z) + given["p2"] * x
    torch.testing.assert_close(module(x), expected)
    assert module.p1.shape == (CHANNELS,)
    assert given["p1"].shape == (1, CHANNELS, 1, 1)


def test_a_published_meta_acon_loads_under_the_official_rule() -> None:
    given = published_meta()
    spec = ActivationSpec("meta_acon", {"reduction": REDUCTION, "rule": "official"})
    module = build(spec, channels=CHANNELS)
    assert isinstance(module, MetaAcon)
    network = nn.Sequential(nn.Conv2d(3, CHANNELS, 1), module).eval()
    whole = {f"0.{k}": v for k, v in network[0].state_dict().items()}
    network.load_state_dict(whole | {f"1.{k}": v for k, v in given.items()})
    x = torch.randn(2, CHANNELS, 5, 5)
    hidden = given["fc1.weight"][:, :, 0, 0] @ x.mean((2, 3)).T + given["fc1.bias"][:, None]
    hidden = hidden / (1 + module.bn1.eps) ** 0.5
    beta = given["fc2.weight"][:, :, 0, 0] @ hidden + given["fc2.bias"][:, None]
    beta = torch.sigmoid(beta / (1 + module.bn2.eps) ** 0.5).T
    expected = acon_c(x, module.p1, module.p2, beta)
    torch.testing.assert_close(module(x), expected)


def test_the_published_module_has_as_many_parameters() -> None:
    # Counted of the authors' modules with r = 16.
    for channels, count in ((24, 936), (64, 2_416), (256, 9_520), (512, 35_424)):
        spec = ActivationSpec("meta_acon", {"rule": "official"})
        module = build(spec, channels=channels)
        assert sum(p.numel() for p in module.parameters()) == count


def test_another_number_of_channels_is_still_an_error() -> None:
    given = published_acon()
    with pytest.raises(RuntimeError, match="size mismatch for p1"):
        AconC(CHANNELS + 1).load_state_dict(given)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("switch", ["channel", "layer", "pixel"])
def test_meta_acon_trains_on_a_single_sample(norm: str, switch: str) -> None:
    spec = ActivationSpec("meta_acon", {"norm": norm, "switch": switch})
    module, x = build(spec, channels=4), torch.randn(1, 4, 3, 3)
    module(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def test_switches_are_of_what_they_say() -> None:
    x = torch.randn(2, 4, 3, 3)
    of = {each: MetaAcon(4, switch=each).switch(x) for each in ("channel", "layer", "pixel")}
    assert [of[each].shape for each in of] == [(2, 4), (2, 1), (2, 4, 3, 3)]
    torch.testing.assert_close(of["layer"], torch.sigmoid(x.sum((1, 2, 3)))[:, None])
    torch.testing.assert_close(of["pixel"], torch.sigmoid(x))
    pixel = MetaAcon(4, switch="pixel", initial="paper")
    p1, p2 = (p[:, None, None] for p in (pixel.p1, pixel.p2))
    z = (p1 - p2) * x
    torch.testing.assert_close(pixel(x), z * torch.sigmoid(torch.sigmoid(x) * z) + p2 * x)
