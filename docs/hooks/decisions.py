"""Lists the decision records in the navigation, so that a new one needs no entry there."""

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig

SECTION, FOLDER = "Decisions", "decisions"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the section, the index first."""
    folder = Path(config.docs_dir) / FOLDER
    names = sorted(path.name for path in folder.glob("*.md") if path.name != "README.md")
    if config.nav is not None:
        _fill(config.nav, [f"{FOLDER}/{name}" for name in ["README.md", *names]])
    return config


def _fill(nav: list[Any], pages: list[str]) -> None:
    for item in nav:
        for title, inner in item.items() if isinstance(item, dict) else ():
            if title == SECTION:
                item[title] = pages
            elif isinstance(inner, list):
                _fill(inner, pages)
