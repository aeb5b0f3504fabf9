"""Writes the reference of the activations: the catalogue, and every module of them."""

from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import search_space.activations
from search_space.catalog.lookup import CATALOG

PAGE = "reference/activations.md"

HEAD = """# Activations

What a search may choose from, as `actsearch activations` lists it; `actsearch curve NAME` draws
one. Names in bold are offered by a search that names no choices. Below are the modules.

| name | formula | learned | parameters | source |
|---|---|---|---|---|"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content="\n".join(_page())))
    return files


def _page() -> Iterator[str]:
    yield HEAD
    for entry in CATALOG.values():
        name = f"**`{entry.name}`**" if entry.standard else f"`{entry.name}`"
        parameters = ", ".join(f"`{one.name}={one.default}`" for one in entry.parameters)
        formula = f"`{entry.formula}`".replace("|", r"\|")
        source = f"{entry.source}, {entry.year}" if entry.year else entry.source
        learned = "yes" if entry.learned else ""
        yield f"| {name} | {formula} | {learned} | {parameters} | {source} |"
    yield ""
    (folder,) = search_space.activations.__path__
    for module in sorted(Path(folder).glob("[!_]*.py")):
        yield f"::: search_space.activations.{module.stem}\n    options:\n      heading_level: 2\n"
