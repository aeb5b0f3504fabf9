"""Putting modules where calls of activations are, in place."""

from collections.abc import Callable, Iterable, Mapping

from torch import nn

from search_space.spec import Place, Site
from search_space.surgery.substitution import CONTAINER, PerCall, Substitution


def put(model: nn.Module, modules: Mapping[str, nn.Module], sites: Iterable[Site]) -> None:
    """Let each of `modules` compute the call at the site whose id it has.

    Args:
        sites: All sites and gates of the network, with their places.

    Raises:
        ValueError: If a site does not say where its call is.
    """
    places = {site.id: _known(site) for site in sites}
    for id, module in modules.items():
        _put(model, module, places[id], list(places.values()))
    if modules:
        _close_short_cuts(model)


def standing(model: nn.Module, place: Place | None) -> nn.Module | None:
    """Return the module that computes the call at a place; None where it is a function's."""
    if place is None:
        return None
    if place.target is not None:
        module = model.get_submodule(place.target)
        return module[place.number - 1] if isinstance(module, PerCall) else module
    covering = model.get_submodule(place.owner).__dict__.get("forward")
    if not isinstance(covering, Substitution):
        return None
    return covering.standing_in(place.function, place.number)[0]


def shield(model: nn.Module, calls_functions: Callable[[str, nn.Module], bool]) -> None:
    """Cover whatever calls an activation function inside an owner that counts such calls.

    Args:
        calls_functions: Whether the module at a path may call one by itself.
    """
    inner = [
        (path, module)
        for path, module in model.named_modules()
        if CONTAINER not in path.split(".") and calls_functions(path, module)
    ]
    for outer, owner in list(model.named_modules()):
        covering = owner.__dict__.get("forward")
        if isinstance(covering, Substitution) and covering.table:
            prefix = f"{outer}." if outer else ""
            for path, module in inner:
                if path != outer and path.startswith(prefix):
                    Substitution.covering(module).shields = True


def _known(site: Site) -> Place:
    if site.place is None:
        raise ValueError(f"the site {site.id!r} does not say where its call is")
    return site.place


def _put(model: nn.Module, module: nn.Module, place: Place, places: list[Place]) -> None:
    """Let `module` compute the call at `place`, which is one of `places`."""
    owner = model.get_submodule(place.owner)
    module.train(owner.training)
    count = max(other.number for other in places if _counted_together(other, place))
    if place.target is None:
        covering = Substitution.covering(owner)
        covering.traceable &= place.traceable
        covering.replace(place.function, place.number, count, module, overwrite=place.in_place)
        return
    current = model.get_submodule(place.target)
    targets = {other.target for other in places}
    if count == 1 and not place.in_place and not isinstance(current, PerCall):
        _swap(model, targets, place, current, module)
        return
    if not isinstance(current, PerCall):
        shared = PerCall([current] * count).train(owner.training)
        _swap(model, targets, place, current, shared)
        Substitution.covering(owner).shared.append(shared)
        current = shared
    current.replace(place.number, module, overwrite=place.in_place)


def _counted_together(one: Place, other: Place) -> bool:
    if one.target is None or other.target is None:
        same_kind = one.target is other.target
        return same_kind and (one.owner, one.function) == (other.owner, other.function)
    return one.target == other.target


def _swap(
    model: nn.Module,
    targets: set[str | None],
    place: Place,
    current: nn.Module,
    module: nn.Module,
) -> None:
    """Set `module` where `current` is, under all its names that are not another call's."""
    assert place.target is not None
    prefix = f"{place.owner}." if place.owner else ""
    for path, other in list(model.named_modules(remove_duplicate=False)):
        alias = path.startswith(prefix) and path not in targets
        if other is current and (path == place.target or alias):
            model.set_submodule(path, module)


def _close_short_cuts(model: nn.Module) -> None:
    """Keep transformers from computing in fused kernels, which know ReLU and GELU alone.

    They do so in evaluation, whatever has replaced the activation. All layers are told: an
    encoder decides from its first layer, and when built, what tensors all layers are given.
    """
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
        elif isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
