"""Carrying a config to a network with other sites."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from search_space.apply import apply
from search_space.errors import CannotTransfer, SitesDiffer
from search_space.sites import find_sites
from search_space.spec import ActivationConfig, ActivationSpec, Candidate
from search_space.transfer import Match, transfer

NAMES = ["pwlu", "acon_c", "silu", "gelu", "meta_acon", "mish"]


def network(*blocks: int, width: int = 4) -> nn.Module:
    """Return a network with so many activations in each stage, each stage half as large."""
    layers: list[nn.Module] = []
    for stage, count in enumerate(blocks):
        for index in range(count):
            layers.append(
                nn.Conv2d(width if layers else 3, width, 1, 2 if stage and not index else 1)
            )
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 16, 16)


def config_of(model: nn.Module, images: Tensor) -> ActivationConfig:
    plan = find_sites(model, images)
    specs = {s.id: ActivationSpec(NAMES[i]) for i, s in enumerate(plan.sites)}
    return ActivationConfig(Candidate(specs), {"name": "t"}, plan, plan.fingerprint, {"gain": 0.1})


def names(config: ActivationConfig) -> list[str]:
    return [
        config.candidate.sites[s.id].name
        for s in config.plan.sites
        if s.id in config.candidate.sites
    ]


@pytest.mark.parametrize(
    ("target", "match", "expected"),
    [
        ((3, 3), "order", NAMES),
        ((3, 3), "depth", NAMES),
        ((2, 2), "name", ["pwlu", "acon_c", "silu", "gelu"]),
        ((5, 4), "name", NAMES),
        ((5, 1), "depth", ["pwlu", "pwlu", "acon_c", "silu", "silu", "meta_acon"]),
        ((1, 1), "depth", ["acon_c", "meta_acon"]),
        ((2, 2, 2), "depth", NAMES),
    ],
)  # fmt: skip
def test_each_site_takes_what_its_counterpart_has(
    target: tuple[int, ...], match: Match, expected: list[str], images: Tensor
) -> None:
    config = config_of(network(3, 3), images)
    plan = find_sites(network(*target), images)
    carried = transfer(config, plan, match)
    assert names(carried) == expected
    assert carried.fingerprint == plan.fingerprint
    # The gain was not measured on this network, and the document says where it is from.
    assert "gain" not in carried.provenance
    assert carried.provenance["found"] == {"gain": 0.1}
    assert carried.provenance["transfer"]["match"] == match


def test_by_order_needs_as_many_sites(images: Tensor) -> None:
    config = config_of(network(3, 3), images)
    with pytest.raises(CannotTransfer, match="the config has 6, the network 4"):
        transfer(config, find_sites(network(2, 2), images), "order")


def test_by_name_needs_one_name(images: Tensor) -> None:
    config = config_of(network(3, 3), images)
    other = nn.Sequential(nn.Conv2d(3, 4, 1))
    other.add_module("act", nn.ReLU())
    with pytest.raises(CannotTransfer, match=r"among those of the network: \['act'\]"):
        transfer(config, find_sites(other, images), "name")


def test_apply_carries_over_when_asked_and_only_then(images: Tensor) -> None:
    config = config_of(network(3, 3), images)
    with pytest.raises(SitesDiffer):
        apply(network(5, 4), config, images)
    model = apply(network(5, 4, width=8), config, images, match="depth")
    assert [s.original for s in find_sites(model, images).sites][:3] == ["pwlu", "pwlu", "acon_c"]
    assert model(images).shape == (2, 8, 8, 8)


class Gated(nn.Module):
    """Has a gate beside each of its activations."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.acts = nn.ModuleList(nn.ReLU() for _ in range(blocks))
        self.gates = nn.ModuleList(nn.Sigmoid() for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        for act, gate in zip(self.acts, self.gates, strict=True):
            x = act(x) * gate(x)
        return x


def test_an_activation_at_a_gate_is_not_dropped(images: Tensor) -> None:
    plan, larger = (find_sites(Gated(blocks), images) for blocks in (2, 3))
    specs = {"acts.0": ActivationSpec("silu"), "gates.1": ActivationSpec("hardsigmoid")}
    config = ActivationConfig(Candidate(specs), {"name": "t"}, plan, plan.fingerprint)
    assert dict(transfer(config, larger, "name").candidate.sites) == specs
    for match in ("order", "depth"):
        with pytest.raises(CannotTransfer, match=r"gates.*by name alone: gates\.1$"):
            transfer(config, plan, match)
    smaller = find_sites(Gated(1), images)
    with pytest.raises(CannotTransfer, match=r"no gate with the id: gates\.1$"):
        transfer(config, smaller, "name")
    kept = replace(config, candidate=Candidate({**specs, "gates.1": ActivationSpec("sigmoid")}))
    assert names(transfer(kept, plan, "order")) == ["silu"]


def test_what_resnet20_found_goes_to_resnet56_by_depth() -> None:
    from workers.networks.cifar_resnet import CifarResNet

    x = torch.randn(2, 3, 16, 16)
    small, large = (CifarResNet(3, 10, depth=depth) for depth in (20, 56))
    plan = find_sites(small, x)
    stages = list(dict.fromkeys(site.stage for site in plan.sites))
    offered = ("acon_c", "pwlu", "meta_acon")
    specs = {s.id: ActivationSpec(offered[stages.index(s.stage)]) for s in plan.sites}
    specs[plan.sites[0].id] = ActivationSpec("silu")
    specs[plan.sites[-1].id] = ActivationSpec("gelu")
    config = ActivationConfig(Candidate(specs), {"name": "t"}, plan, plan.fingerprint)
    assert (len(plan.sites), len(find_sites(large, x).sites)) == (19, 55)

    assert apply(large, config, x, match="depth")(x).shape == (2, 10)
    there = find_sites(large, x).sites
    assert len(there) == 55
    assert (there[0].original, there[-1].original) == ("silu", "gelu")
    assert [len([s for s in there if s.stage == stage]) for stage in stages] == [19, 18, 18]
    by_stage = [{s.original for s in there if s.stage == stage} for stage in stages]
    assert by_stage == [{"silu", "acon_c"}, {"pwlu"}, {"meta_acon", "gelu"}]


def test_only_a_config_knows_its_sites(images: Tensor) -> None:
    with pytest.raises(TypeError, match="ActivationConfig"):
        apply(network(1), {"1": ActivationSpec("silu")}, images, match="name")
