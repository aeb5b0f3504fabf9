"""The files under `tests/service/golden`: where they are, how they are written and read."""

import gzip
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "service" / "golden"


def current_version() -> str:
    """Return the installed version as `major.minor`."""
    return ".".join(version("activation-search").split(".")[:2])


def path_of(kind: str, of_version: str) -> Path:
    """Return the file of one kind (`openapi`, `rows` or `answers`) and one version."""
    suffix = "json" if kind == "openapi" else "json.gz"
    return FOLDER / f"{kind}-{of_version}.{suffix}"


def versions(kind: str) -> list[str]:
    """Return the versions that have a file of this kind, oldest first."""
    names = [path.name for path in FOLDER.glob(f"{kind}-*.json*")]
    found = {name.removeprefix(f"{kind}-").partition(".json")[0] for name in names}
    return sorted(found, key=lambda one: [int(part) for part in one.split(".")])


def read(kind: str, of_version: str) -> Any:
    path = path_of(kind, of_version)
    text = path.read_bytes()
    return json.loads(gzip.decompress(text) if path.suffix == ".gz" else text)


def write(kind: str, of_version: str, content: Any) -> Path:
    """Write a file; the same content always gives the same bytes."""
    path = path_of(kind, of_version)
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".gz":
        # The order of keys in a stored document means something: sites are in forward order.
        text = json.dumps(content, separators=(",", ":")).encode()
        path.write_bytes(gzip.compress(text, mtime=0))
    else:
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    return path
