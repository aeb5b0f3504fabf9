"""Replaces calls of activations in a network by modules, in place."""

from collections.abc import Callable, Iterable, Mapping

from torch import nn

from search_space.spec import Place, Site
from search_space.surgery.substitution import CONTAINER, PerCall, Substitution


def replace_calls(
    model: nn.Module, modules: Mapping[str, nn.Module], sites: Iterable[Site]
) -> None:
    """Let each of `modules` compute the call at the site whose id is its key.

    Args:
        sites: All sites and gates of the network, with their places.

    Raises:
        ValueError: If a site does not say where its call is.
    """
    places = {site.id: _require_place(site) for site in sites}
    for id, module in modules.items():
        _replace_call(model, module, places[id], list(places.values()))
    if modules:
        _disable_fused_transformers(model)


def module_of_call(model: nn.Module, place: Place | None) -> nn.Module | None:
    """Return the module that computes the call at a place; None where a function computes it."""
    if place is None:
        return None
    if place.target is not None:
        module = model.get_submodule(place.target)
        return module[place.number - 1] if isinstance(module, PerCall) else module
    substitution = Substitution.find(model.get_submodule(place.owner))
    if substitution is None:
        return None
    return substitution.replacement_of(place.function, place.number)[0]


def isolate_inner_calls(
    model: nn.Module, calls_functions: Callable[[str, nn.Module], bool]
) -> None:
    """Keep owners that number functional calls from counting those of the modules within them.

    Args:
        calls_functions: Whether the module at a path may itself call an activation function.
    """
    callers = [
        (path, module)
        for path, module in model.named_modules()
        # What runs inside a replacement is never counted, see `_Numbered`.
        if CONTAINER not in path.split(".") and calls_functions(path, module)
    ]
    # A list, because wrapping changes the modules while they are walked.
    for outer, owner in list(model.named_modules()):
        substitution = Substitution.find(owner)
        if substitution is not None and substitution.replacements:
            prefix = f"{outer}." if outer else ""
            for path, module in callers:
                if path != outer and path.startswith(prefix):
                    Substitution.wrap(module).is_isolated = True


def _require_place(site: Site) -> Place:
    if site.place is None:
        raise ValueError(f"the site {site.id!r} does not say where its call is")
    return site.place


def _replace_call(model: nn.Module, module: nn.Module, place: Place, places: list[Place]) -> None:
    """Let `module` compute the call at `place`, which is one of `places`."""
    owner = model.get_submodule(place.owner)
    module.train(owner.training)
    count = max(other.number for other in places if _counted_together(other, place))
    if place.target is None:
        substitution = Substitution.wrap(owner)
        substitution.traceable &= place.traceable
        substitution.replace(place.function, place.number, count, module, in_place=place.in_place)
        return
    current = model.get_submodule(place.target)
    targets = {other.target for other in places}
    # A plain swap leaves the network as a user would have written it; all else needs counting.
    if count == 1 and not place.in_place and not isinstance(current, PerCall):
        _swap(model, targets, place, current, module)
        return
    if not isinstance(current, PerCall):
        # Calls that are not replaced keep the module that the network has.
        shared = PerCall([current] * count).train(owner.training)
        _swap(model, targets, place, current, shared)
        Substitution.wrap(owner).shared.append(shared)
        current = shared
    current.replace(place.number, module, in_place=place.in_place)


def _counted_together(one: Place, other: Place) -> bool:
    """Whether the calls at two places share one count."""
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
    """Set `module` where `current` is, under all its names that belong to no other call."""
    assert place.target is not None
    prefix = f"{place.owner}." if place.owner else ""
    for path, other in list(model.named_modules(remove_duplicate=False)):
        # A second name within the owner: the forward may use either of the two.
        alias = path.startswith(prefix) and path not in targets
        if other is current and (path == place.target or alias):
            model.set_submodule(path, module)


def _disable_fused_transformers(model: nn.Module) -> None:
    """Keep transformers from their fused kernels, which compute ReLU and GELU alone.

    In evaluation they use them for any activation module. Every layer is changed,
    because an encoder decides by its first layer, and decides when it is built which kind of
    tensor all its layers get.
    """
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
        elif isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
