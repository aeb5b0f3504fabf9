"""The curves that are kept of a trained network."""

import copy
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.activations.acon import MetaAcon, acon_c
from search_space.apply import apply
from search_space.catalog import CATALOG
from search_space.sites import find_sites
from search_space.spec import ActivationSpec, Candidate
from workers.shapes import learned_shapes


class Mixed(nn.Module):
    """A module, a shared module called twice, and a function."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 12, 3)
        self.own = nn.ReLU()
        self.shared = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(self.own(self.convolution(x)) - 0.5)
        return F.relu(self.shared(x - 0.1) - 0.1)


def shapes(**specs: ActivationSpec) -> list[dict[str, Any]]:
    """Return the shapes of `Mixed`: the named sites as asked for, all others ReLU."""
    torch.manual_seed(0)
    model, batch = Mixed(), torch.randn(4, 3, 8, 8)
    plan = find_sites(model, batch)
    sites = {site.id: ActivationSpec("relu") for site in plan.sites} | specs
    apply(model, Candidate(sites), batch)
    before = copy.deepcopy(model.state_dict())
    document = json.loads(learned_shapes(model, plan, Candidate(sites), batch))
    assert document["version"] == 1
    assert model.training
    after = model.state_dict()
    # The weights are stored beside the shapes: drawing must not change them.
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    found: list[dict[str, Any]] = document["sites"]
    return found


@pytest.mark.parametrize("name", sorted(CATALOG))
@pytest.mark.parametrize("site", ["own", "shared", "shared@2", ":relu@1"])
def test_every_site_has_its_curves(name: str, site: str) -> None:
    by_id = {shape["site"]: shape for shape in shapes(**{site: ActivationSpec(name)})}
    assert set(by_id) == {"own", "shared", "shared@2", ":relu@1"}
    shape = by_id[site]
    learned = CATALOG[name].learned
    assert (shape["activation"], shape["original"]) == (name, "relu")
    assert len(shape["x"]) == 65
    assert len(shape["curves"]) == len(shape["channels"]) == (8 if learned else 1)
    assert all(len(curve) == 65 for curve in shape["curves"])
    assert shape["channels"][-1] == (11 if learned else 0)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        return F.relu(x * self.gate(x))


def test_a_gate_that_was_searched_has_its_curve() -> None:
    model, batch = Gated(), torch.randn(4, 3, 8, 8)
    plan = find_sites(model, batch)
    candidate = Candidate({":relu@1": ActivationSpec("relu"), "gate": ActivationSpec("tanh")})
    apply(model, candidate, batch)
    found = json.loads(learned_shapes(model, plan, candidate, batch))["sites"]
    by_id = {shape["site"]: shape for shape in found}
    assert set(by_id) == {":relu@1", "gate"}
    expected = torch.tensor(by_id["gate"]["x"]).tanh()
    torch.testing.assert_close(torch.tensor(by_id["gate"]["curves"][0]), expected)


def test_a_curve_is_the_function() -> None:
    for shape in shapes(own=ActivationSpec("silu")):
        function = F.silu if shape["activation"] == "silu" else F.relu
        expected = function(torch.tensor(shape["x"]))
        torch.testing.assert_close(torch.tensor(shape["curves"][0]), expected)


def test_the_range_is_that_of_the_site_s_own_call() -> None:
    by_id = {shape["site"]: shape for shape in shapes()}
    assert by_id["own"]["low"] < -0.2 < 0.2 < by_id["own"]["high"]
    assert by_id["shared"]["low"] == pytest.approx(-0.5)
    assert by_id["shared@2"]["low"] == pytest.approx(-0.1)
    assert by_id[":relu@1"]["low"] is None


def test_one_curve_is_enough_for_what_a_layer_shares() -> None:
    (shape, *_) = shapes(own=ActivationSpec("pwlu", share="layer"))
    assert (len(shape["curves"]), shape["channels"]) == (1, [0])


def test_meta_acon_is_shown_with_its_mean_switch() -> None:
    model = nn.Sequential(MetaAcon(4)).eval()
    batch = torch.randn(8, 4, 5, 5)
    meta = model.get_submodule("0")
    assert isinstance(meta, MetaAcon)
    network = nn.Sequential(nn.ReLU())
    plan = find_sites(network, batch)
    network[0] = meta
    candidate = Candidate({"0": ActivationSpec("meta_acon")})
    (shape,) = json.loads(learned_shapes(network, plan, candidate, batch))["sites"]
    x = torch.tensor(shape["x"])[:, None].repeat(1, 4)
    beta = meta.switch(batch).mean(dim=0)
    expected = acon_c(x, meta.p1, meta.p2, beta).T
    torch.testing.assert_close(torch.tensor(shape["curves"]), expected)
