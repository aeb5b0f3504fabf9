"""Building a module from a spec."""

import pytest

from search_space.activations.acon import AconC, MetaAcon
from search_space.activations.fixed import ReLU
from search_space.activations.pwlu import PWLU
from search_space.build import build
from search_space.errors import BadParameter, UnknownActivation
from search_space.spec import ActivationSpec


def test_a_spec_becomes_its_module() -> None:
    pwlu = build(ActivationSpec("pwlu", {"segments": 4}, share="layer"), channels=3)
    assert isinstance(pwlu, PWLU)
    assert pwlu.values.shape == (1, 5)
    meta = build(ActivationSpec("meta_acon", {"reduction": 2}), channels=24)
    assert isinstance(meta, MetaAcon)
    assert meta.fc1.out_features == 12
    acon = build(ActivationSpec("acon_c", initial="silu"), channels=3, channel_dim=-1)
    assert isinstance(acon, AconC)
    assert acon.channel_dim == -1
    assert isinstance(build(ActivationSpec("relu"), channels=3), ReLU)


def test_a_learned_activation_starts_as_asked() -> None:
    assert build(ActivationSpec("pwlu", initial="gelu"), channels=3).initial == "gelu"
    assert build(ActivationSpec("pwlu"), channels=3).initial == "relu"


@pytest.mark.parametrize(
    ("spec", "parameter"),
    [
        (ActivationSpec("pwlu", {"segments": 1}), "segments"),
        (ActivationSpec("pwlu", {"segments": 8.0}), "segments"),
        (ActivationSpec("pwlu", {"segment": 8}), "segment"),
        (ActivationSpec("pwlu", initial="paper"), "initial"),
        (ActivationSpec("meta_acon", share="layer"), "share"),
        (ActivationSpec("relu", initial="relu"), "initial"),
    ],
)
def test_a_spec_that_is_wrong_is_refused_by_its_field(spec: ActivationSpec, parameter: str) -> None:
    with pytest.raises(BadParameter) as caught:
        build(spec, channels=3)
    assert (caught.value.activation, caught.value.parameter) == (spec.name, parameter)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownActivation, match="no activation named 'swosh'"):
        build(ActivationSpec("swosh"), channels=3)


def test_a_kernel_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BadParameter, match="no fused kernel"):
        build(ActivationSpec("relu"), channels=3, fused=True)


def test_meta_acon_refuses_channels_last() -> None:
    with pytest.raises(BadParameter, match="channel_dim must be 1, got -1"):
        build(ActivationSpec("meta_acon"), channels=3, channel_dim=-1)
