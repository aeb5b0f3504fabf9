"""The curves that are kept of a trained network."""

import copy
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.activations.acon import MetaAcon, acon_c
from search_space.activations.scalar_functions import scalar_function
from search_space.apply import apply
from search_space.catalog.lookup import CATALOG
from search_space.sites import find_sites
from search_space.spec import ActivationSpec, Candidate
from workers.measurement.learned_shapes import ShapeHistory, learned_shapes
from workers.measurement.nearest import CLASSICS, likeness


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


def curve_of(name: str, x: Tensor) -> Tensor:
    return scalar_function(name)(x)


@pytest.mark.parametrize("name", CLASSICS)
@pytest.mark.parametrize(("factor", "offset"), [(1.0, 0.0), (-2.5, 7.0)])
def test_a_classic_function_is_found_up_to_a_factor_and_an_offset(
    name: str, factor: float, offset: float
) -> None:
    x = torch.linspace(-4, 4, 65)
    found = likeness(x, factor * curve_of(name, x)[None] + offset, torch.randn(10_000))
    assert found["nearest"] == name
    assert found["nearest_r2"] == 1
    assert found["line_r2"] < 1


def test_a_curve_is_judged_where_its_inputs_are() -> None:
    x = torch.linspace(-4, 4, 65)
    relu = torch.relu(x)[None]
    assert likeness(x, relu, 1 + torch.rand(1000))["line_r2"] == 1
    assert likeness(x, relu, None)["line_r2"] < 0.9
    assert likeness(x, torch.ones(1, 65), None)["line_r2"] == 1
    assert likeness(x, relu, torch.full((100,), 2.0))["line_r2"] == 1


def test_the_shapes_say_what_they_are_like() -> None:
    by_site = {site["site"]: site for site in shapes(own=ActivationSpec("silu"))}
    assert by_site["own"]["nearest"] == "silu"
    assert by_site["own"]["nearest_r2"] == 1


def history(epochs: int, name: str = "acon_c", **params: Any) -> ShapeHistory:
    """Return a history of epochs in each of which a curve changes; ACON's becomes steeper."""
    model, batch = Mixed(), torch.randn(4, 3, 8, 8)
    plan = find_sites(model, batch)
    sites = {site.id: ActivationSpec("relu") for site in plan.sites}
    candidate = Candidate(sites | {"own": ActivationSpec(name, params)})
    apply(model, candidate, batch)
    kept = ShapeHistory(plan, candidate)
    for epoch in range(1, epochs + 1):
        with torch.no_grad():
            for parameter in model.own.parameters():
                parameter.add_(0.1)
        kept.record(epoch, model, batch)
    return kept


def test_the_history_follows_the_sites_that_learn() -> None:
    kept = history(3)
    document = json.loads(kept.document())
    assert [one["epoch"] for one in document["epochs"]] == [1, 2, 3]
    assert [site["site"] for site in document["epochs"][0]["sites"]] == ["own"]
    ends = [one["sites"][0]["curves"][0][-1] for one in document["epochs"]]
    assert ends == sorted(set(ends))
    site = document["epochs"][0]["sites"][0]
    assert (len(site["curves"]), len(site["curves"][0]), len(site["histogram"])) == (4, 33, 16)
    assert sum(site["histogram"]) == pytest.approx(1, abs=0.05)


def test_the_history_has_the_knots_and_the_switches_of_then() -> None:
    pwlu = history(1, "pwlu", segments=4, bounds=2).epochs[0]["sites"][0]
    assert pwlu["knots"] == [pytest.approx([-1.9, -0.9, 0.1, 1.1, 2.1])] * 4
    meta = history(2, "meta_acon")
    (first,), (second,) = (one["sites"] for one in meta.epochs)
    assert (len(first["switches"]), len(first["switches"][0])) == (4, 4)
    assert first["switches"] != second["switches"]


@pytest.mark.parametrize("epochs", [32, 33, 64, 200])
def test_a_long_history_is_thinned_evenly(epochs: int) -> None:
    kept = history(epochs)
    numbers = [one["epoch"] for one in kept.epochs]
    assert 16 <= len(numbers) <= 32
    stride = numbers[0]
    assert numbers == list(range(stride, epochs + 1, stride))


def test_nothing_that_learns_has_no_history() -> None:
    model, batch = Mixed(), torch.randn(4, 3, 8, 8)
    plan = find_sites(model, batch)
    kept = ShapeHistory(plan, Candidate({"own": ActivationSpec("silu")}))
    kept.record(1, model, batch)
    assert kept.epochs == []


def test_the_inputs_of_a_site_are_counted_along_the_curve() -> None:
    by_id = {shape["site"]: shape for shape in shapes()}
    own = by_id["own"]
    assert len(own["density"]) == len(own["x"]) - 1
    assert sum(own["density"]) == pytest.approx(1, abs=0.01)
    below = [d for d, x in zip(own["density"], own["x"], strict=False) if x < -2.9]
    assert sum(below) < 0.1
    assert by_id[":relu@1"]["density"] is None


def test_pwlu_tells_where_its_pieces_meet() -> None:
    by_id = {s["site"]: s for s in shapes(own=ActivationSpec("pwlu", {"segments": 4, "bounds": 2}))}
    (knots, *others) = by_id["own"]["knots"]
    assert knots == pytest.approx([-2, -1, 0, 1, 2])
    assert len(others) == 7
    assert "knots" not in by_id["shared"]


def test_meta_acon_tells_the_switches_of_samples() -> None:
    by_id = {shape["site"]: shape for shape in shapes(own=ActivationSpec("meta_acon"))}
    switches = by_id["own"]["switches"]
    assert (len(switches), len(switches[0])) == (8, 4)
    assert all(0 < beta < 1 for channel in switches for beta in channel)
