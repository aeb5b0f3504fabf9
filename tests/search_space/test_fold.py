"""Folding for inference: the same numbers from less, or the network as it was."""

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from search_space import fold as folding
from search_space.activations.learned import learned_parameters, phased_modules
from search_space.apply import apply
from search_space.errors import FoldDiffers
from search_space.fold import FoldedAcon, FoldedMetaAcon, FoldedPWLU, fold
from search_space.spec import ActivationSpec

SPECS = {
    "pwlu": ActivationSpec("pwlu", {"segments": 5}),
    "pwlu of the layer": ActivationSpec("pwlu", share="layer"),
    "acon_a": ActivationSpec("acon_a"),
    "acon_b": ActivationSpec("acon_b"),
    "acon_c": ActivationSpec("acon_c"),
    "acon_c of the layer": ActivationSpec("acon_c", share="layer"),
    "swish": ActivationSpec("swish"),
    "meta_acon": ActivationSpec("meta_acon"),
    "meta_acon without norm": ActivationSpec("meta_acon", {"norm": "none"}),
    "meta_acon with layer norm": ActivationSpec("meta_acon", {"norm": "layer"}),
    "meta_acon by pixel": ActivationSpec("meta_acon", {"switch": "pixel"}),
    "pwlu_free": ActivationSpec("pwlu_free"),
    "frelu": ActivationSpec("frelu"),
}
UNFOLDED = {"meta_acon with layer norm", "meta_acon by pixel", "pwlu_free", "frelu"}


def trained(spec: ActivationSpec, x: Tensor) -> nn.Sequential:
    """Return a small network, for images or tokens, whose parameters have left their start."""
    first = nn.Conv2d(x.shape[1], 6, 1) if x.dim() == 4 else nn.Linear(x.shape[-1], 6)
    model = nn.Sequential(first, nn.ReLU())
    apply(model, {"1": spec}, x)
    model(x)
    for module in phased_modules(model):
        module.realign()
    with torch.no_grad():
        for parameter in learned_parameters(model):
            parameter.add_(0.2 * torch.rand_like(parameter))
    for _ in range(3):
        model(x)
    return model


@pytest.mark.parametrize("name", SPECS)
def test_the_numbers_stay(name: str, images: Tensor) -> None:
    model = trained(SPECS[name], images)
    expected = model.eval()(images)
    assert fold(model, images) is model
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
    folded = isinstance(model[1], FoldedPWLU | FoldedAcon | FoldedMetaAcon)
    assert folded is (name not in UNFOLDED)
    assert not any(p.requires_grad for p in learned_parameters(model))
    assert not model.training


@pytest.mark.parametrize("name", ["pwlu", "acon_c", "swish"])
def test_channels_last_fold_too(name: str) -> None:
    x = torch.randn(4, 7, 3)
    model = trained(SPECS[name], x)
    expected = model.eval()(x)
    torch.testing.assert_close(fold(model, x)(x), expected, rtol=1e-4, atol=1e-5)


def test_pwlu_extends_beyond_its_bounds_and_keeps_nan(images: Tensor) -> None:
    model = trained(SPECS["pwlu"], images)
    site = model[1].eval()
    extreme = torch.tensor([-1e6, 1e6, float("nan"), 0.0]).view(4, 1, 1, 1).expand(4, 6, 1, 1)
    expected = site(extreme)
    fold(model, images)
    torch.testing.assert_close(model[1](extreme), expected, equal_nan=True)


def test_a_shared_activation_is_folded_under_all_its_names(
    mixed: nn.Module, images: Tensor
) -> None:
    apply(mixed, {"layers.0.relu@2": ActivationSpec("acon_c")}, images)
    mixed.alias = mixed.get_submodule("layers.0.relu.1")
    expected = mixed.eval()(images)
    fold(mixed, images)
    assert mixed.alias is mixed.get_submodule("layers.0.relu.1")
    assert isinstance(mixed.alias, FoldedAcon)
    torch.testing.assert_close(mixed(images), expected, rtol=1e-4, atol=1e-5)


def test_what_still_collects_statistics_stays(images: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU())
    apply(model, {"1": SPECS["pwlu"]}, images)
    before = model[1]
    fold(model, images)
    assert model[1] is before


def test_a_fold_that_changes_the_output_is_undone(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained(SPECS["acon_c"], images)
    site, expected = model[1], model.eval()(images)

    def wrong(module: nn.Module) -> nn.Module | None:
        return nn.ReLU() if module is site else None

    monkeypatch.setattr(folding, "_form", wrong)
    with pytest.raises(FoldDiffers, match=r"off by .* more than 0.000345"):
        fold(model, images)
    assert model[1] is site
    torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize("name", ["pwlu", "acon_c", "meta_acon"])
def test_a_folded_network_is_exported(name: str, images: Tensor) -> None:
    model = fold(trained(SPECS[name], images), images)
    exported = torch.export.export(copy.deepcopy(model), (images,)).module()
    torch.testing.assert_close(exported(images), model(images))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("name", SPECS)
def test_a_folded_network_compiles_without_a_break(name: str, images: Tensor) -> None:
    model = fold(trained(SPECS[name], images), images)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images), model(images))
    torch.testing.assert_close(compiled(3 * images), model(3 * images))


@pytest.mark.parametrize("name", SPECS)
def test_a_folded_network_runs_under_amp_as_the_network_does(name: str, images: Tensor) -> None:
    model = trained(SPECS[name], images).eval()
    folded = fold(copy.deepcopy(model), images)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, output = model(images), folded(images)
    assert output.dtype == expected.dtype == torch.bfloat16
    # Eight bits of a number are kept, and the convolution before has rounded, too.
    torch.testing.assert_close(output, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pwlu", "acon_c", "meta_acon"])
def test_a_folded_network_runs_in_onnxruntime(name: str, images: Tensor, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = fold(trained(SPECS[name], images), images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (images,), tmp_path / "model.onnx", dynamo=True)
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    (output,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    torch.testing.assert_close(torch.from_numpy(output), model(images), rtol=1e-4, atol=1e-5)
