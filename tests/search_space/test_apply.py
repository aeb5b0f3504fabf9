"""What `apply` changes in a network, and all that it leaves alone."""

import copy
import pickle
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space import apply as applying
from search_space import selfcheck
from search_space.activations.acon import AconC, MetaAcon
from search_space.activations.fixed import SiLU
from search_space.activations.learned import phased_modules
from search_space.activations.pwlu import PWLU
from search_space.apply import apply, parameter_groups
from search_space.errors import ApplyFails, BadParameter, NoSuchSite, SitesDiffer, UnfitActivation
from search_space.sites import find_sites, probe
from search_space.spec import ActivationConfig, ActivationSpec, Candidate
from search_space.surgery.substitution import PerCall
from tests.search_space.conftest import MIXED_SITES, Block, Mixed, outputs

SILU, ACON, PIECES = ActivationSpec("silu"), ActivationSpec("acon_c"), ActivationSpec("pwlu")
NAMES = ["acon_c", "pwlu", "meta_acon", "silu", "relu", "gelu", "pwlu", "acon_c", "meta_acon"]
SPECS = {id: ActivationSpec(name) for id, name in zip(MIXED_SITES, NAMES, strict=True)}

# Torch warns of itself: its compiler instantiates the functions that it traces.
compiles = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")


class Silent(Mixed):
    """`Mixed` as written by hand with SiLU where it calls ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(F.silu(self.stem(x)))
        x = self.dropout(self.act(x)).mean((2, 3))
        x = F.silu(x - 0.1)
        y: Tensor = self.head(F.silu(F.gelu(x, approximate="tanh")))
        return y


def by_hand(model: nn.Module) -> nn.Module:
    twin = Silent()
    twin.load_state_dict(model.state_dict())
    for block in (twin.layers[0], twin.layers[2]):
        block.relu = nn.SiLU()
    return twin.train(model.training)


@pytest.fixture
def applied(mixed: nn.Module, images: Tensor) -> nn.Module:
    return apply(mixed, SPECS, images)


def test_it_computes_what_the_same_network_written_by_hand_computes(
    mixed: nn.Module, images: Tensor
) -> None:
    expected = outputs(by_hand(mixed), images)
    relus = [site.id for site in find_sites(mixed, images).sites if site.original == "relu"]
    apply(mixed, dict.fromkeys(relus, SILU), images)
    torch.testing.assert_close(outputs(mixed, images), expected)


@pytest.mark.parametrize("site", MIXED_SITES)
def test_replacing_one_call_changes_that_call_alone(
    mixed: nn.Module, images: Tensor, site: str
) -> None:
    apply(mixed, {site: ACON}, images)
    originals = {s.id: s.original for s in find_sites(mixed, images).sites}
    before = {s.id: s.original for s in find_sites(Mixed(), images).sites}
    assert originals == before | {site: "acon_c"}


def test_originals_leave_the_network_untouched(mixed: nn.Module, images: Tensor) -> None:
    twin = copy.deepcopy(mixed)
    sites = find_sites(mixed, images).sites
    result = apply(mixed, {s.id: ActivationSpec(s.original) for s in sites}, images)
    assert result is mixed
    assert [type(m) for m in mixed.modules()] == [type(m) for m in twin.modules()]
    assert not any("forward" in m.__dict__ for m in mixed.modules())
    expected, found = outputs(twin, images), outputs(mixed, images)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_everything_else_keeps_its_name_class_and_object(mixed: Mixed, images: Tensor) -> None:
    kept = {n: m for n, m in mixed.named_modules() if not n.endswith(("relu", "act"))}
    names, classes = list(mixed.state_dict()), {n: type(m) for n, m in kept.items()}
    calls: list[str] = []
    mixed.head.register_forward_hook(lambda *_: calls.append("head"))
    mixed.register_forward_pre_hook(lambda *_: calls.append("root"))
    apply(mixed, SPECS, images)
    calls.clear()
    mixed(images)
    assert calls == ["root", "head"]
    assert [n for n in mixed.state_dict() if n in names] == names
    assert {n: type(m) for n, m in mixed.named_modules() if n in kept} == classes
    assert all(mixed.get_submodule(n) is m for n, m in kept.items())


def test_what_stands_in_is_trained_and_saved(applied: nn.Module, images: Tensor) -> None:
    applied(images).square().sum().backward()
    assert all(p.grad is not None for p in applied.parameters())
    assert isinstance(applied.get_submodule("actsearch_sites.relu_1"), AconC)
    assert isinstance(applied.get_submodule("layers.0.relu.1"), MetaAcon)
    fresh = apply(Mixed(), SPECS, images)
    fresh.load_state_dict(applied.state_dict())
    assert torch.equal(fresh.eval()(images), applied.eval()(images))


def test_new_modules_get_dtype_and_mode_of_the_network(images: Tensor) -> None:
    model = apply(Mixed().double().eval(), SPECS, images.double())
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert not any(m.training for m in model.modules())
    assert model(images.double()).dtype == torch.float64


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_independent_and_computes_the_same(
    applied: nn.Module, images: Tensor, training: bool, copied: Callable[[nn.Module], nn.Module]
) -> None:
    twin = copied(applied.train(training))
    results = []
    for model in (applied, twin):
        torch.manual_seed(0)
        results.append(model(images))
    assert torch.equal(*results)
    with torch.no_grad():
        for parameter in applied.parameters():
            parameter.zero_()
    torch.manual_seed(0)
    torch.testing.assert_close(twin(images), results[0])


@compiles
@pytest.mark.parametrize("training", [True, False])
def test_it_compiles_without_a_break(applied: nn.Module, images: Tensor, training: bool) -> None:
    twin = copy.deepcopy(applied.train(training))
    compiled = torch.compile(twin, fullgraph=True, backend="eager")
    assert isinstance(compiled, nn.Module)
    for _ in range(2):
        results = []
        for model in (applied, compiled):
            torch.manual_seed(0)
            model.zero_grad()
            y = model(images)
            y.square().sum().backward()
            results.append([y.detach(), *(p.grad for p in model.parameters())])
        torch.testing.assert_close(*results)


@compiles
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_what_a_compiler_cannot_replace_runs_outside_of_it(images: Tensor) -> None:
    class Blind(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu_(x + 1)

    model = apply(nn.Sequential(nn.Conv2d(3, 4, 1), Blind()), {"1:relu@1": ACON}, images)
    torch.testing.assert_close(torch.compile(model, backend="eager")(images), model(images))
    torch.compiler.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"torch\.relu_"):
        torch.compile(model, backend="eager", fullgraph=True)(images)


# The number of calls so far is written to, and back at the end of a pass.
@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects:UserWarning")
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("training", [True, False])
@compiles
def test_it_can_be_exported(
    applied: nn.Module, images: Tensor, training: bool, strict: bool
) -> None:
    dropout = applied.get_submodule("dropout")
    assert isinstance(dropout, nn.Dropout)
    dropout.p = 0.0
    twin = copy.deepcopy(applied.train(training))
    exported = torch.export.export(twin, (images,), strict=strict).module()
    torch.testing.assert_close(exported(images), applied(images))


def test_a_call_beyond_the_plan_uses_the_last_site() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x: Tensor, turns: int = 2) -> Tensor:
            for _ in range(turns):
                x = self.act(x) - 1
                x = F.relu(x) - 1
            return x

    model, x = Loop(), torch.randn(5, 3)
    specs = {"act": ACON, "act@2": SILU, ":relu@2": SILU}
    apply(model, specs, x)
    for turns in (1, 3, 2):
        expected = x
        for turn in range(turns):
            expected = F.silu(expected) - 1
            expected = (F.silu if turn else F.relu)(expected) - 1
        torch.testing.assert_close(model(x, turns), expected)


def test_a_pass_that_failed_does_not_shift_the_calls_of_the_next() -> None:
    model, x = Block(3).eval(), torch.randn(2, 3, 8, 8)
    apply(model, {"relu": ACON}, x)
    expected = model(x)
    counted = model.get_submodule("relu")
    assert isinstance(counted, PerCall)
    counted.calls = 1
    assert torch.equal(model(x), expected)


def test_one_relu_of_several_blocks_is_replaced_block_by_block() -> None:
    model, x = nn.Sequential(Block(3), Block(3)), torch.randn(2, 3, 8, 8)
    model[1].relu = model[0].relu
    apply(model, {"0.relu@2": PIECES, "1.relu": ACON}, x)
    originals = {s.id: s.original for s in find_sites(model, x).sites}
    assert originals == {
        "0.relu": "relu", "0.relu@2": "pwlu", "1.relu": "acon_c", "1.relu@2": "relu",
    }  # fmt: skip


def test_a_module_known_by_two_names_is_swapped_under_both() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()
            self.steps = nn.ModuleList([nn.Linear(3, 3), self.act])

        def forward(self, x: Tensor) -> Tensor:
            for step in self.steps:
                x = step(x)
            return x

    model, x = Twice(), torch.randn(4, 3)
    apply(model, {"act": SILU}, x)
    assert isinstance(model.act, SiLU)
    torch.testing.assert_close(model(x), F.silu(model.steps[0](x)))


@pytest.mark.parametrize(
    "write",
    [
        lambda _, x: F.relu(x, inplace=True),
        lambda _, x: x.relu_(),
        lambda _, x: torch.relu_(x),
        lambda m, x: m.act(x),
    ],
)
def test_what_relies_on_overwriting_still_can(write: Callable[[nn.Module, Tensor], object]) -> None:
    class Careless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)
            self.act = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            x = self.linear(x)
            view = x[:, :2]
            write(self, x)
            return x.sum() + view.sum()

    model, x = Careless(), torch.randn(4, 3)
    (site,) = find_sites(model, x).sites
    expected = F.silu(model.linear(x))
    apply(model, {site.id: ACON}, x)
    y = model(x)
    torch.testing.assert_close(y, expected.sum() + expected[:, :2].sum())
    y.backward()
    assert model.linear.weight.grad is not None


def test_a_second_candidate_takes_the_place_of_the_first(
    applied: nn.Module, images: Tensor
) -> None:
    apply(applied, dict.fromkeys(MIXED_SITES, SILU), images)
    assert {s.original for s in find_sites(applied, images).sites} == {"silu"}
    assert not list(phased_modules(applied))


def test_an_inner_module_keeps_its_calls_to_itself() -> None:
    class Inner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x - 1)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.act, self.start = Inner(), nn.ReLU(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.act(self.inner(self.start(x))) - 1)

    model, x = Outer(), torch.randn(5, 3) + 2
    # While it collects, PWLU itself calls ReLU.
    apply(model, {":relu@1": SILU, "start": PIECES}, x)
    torch.testing.assert_close(model(x), F.silu(F.relu(F.relu(x.relu() - 1)) - 1))


@pytest.mark.parametrize("replaced", [["layers.0:relu@1", "layers.1:relu@1"], ["layers.1:relu@1"]])
def test_a_transformer_computes_in_evaluation_what_it_trains(replaced: list[str]) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model, x = nn.TransformerEncoder(layer, 2), torch.randn(4, 5, 8)
    before = model(x)
    apply(model, dict.fromkeys(replaced, ACON), x)
    trained = model.train()(x)
    padding = torch.zeros(4, 5, dtype=torch.bool)
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(x), trained)
        torch.testing.assert_close(model(x, src_key_padding_mask=padding), trained)
    assert not torch.allclose(trained, before)


@pytest.mark.parametrize("activation", [nn.GELU(), F.gelu])
def test_a_transformer_layer_may_hold_its_activation_in_any_form(
    activation: Callable[[Tensor], Tensor],
) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, activation, batch_first=True)
    model, x = nn.Sequential(layer), torch.randn(2, 5, 8)
    (site,) = find_sites(model, x).sites
    assert (site.original, site.channels, site.channel_dim) == ("gelu", 16, -1)
    apply(model, {site.id: ActivationSpec("relu")}, x)
    trained = model.train()(x)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), trained)


def test_a_candidate_and_a_config_say_the_same_as_a_mapping(images: Tensor) -> None:
    plan = find_sites(Mixed(), images)
    candidate = Candidate({":relu@1": SILU})
    config = ActivationConfig(candidate, {"name": "toy"}, plan, plan.fingerprint)
    for form in (candidate, config):
        found = find_sites(apply(Mixed(), form, images), images).sites
        assert [s.original for s in found] == ["silu", *(s.original for s in plan.sites[1:])]


def test_a_config_of_another_network_lists_every_difference(images: Tensor) -> None:
    plan = find_sites(Mixed(), images)
    config = ActivationConfig(Candidate({":relu@1": SILU}), {}, plan, plan.fingerprint)
    other = Mixed()
    other.act, other.stem = nn.Identity(), nn.Conv2d(3, 9, 3)
    other.layers = nn.Sequential(nn.Conv2d(9, 6, 1), nn.ReLU())
    with pytest.raises(SitesDiffer) as caught:
        apply(other, config, images)
    assert caught.value.missing == (*MIXED_SITES[1:5], "act")
    assert caught.value.extra == ("layers.1",)
    assert caught.value.mis_sized == (":relu@1",)


def test_a_site_that_is_not_there_is_refused(mixed: nn.Module, images: Tensor) -> None:
    with pytest.raises(NoSuchSite, match=r"'layers.0.relu'"):
        apply(mixed, {"layers.0.rleu": SILU}, images)
    with pytest.raises(SitesDiffer) as caught:
        apply(mixed, {"a": SILU, "act": SILU, "b": SILU}, images)
    assert caught.value.missing == ("a", "b")


def test_nothing_changes_when_a_spec_is_wrong(mixed: nn.Module, images: Tensor) -> None:
    before = [type(m) for m in mixed.modules()]
    with pytest.raises(BadParameter):
        apply(mixed, {"act": ACON, ":relu@1": ActivationSpec("pwlu", {"segments": 0})}, images)
    assert [type(m) for m in mixed.modules()] == before


def test_an_activation_that_does_not_fit_is_refused() -> None:
    model, x = nn.Sequential(nn.Linear(8, 4), nn.ReLU()), torch.randn(2, 5, 8)
    with pytest.raises(UnfitActivation, match="meta_acon does not fit the site '1'"):
        apply(model, {"1": ActivationSpec("meta_acon")}, x)


class Suspicious(nn.Module):
    """Looks at the type of its activation."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(x)
        return y if type(self.act) is nn.ReLU else 1.01 * y


def test_a_swap_that_changes_more_than_the_activations_is_found(images: Tensor) -> None:
    with pytest.raises(ApplyFails, match=r"off by 0\.01 of the largest"):
        apply(Suspicious(), {"act": ActivationSpec("silu")}, images)
    apply(Suspicious(), {"act": ActivationSpec("silu")}, images, check=False)


def test_numbers_that_are_finite_no_more_are_found(images: Tensor) -> None:
    model = nn.Sequential(nn.ReLU())
    with pytest.raises(ApplyFails, match="not finite where all were"):
        apply(model, {"0": ActivationSpec("relu_squared")}, 1e25 * images)


def test_the_check_sees_every_way_to_call_an_activation_as_the_original_does(
    mixed: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[list[Tensor]] = []

    def noted(model: nn.Module, example_batch: Tensor) -> list[Tensor]:
        runs.append(selfcheck.outputs(model, example_batch))
        return runs[-1]

    monkeypatch.setattr(applying, "outputs", noted)
    expected = copy.deepcopy(mixed).eval()(images)
    for name in ("acon_c", "elu"):
        ids = [site.id for site in find_sites(mixed, images).sites]
        apply(mixed.train(), dict.fromkeys(ids, ActivationSpec(name)), images)
    first, second = runs[:3], runs[3:]
    assert torch.equal(first[0][0], expected)
    assert torch.equal(first[1][0], expected)
    assert not torch.allclose(first[2][0], expected)
    assert torch.equal(second[0][0], first[2][0])
    assert mixed.training


@pytest.mark.parametrize(
    ("check", "is_probed", "expected"),
    [
        (True, False, [True, False, False, False, False]),
        (False, False, [True, False]),
        (True, True, [False, False, False]),
        (False, True, []),
    ],
)
def test_the_network_runs_as_often_as_is_documented(
    mixed: nn.Module, images: Tensor, *, check: bool, is_probed: bool, expected: list[bool]
) -> None:
    found = probe(mixed, images) if is_probed else None
    modes: list[bool] = []
    mixed.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    apply(mixed, SPECS, images, check=check, found=found)
    assert modes == expected


def test_a_probe_handed_on_changes_no_bit_and_no_state(images: Tensor) -> None:
    results = []
    for is_probed in (False, True):
        torch.manual_seed(1)
        random.seed(1)
        model = Mixed()
        buffers = [buffer.clone() for buffer in model.buffers()]
        found = probe(model, images) if is_probed else None
        apply(model, SPECS, images, found=found)
        state = [torch.get_rng_state(), *(t.clone() for t in model.state_dict().values())]
        norms = [m for m in model.modules() if type(m) is nn.BatchNorm2d]
        after = [buffer for norm in norms for buffer in norm.buffers()]
        assert all(torch.equal(*pair) for pair in zip(buffers, after, strict=True))
        results.append(([*state, *outputs(model, images)], random.getstate()))
    (one, draws), (other, other_draws) = results
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
    assert draws == other_draws


def test_activation_parameters_have_their_own_group(applied: nn.Module) -> None:
    rest, own = parameter_groups(applied, lr=0.1, weight_decay=5e-4, factor=0.5)
    assert (rest["lr"], rest["weight_decay"]) == (0.1, 5e-4)
    assert (own["lr"], own["weight_decay"]) == (0.05, 0.0)
    grouped = [*map(id, rest["params"]), *map(id, own["params"])]
    assert sorted(grouped) == sorted(map(id, applied.parameters()))
    names = {n for n, p in applied.named_parameters() if any(p is q for q in own["params"])}
    assert "layers.0.relu.1.fc1.weight" in names
    assert not any(n.startswith(("stem", "head", "layers.0.conv")) for n in names)


def test_a_network_without_learned_activations_still_has_two_groups(mixed: nn.Module) -> None:
    groups = parameter_groups(mixed, lr=0.1)
    assert [len(g["params"]) for g in groups] == [len(list(mixed.parameters())), 0]
    torch.optim.SGD(groups).step()


def test_all_phases_of_a_network_end_together(applied: nn.Module, images: Tensor) -> None:
    applied(images)
    collecting = [m for m in phased_modules(applied) if m.collecting]
    assert [type(m) for m in collecting] == [PWLU, PWLU]
    optimizer = torch.optim.SGD(parameter_groups(applied, lr=0.01), momentum=0.9)
    for module in phased_modules(applied):
        module.realign()
    tables = [m.values for m in collecting if isinstance(m, PWLU)]
    before = [values.clone() for values in tables]
    applied(images).square().sum().backward()
    optimizer.step()
    assert not any(torch.equal(one, other) for one, other in zip(tables, before, strict=True))


def test_fused_twins_are_applied_where_asked_for_and_where_there_is_one() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.ReLU())
    batch = torch.randn(2, 3, 9, 9)
    specs = {
        "1": ActivationSpec("pwlu"),
        "3": ActivationSpec("meta_acon", {"switch": "pixel"}),
        "4": ActivationSpec("silu"),
    }
    plain = apply(copy.deepcopy(model), specs, batch)
    fused = apply(model, specs, batch, fused=True)
    assert [type(module).__name__ for module in fused.children()] == [
        "Conv2d",
        "FusedPWLU",
        "Conv2d",
        "MetaAcon",
        "SiLU",
    ]
    assert list(fused.state_dict()) == list(plain.state_dict())
