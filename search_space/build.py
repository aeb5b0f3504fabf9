"""Builds a module from a spec."""

from torch import nn

from search_space.catalog.entry import Entry
from search_space.catalog.lookup import get_entry, validate
from search_space.errors import BadParameter
from search_space.spec import ActivationSpec


def build(
    spec: ActivationSpec, *, channels: int, channel_dim: int = 1, fused: bool = False
) -> nn.Module:
    """Return a new module for `spec`.

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        fused: Build the fused twin: equal parameters and numbers, computed by one kernel. It is
            used only on request, and an activation without one is an error.

    Raises:
        UnknownActivation: If the catalogue does not hold the name.
        BadParameter: If a parameter, the share or the start is not one of the entry's; or
            if `fused`, and the activation has no fused kernel.
    """
    entry = validate(spec)
    return construct(entry, spec, channels=channels, channel_dim=channel_dim, fused=fused)


def has_fused_twin(spec: ActivationSpec) -> bool:
    """Whether `build(spec, fused=True)` has a kernel."""
    # Imported here, so that `build` loads in a process that never uses a kernel.
    from search_space.kernels.modules import twin

    # With a switch of each pixel Meta-ACON is another function, which no kernel computes.
    is_per_pixel = spec.params.get("switch") == "pixel"
    return twin(get_entry(spec.name).load()) is not None and not is_per_pixel


def construct(
    entry: Entry,
    spec: ActivationSpec,
    *,
    channels: int,
    channel_dim: int = 1,
    fused: bool = False,
) -> nn.Module:
    """Return a new module for a spec of `entry`, which need not be in the catalogue."""
    kind: type[nn.Module] = entry.load()
    if fused:
        kind = _fused(spec.name, kind)
    return kind(**entry.arguments(spec, channels=channels, channel_dim=channel_dim))


def _fused(name: str, kind: type[nn.Module]) -> type[nn.Module]:
    """Return the fused twin of a module's class. Its kernel compiles at its first call."""
    from search_space.kernels.modules import twin

    found = twin(kind)
    if found is None:
        raise BadParameter(name, "fused", True, "False: it has no fused kernel")
    return found
