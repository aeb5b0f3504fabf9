"""Writes the standalone file of a config. Loads no torch: it reads the source of our modules."""

from collections.abc import Iterable, Mapping

from search_space.catalog.lookup import CATALOG, get_entry, replaces
from search_space.spec import ActivationConfig, ActivationSpec, Site
from search_space.standalone.shake import Definition, gather

_RUNTIME = "search_space.standalone.runtime"
_REPLACEMENTS = "search_space.standalone.replacements"

_ROOTS = [
    Definition(_RUNTIME, "apply"),
    Definition("search_space.apply", "parameter_groups"),
    Definition("search_space.phases", "Phases"),
    Definition("search_space.spec", "Place"),
    Definition("search_space.spec", "Site"),
]
# These read the catalogue, which would bring every entry along.
_INSTEAD = {
    Definition("search_space.surgery.originals", "function_spec"): Definition(
        _REPLACEMENTS, "function_spec"
    ),
    Definition("search_space.activations.scalar_functions", "scalar_function"): Definition(
        _REPLACEMENTS, "scalar_function"
    ),
}

_Specs = Mapping[str, tuple[ActivationSpec, Site]]

# Names that the file itself defines, at its end.
_TABLES = ("SITES", "ACTIVATIONS", "ORIGINALS", "STARTS")

_HEAD = '''\
"""Activations for {task}, found by Activation Search{verdict}. Needs torch, and nothing else.

    from activations_standalone import Phases, apply, parameter_groups, read_weights

    apply(model, example=images)  # or: start="learned" or "frozen", weights="weights.safetensors"
    groups = parameter_groups(
        model, lr={rate:g} * LR, weight_decay=WEIGHT_DECAY, factor={factor:g}
    )
    optimizer = SGD(groups)
    phases = Phases(model, optimizer, steps=EPOCHS * STEPS_PER_EPOCH, share={share:g})
    for images, labels in batches:
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        phases.step()

`LR` and `WEIGHT_DECAY` are the recipe's; the numbers are what the search found. Apply before the
optimizer is made; with an `example` it checks itself. Give rate and decay to `parameter_groups`,
not to the optimizer: each group has its own, and no parameter of an activation is decayed. For
the trained network itself: `model.load_state_dict(read_weights("weights.safetensors"))`.

This file was written by a program. Do not edit it; generate it again.
"""

# ruff: noqa
# mypy: ignore-errors

'''


def standalone(config: ActivationConfig) -> str:
    """Return a Python file that applies `config` with torch alone.

    It defines `apply`, `parameter_groups`, `Phases` and `read_weights`.

    Raises:
        ValueError: If the config does not say where its sites are in the network.
    """
    sites = [*config.plan.sites, *config.plan.gates]
    unplaced = [site.id for site in sites if site.place is None]
    if unplaced:
        raise ValueError(f"the config does not say where these sites are: {', '.join(unplaced)}")
    specs = {
        site.id: (config.candidate.sites[site.id], site)
        for site in sites
        if site.id in config.candidate.sites and replaces(config.candidate.sites[site.id], site)
    }
    starts = _starts(spec for spec, _ in specs.values())
    originals = {
        id: (site.original_spec, site)
        for id, (_, site) in specs.items()
        if site.place is not None and site.place.target is None
    }
    called = (spec.name for spec, _ in (*specs.values(), *originals.values()))
    kinds = [*starts, *called]
    roots = [*_ROOTS, *dict.fromkeys(map(_class, kinds))]
    text = gather(roots, instead=_INSTEAD, left_out=_TABLES)
    return _head(config) + text + _tables(sites, specs, originals, starts)


def _starts(specs: Iterable[ActivationSpec]) -> list[str]:
    """Return the names of the functions that the activations start as."""
    names = (spec.initial or get_entry(spec.name).default_initial for spec in specs)
    return sorted({n for n in names if n and n in CATALOG and not CATALOG[n].learned})


def _class(name: str) -> Definition:
    module, _, attribute = get_entry(name).target.partition(":")
    return Definition(module, attribute)


def _head(config: ActivationConfig) -> str:
    training = config.candidate.training
    claim = config.provenance.get("verdict")
    return _HEAD.format(
        task=config.task.get("name", "a network"),
        verdict=f" ({claim})" if isinstance(claim, str) else "",
        rate=training.learning_rate_factor,
        factor=training.activation_learning_rate_factor,
        share=training.realign_after,
    )


def _tables(sites: list[Site], specs: _Specs, originals: _Specs, starts: Iterable[str]) -> str:
    """Return the text that assigns the names in `_TABLES`."""
    made, replaced = (
        (f"    {id!r}: lambda: {_call(*pair)},\n" for id, pair in some.items())
        for some in (specs, originals)
    )
    functions = (f"    {name!r}: {_class(name).name},\n" for name in starts)
    return (
        "\n\nSITES = (\n" + "".join(f"    {site!r},\n" for site in sites) + ")\n"
        "ACTIVATIONS = {\n" + "".join(made) + "}\n"
        "ORIGINALS = {\n" + "".join(replaced) + "}\n"
        "STARTS = {\n" + "".join(functions) + "}\n"
    )


def _call(spec: ActivationSpec, site: Site) -> str:
    arguments = get_entry(spec.name).arguments(
        spec, channels=site.channels, channel_dim=site.channel_dim
    )
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"{_class(spec.name).name}({given})"
