"""`python -m search_space check MY_ACTIVATION.py`: runs the conformance checks on a file.

The file states its activations as `ENTRY` or `ENTRIES`, as in `search_space/catalog/`, with the
target `my_activation:MyClass`, where `my_activation` is the name of the file. Without them every
public module class that it defines is checked as far as its class tells: it learns if it is a
`LearnedActivation`, and its parameters may be the layer's if it takes `share`.
"""

import inspect
import json
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from types import ModuleType
from typing import TextIO

import torch
from torch import nn

from search_space.activations.learned import LearnedActivation, PhasedActivation
from search_space.catalog.entry import Entry
from search_space.catalog.lookup import CATALOG
from search_space.conformance.cases import Case
from search_space.conformance.rules import Check, suite
from search_space.spec import Share
from search_space.user_module import UnusableFile, import_file

REFUSED = 2
"""Exit code for a file with nothing to check; 1 is for a file that fails a check."""

_ANY_NUMBER = sys.maxsize


@dataclass(slots=True)
class Result:
    """The result of one check of one activation: its cases, and the first failure."""

    activation: str
    check: str
    meaning: str
    cases: int = 0
    failed: int = 0
    first: str = ""


def run(path: str | Path, *, as_json: bool = False, out: TextIO | None = None) -> int:
    """Check the activations of a file, print a table or JSON, and return the exit code.

    Args:
        out: Where to print; None for the standard output.
    """
    out = out or sys.stdout
    try:
        entries = load_entries(Path(path))
    except UnusableFile as error:
        sys.stderr.write(f"actsearch: {error}\n")
        return REFUSED
    results = [result for entry in entries for result in check_entry(entry)]
    out.write(_as_json(results) if as_json else _as_table(results))
    return int(any(result.failed for result in results))


def check_entry(entry: Entry) -> list[Result]:
    """Run every check on one entry, which need not be in the catalogue."""
    results: dict[str, Result] = {}
    for name, check, case in suite(entry):
        meaning = (check.__doc__ or "").partition("\n")[0]
        result = results.setdefault(name, Result(entry.name, name, meaning))
        result.cases += 1
        problem = _problem(check, case)
        if problem is not None:
            result.failed += 1
            result.first = result.first or f"{case}: {problem}"
    return list(results.values())


def _problem(check: Check, case: Case) -> str | None:
    """Return what is wrong, in one line; None if the check passes."""
    try:
        with warnings.catch_warnings():
            # Compilers warn about their own code.
            warnings.simplefilter("ignore")
            check(case)
    except Exception as error:  # The user's code runs here, and may raise anything.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return ": ".join([type(error).__name__, *lines[:1]])
    finally:
        torch.compiler.reset()
    return None


def load_entries(path: Path) -> list[Entry]:
    """Return the entries that a file states, or else those inferred from its classes.

    Raises:
        UnusableFile: If there is no such file, or it has nothing to check.
    """
    module = import_file(path)
    stated = getattr(module, "ENTRIES", getattr(module, "ENTRY", None))
    if stated is None:
        entries = [_inferred(kind) for kind in _classes(module)]
    else:
        entries = [stated] if isinstance(stated, Entry) else list(stated)
    if not entries:
        raise UnusableFile(f"{path} defines neither ENTRY nor ENTRIES nor a module class")
    for entry in entries:
        if not isinstance(entry, Entry):
            raise UnusableFile(f"{path}: ENTRIES must be entries, got {type(entry).__name__}")
        if entry.name in CATALOG and CATALOG[entry.name].target != entry.target:
            raise UnusableFile(f"{path}: the catalogue already has a {entry.name!r}")
        try:
            entry.load()
        except (ImportError, AttributeError) as error:
            raise UnusableFile(
                f"{path}: the target {entry.target!r} of {entry.name!r} cannot be loaded "
                f"({error}); for a class of this file it is '{path.stem}:Class'"
            ) from error
    return entries


def _classes(module: ModuleType) -> Iterator[type[nn.Module]]:
    for name, value in vars(module).items():
        own = inspect.isclass(value) and value.__module__ == module.__name__
        if own and issubclass(value, nn.Module) and not name.startswith("_"):
            yield value


def _inferred(kind: type[nn.Module]) -> Entry:
    """Return an entry that claims only what the class tells."""
    learned = issubclass(kind, LearnedActivation)
    shares: tuple[Share, ...] = ("channel",) if learned else ()
    if learned and "share" in inspect.signature(kind).parameters:
        shares = ("channel", "layer")

    def size(channels: int, _: object) -> int:
        # With a width of 1 both shares have the same number of parameters.
        options = {"share": "channel"} if len(shares) > 1 else {}
        return sum(p.numel() for p in kind(channels, **options).parameters()) if learned else 0

    return Entry(
        re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower(),
        f"{kind.__module__}:{kind.__qualname__}",
        formula="",
        source="",
        year=0,
        learned=learned,
        phases=issubclass(kind, PhasedActivation),
        shares=shares,
        kept=_ANY_NUMBER,
        limits=(nan, nan),
        size=size,
    )


def _as_json(results: Sequence[Result]) -> str:
    rows = [
        {
            "activation": r.activation,
            "check": r.check,
            "cases": r.cases,
            "failed": r.failed,
            "first": r.first or None,
        }
        for r in results
    ]
    return json.dumps(rows, indent=2) + "\n"


def _as_table(results: Sequence[Result]) -> str:
    rows = [("activation", "check", "cases", "result", "meaning")]
    for r in results:
        outcome = f"{r.failed} FAILED" if r.failed else "passed"
        rows.append((r.activation, r.check, str(r.cases), outcome, r.meaning))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    lines += ["", *(f"{r.activation}, {r.check}: {r.first}" for r in results if r.failed)]
    failed = sum(bool(r.failed) for r in results)
    lines.append(f"{len(results) - failed} of {len(results)} checks passed")
    return "\n".join(lines) + "\n"
