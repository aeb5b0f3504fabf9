"""The standalone file: it computes and trains what `apply` does, without anything of ours."""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.apply import apply, parameter_groups
from search_space.catalog.lookup import CATALOG, check_fit
from search_space.errors import UnfitActivation
from search_space.phases import Phases
from search_space.sites import find_sites
from search_space.spec import ActivationConfig, ActivationSpec, Candidate, SitePlan, Training
from search_space.standalone.generate import standalone
from tests.search_space.conftest import MIXED_SITES, Mixed, outputs

NAMES = ["acon_c", "pwlu", "meta_acon", "silu", "relu", "gelu", "pwlu", "acon_c", "meta_acon"]
SPECS = {id: ActivationSpec(name) for id, name in zip(MIXED_SITES, NAMES, strict=True)}


def config_of(
    specs: Mapping[str, ActivationSpec], model: nn.Module, images: Tensor
) -> ActivationConfig:
    plan = find_sites(model, images)
    return ActivationConfig(Candidate(specs), {"name": "test"}, plan, plan.fingerprint)


def loaded(config: ActivationConfig) -> ModuleType:
    """Return the file as a module; it must not look for anything of ours."""
    text = standalone(config)
    module = ModuleType("activations_standalone")
    # Dataclasses look their module up.
    sys.modules[module.__name__] = module
    exec(compile(text, "activations_standalone.py", "exec"), module.__dict__)
    return module


def same_state(one: nn.Module, other: nn.Module) -> None:
    """Check that names and numbers are equal, and make the numbers so."""
    assert list(one.state_dict()) == list(other.state_dict())
    other.load_state_dict(one.state_dict())


def test_it_reaches_modules_shared_modules_and_functions(mixed: nn.Module, images: Tensor) -> None:
    file = loaded(config_of(SPECS, mixed, images))
    theirs = file.apply(Mixed())
    ours = apply(mixed, SPECS, images)
    same_state(ours, theirs)
    torch.testing.assert_close(outputs(theirs, images), outputs(ours, images), rtol=0, atol=0)


class Nested(nn.Module):
    """Calls functions inside modules that call functions themselves."""

    class Inner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x) + torch.sigmoid(x)

    def __init__(self) -> None:
        super().__init__()
        self.inner = self.Inner()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.inner(torch.relu(x)) - self.act(x - 1)) + torch.relu(-x)


@pytest.mark.parametrize("sites", [[":relu@2"], [":relu@1", ":relu@3"], ["inner:relu@1", "act"]])
def test_calls_inside_other_modules_are_not_counted(sites: list[str], images: Tensor) -> None:
    specs = dict.fromkeys(sites, ActivationSpec("acon_c"))
    file = loaded(config_of(specs, Nested(), images))
    theirs, ours = file.apply(Nested()), apply(Nested(), specs, images)
    same_state(ours, theirs)
    torch.testing.assert_close(theirs(images), ours(images), rtol=0, atol=0)


def fitting(plan: SitePlan) -> dict[str, ActivationSpec]:
    """Return every activation that the only site takes."""
    found = {}
    for name, entry in CATALOG.items():
        try:
            check_fit(entry, plan.sites[0])
        except UnfitActivation:
            continue
        found[name] = ActivationSpec(name, share=entry.shares[0] if entry.shares else "channel")
    return found


def single() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_every_activation_of_the_catalogue_has_a_standalone_form(name: str, images: Tensor) -> None:
    spec = fitting(find_sites(single(), images))[name]
    specs = {"1": spec}
    file = loaded(config_of(specs, single(), images))
    ours, theirs = apply(single(), specs, images), file.apply(single())
    same_state(ours, theirs)
    torch.testing.assert_close(outputs(theirs, images), outputs(ours, images), rtol=0, atol=0)


def test_all_of_the_catalogue_stands_in_one_file(images: Tensor) -> None:
    names = sorted(CATALOG)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), *(nn.ReLU() for _ in names))
    specs = fitting(find_sites(single(), images))
    config = config_of({str(i + 1): specs[n] for i, n in enumerate(names)}, model, images)
    file = loaded(config)
    assert file.apply(model)(images).shape == (4, 8, 12, 12)


def test_a_network_without_a_site_is_refused_by_name(mixed: nn.Module, images: Tensor) -> None:
    file = loaded(config_of(SPECS, mixed, images))
    other = Mixed()
    other.register_module("act", None)
    with pytest.raises(ValueError, match=r"no site act$"):
        file.apply(other)


def test_a_plan_that_does_not_say_where_its_sites_are_is_refused(
    mixed: nn.Module, images: Tensor
) -> None:
    config = config_of(SPECS, mixed, images)
    plan = SitePlan(tuple(replace(site, place=None) for site in config.plan.sites))
    with pytest.raises(ValueError, match=r"does not say where these sites are: :relu@1, "):
        standalone(replace(config, plan=plan))


def test_given_an_example_it_checks_itself(
    mixed: nn.Module, images: Tensor, tmp_path: Path
) -> None:
    file = loaded(config_of(SPECS, mixed, images))
    model = Mixed()
    checked = file.apply(copy.deepcopy(model), example=images)
    assert checked.training
    same_state(file.apply(model), checked)
    assert torch.equal(model.eval()(images), checked.eval()(images))

    class Suspicious(Mixed):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (1.0 if type(self.act) is nn.SiLU else 2.0)

    with pytest.raises(file.ApplyFails, match=r"off by 1 of the largest"):
        file.apply(Suspicious(), example=images)
    state = file.apply(Mixed()).state_dict()
    save_file({name: tensor * torch.nan for name, tensor in state.items()}, tmp_path / "w")
    with pytest.raises(file.ApplyFails, match="not finite where all were"):
        file.apply(Mixed(), start="learned", weights=tmp_path / "w", example=images)


def example(file: ModuleType) -> str:
    """Return the code that the head of the file shows."""
    assert file.__doc__ is not None
    return dedent(
        "\n".join(line for line in file.__doc__.splitlines() if not line or line[:4] == "    ")
    )


def test_the_code_in_its_head_runs_and_decays_the_network_alone(
    mixed: nn.Module, images: Tensor
) -> None:
    file = loaded(config_of(SPECS, mixed, images))
    made = []
    for decay in (0.0, 0.25):
        torch.manual_seed(0)
        names: dict[str, Any] = {
            "model": Mixed(),
            "images": images,
            "SGD": torch.optim.SGD,
            "cross_entropy": F.cross_entropy,
            "batches": [(images, torch.zeros(4, dtype=torch.long))],
            "LR": 0.1,
            "WEIGHT_DECAY": decay,
            "EPOCHS": 1,
            "STEPS_PER_EPOCH": 1,
        }
        exec(example(file), names)
        made.append(names["optimizer"])
    network, activations = (
        [
            torch.equal(one, other)
            for one, other in zip(*(o.param_groups[i]["params"] for o in made), strict=True)
            if one.dim() > 1 or i == 1
        ]
        for i in range(2)
    )
    assert not any(network)
    assert all(activations)


def test_learned_shapes_need_their_file(mixed: nn.Module, images: Tensor) -> None:
    file = loaded(config_of(SPECS, mixed, images))
    with pytest.raises(ValueError, match="name the file of the weights"):
        file.apply(Mixed(), start="learned")


LEARNED = ("acon_c", "meta_acon", "frelu", "pwlu", "acon_c", "meta_acon", "frelu")


def trained(
    images: Tensor, path: Path, *, steps: int = 6
) -> tuple[ActivationConfig, dict[str, Tensor]]:
    """Train a network whose activations all learn, and save it; return its tensors, too."""
    model = chain(len(LEARNED))
    specs = {str(2 * i + 1): ActivationSpec(name) for i, name in enumerate(LEARNED)}
    config = config_of(specs, model, images)
    train(apply(model, config, images), images, steps=steps)
    save_file(model.state_dict(), path)
    return config, model.state_dict()


def chain(count: int) -> nn.Sequential:
    layers = [(nn.Conv2d(3 if i == 0 else 8, 8, 1), nn.ReLU()) for i in range(count)]
    return nn.Sequential(*(layer for pair in layers for layer in pair))


def train(model: nn.Module, images: Tensor, *, steps: int, file: ModuleType | None = None) -> None:
    """Train on other images in every step, with what the file has if there is one."""
    groups = parameter_groups if file is None else file.parameter_groups
    optimizer = torch.optim.SGD(groups(model, lr=0.05))
    phases = (Phases if file is None else file.Phases)(model, optimizer, steps=steps)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model(images + torch.randn_like(images)).square().mean().backward()
        optimizer.step()
        phases.step()


@pytest.mark.parametrize("start", ["learned", "frozen"])
def test_learned_shapes_are_exactly_those_of_the_file(
    start: str, images: Tensor, tmp_path: Path
) -> None:
    config, tensors = trained(images, tmp_path / "w")
    file, model = loaded(config), chain(len(LEARNED))
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    file.apply(model, start=start, weights=tmp_path / "w")
    state = model.state_dict()
    own = state.keys() - fresh.keys()
    assert own == tensors.keys() - fresh.keys()
    assert all(torch.equal(state[name], tensors[name]) for name in own)
    assert all(torch.equal(state[name], tensor) for name, tensor in fresh.items())


@pytest.mark.parametrize("steps", [6, 0])
def test_what_is_frozen_stays_the_same_function_while_the_network_trains(
    steps: int, images: Tensor, tmp_path: Path
) -> None:
    config, _ = trained(images, tmp_path / "w", steps=steps)
    file, model = loaded(config), chain(len(LEARNED))
    file.apply(model, start="frozen", weights=tmp_path / "w")
    probes = torch.randn(4, 8, 12, 12)
    activations = [model[2 * i + 1] for i in range(len(LEARNED))]

    def seen() -> list[Tensor]:
        state = [tensor.clone() for one in activations for tensor in one.state_dict().values()]
        return [*state, *(one(probes) for one in activations)]

    model.eval()
    weight = model.get_parameter("0.weight")
    before, convolution = seen(), weight.detach().clone()
    train(model, images, steps=6, file=file)
    assert not torch.equal(weight, convolution), "the network itself trains"
    torch.testing.assert_close(seen(), before, rtol=0, atol=0)


def test_shapes_of_another_network_are_refused(
    mixed: nn.Module, images: Tensor, tmp_path: Path
) -> None:
    file = loaded(config_of(SPECS, mixed, images))
    path = tmp_path / "weights.safetensors"
    save_file({"stem.weight": torch.zeros(8, 3, 3, 3)}, path)
    with pytest.raises(ValueError, match=r"do not fit layers.0.relu.0: .*\n.*Missing key"):
        file.apply(Mixed(), start="learned", weights=path)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_weights_are_read_as_safetensors_writes_them(
    dtype: torch.dtype, tmp_path: Path, mixed: nn.Module, images: Tensor
) -> None:
    file = loaded(config_of(SPECS, mixed, images))
    tensors = {
        "a": torch.arange(6).reshape(2, 3).to(dtype),
        "none": torch.zeros(0, 4, dtype=dtype),
        "one": torch.tensor(1).to(dtype),
    }
    save_file(tensors, tmp_path / "w", metadata={"by": "a test"})
    read = file.read_weights(tmp_path / "w")
    assert set(read) == set(tensors)
    assert all(torch.equal(read[n], t) and read[n].dtype == t.dtype for n, t in tensors.items())


LOOP = """
import torch
from torch.nn import functional as F

def train(model, phases_of, groups_of, epochs=3, steps=8):
    optimizer = torch.optim.SGD(groups_of(model, lr=0.05, factor=0.5), lr=0.05, momentum=0.9)
    phases = phases_of(model, optimizer, steps=epochs * steps, share=0.1)
    losses = []
    for epoch in range(epochs):
        for step in range(steps):
            torch.manual_seed(100 * epoch + step)
            x = torch.randn(16, 3, 16, 16)
            loss = F.cross_entropy(model(x), (x.mean((1, 2, 3)) > 0).long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            phases.step()
            losses.append(loss.item())
    return losses
"""

NETWORK = """
from cifar_resnet import CifarResNet

def make():
    return CifarResNet(3, 10, depth=20)
"""


@pytest.mark.slow
def test_resnet20_trains_in_a_bare_process_as_it_does_here(tmp_path: Path) -> None:
    networks = Path("workers/networks")
    user_code = (networks / "cifar_resnet.py").read_text().replace("workers.networks.", "")
    (tmp_path / "cifar_resnet.py").write_text(user_code)
    shutil.copy(networks / "layers.py", tmp_path)
    (tmp_path / "network.py").write_text(NETWORK)
    (tmp_path / "loop.py").write_text(LOOP)
    shutil.copy(Path(__file__).with_name("bare.py"), tmp_path)

    from workers.networks.cifar_resnet import CifarResNet

    x = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = CifarResNet(3, 10, depth=20)
    plan = find_sites(model, x)
    names = ["pwlu", "acon_c", "meta_acon", "silu", "relu"]
    specs = {s.id: ActivationSpec(names[i % 5]) for i, s in enumerate(plan.sites)}
    training = Training(activation_learning_rate_factor=0.5)
    config = ActivationConfig(Candidate(specs, training), {"name": "test"}, plan, plan.fingerprint)
    (tmp_path / "activations_standalone.py").write_text(standalone(config))
    torch.manual_seed(1)
    apply(model, config, x)
    loop: dict[str, Any] = {}
    exec(LOOP, loop)
    train: Callable[..., list[float]] = loop["train"]
    losses = train(model, Phases, parameter_groups)
    torch.set_num_threads(before)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")

    command = [sys.executable, "-c", "import runpy; runpy.run_path('bare.py')"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["losses"] == losses
    torch.testing.assert_close(torch.tensor(result["output"]), model.eval()(x))
    learned = [p for g in parameter_groups(model, lr=1.0)[1:] for p in g["params"]]
    assert result["frozen"] == len(learned)
