"""The fused twins: the plain modules, computed by kernels after the statistics phase."""

import math
from typing import Any

from torch import Tensor, nn

from search_space.activations.acon import AconC, MetaAcon
from search_space.activations.broadcasting import working_dtype
from search_space.activations.pwlu import PWLU
from search_space.activations.swish import AconA, AconB, Swish
from search_space.errors import BadParameter
from search_space.kernels.acon import acon_c
from search_space.kernels.pwlu import pwlu


class FusedPWLU(PWLU):
    """`PWLU` in one pass over the input; the plain module while it collects statistics."""

    def forward(self, x: Tensor) -> Tensor:
        if self.collecting:
            return super().forward(x)
        parameters = (self.values, self.left_slope, self.right_slope, self.left, self.right)
        return pwlu(x, *parameters, channel_dim=self.channel_dim)


class FusedAconC(AconC):
    """`AconC` in one pass over the input."""

    def forward(self, x: Tensor) -> Tensor:
        return acon_c(x, *self.acon_c_parameters(), self.channel_dim)


class FusedAconA(AconA):
    """`AconA` in one pass over the input."""

    def forward(self, x: Tensor) -> Tensor:
        return acon_c(x, *self.acon_c_parameters(), self.channel_dim)


class FusedSwish(Swish):
    """`Swish` in one pass over the input."""

    def forward(self, x: Tensor) -> Tensor:
        return acon_c(x, *self.acon_c_parameters(), self.channel_dim)


class FusedAconB(AconB):
    """`AconB` in one pass over the input."""

    def forward(self, x: Tensor) -> Tensor:
        return acon_c(x, *self.acon_c_parameters(), self.channel_dim)


class FusedMetaAcon(MetaAcon):
    """`MetaAcon` in one pass over the input after the mean that its switch is computed from."""

    def __init__(self, channels: int, **options: Any) -> None:
        super().__init__(channels, **options)
        if self.each == "pixel":
            expected = "False: a switch of each pixel has no fused kernel"
            raise BadParameter("meta_acon", "fused", True, expected)

    def forward(self, x: Tensor) -> Tensor:
        # Only the switch of a channel depends on means alone.
        switching = _mean(x) if self.each == "channel" else x
        return acon_c(x, self.p1, self.p2, self.switch(switching))


def _mean(x: Tensor) -> Tensor:
    """Return the mean over positions, as an input of one position.

    Computed by a sum, because the gradient of a sum is a view, which is added to the kernel's
    gradient in place; that of a mean is one more tensor of the size of the input.
    """
    positions = tuple(range(2, x.dim()))
    if not positions or x.numel() == 0:
        return x
    total = x.sum(positions, keepdim=True, dtype=working_dtype(x))
    return total / math.prod(x.shape[2:])


_TWINS: dict[type[nn.Module], type[nn.Module]] = {
    PWLU: FusedPWLU,
    AconA: FusedAconA,
    AconB: FusedAconB,
    AconC: FusedAconC,
    Swish: FusedSwish,
    MetaAcon: FusedMetaAcon,
}


def twin(plain: type[nn.Module]) -> type[nn.Module] | None:
    """Return the fused class with the constructor, parameters and numbers of `plain`."""
    return _TWINS.get(plain)


def without_kernels(model: nn.Module) -> nn.Module:
    """Turn every fused module of `model` into its plain class, in place, and return the model."""
    plain = {fused: kind for kind, fused in _TWINS.items()}
    for module in model.modules():
        if type(module) in plain:
            # Twins have equal attributes, so the class alone makes the difference.
            module.__class__ = plain[type(module)]
    return model
