"""Writes the reference of the service's settings from their class."""

import re
from collections.abc import Iterator
from inspect import cleandoc

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from service.settings import Settings

PAGE = "reference/settings.md"
ADDRESS = {"host": "Address to listen on.", "port": "Port to listen on; 0: a free one."}

HEAD = """# Settings of the service

Each is an environment variable. `--host`, `--port`, `--home` and `--database-url` are options of
`actsearch serve` and `actsearch up` as well. Those of a worker are the options of
`actsearch worker`, each as `ACTSEARCH_` and its name:
[command line](command-line.md#actsearch-worker).

| variable | default | meaning |
|---|---|---|"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content="\n".join(_page())))
    return files


def _page() -> Iterator[str]:
    yield HEAD
    meanings = _attributes(Settings.__doc__ or "") | ADDRESS
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        yield f"| `ACTSEARCH_{name.upper()}` | {default} | {meanings[name]} |"


def _attributes(docstring: str) -> dict[str, str]:
    """Return what a docstring says of each attribute."""
    listed = cleandoc(docstring).partition("Attributes:\n")[2]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for name, text in found}
