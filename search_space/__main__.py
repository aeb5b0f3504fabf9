"""`python -m search_space sites|check|curve`, which the commands of these names start."""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from search_space.spec import SitePlan
from search_space.user_module import UnusableFile, import_file

NETWORKS = "activation_search.networks"
"""Group of entry points for sources of networks: objects with
`build(name, channels, classes, size)`, which returns (network, example batch), or raises a
`LookupError` that lists the known names. A network of the source `built-in` has its plain name;
others are written `SOURCE:NAME`."""
BUILT_IN = "built-in"

_COLUMNS = ("id", "rank", "channels", "channel_dim", "original", "stage", "block")
_REFUSED = 2


class _Unusable(Exception):
    """The argument names no network; the text says why and what is expected."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "check":
        # Torch takes seconds to load, so `--help` does without.
        from search_space.conformance.check import run

        return run(options.file, as_json=options.json)
    if options.command == "curve":
        return _draw(options.names, options.output)
    try:
        model, example_batch = _load(options.network, options.input, options.classes)
    except _Unusable as error:
        sys.stderr.write(f"actsearch: {error}\n")
        return _REFUSED
    from search_space.sites import find_sites

    plan = find_sites(model, example_batch)
    sys.stdout.write(_as_json(plan) if options.json else _as_table(plan))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="actsearch")
    commands = parser.add_subparsers(dest="command", required=True)
    sites = commands.add_parser("sites", description="List the sites of a network.")
    sites.add_argument(
        "network",
        metavar="NETWORK|FILE.py:build",
        help="a known name; or a function in a file that returns (model, example batch)",
    )
    sites.add_argument("--json", action="store_true", help="print JSON")
    sites.add_argument(
        "--input",
        type=_size,
        default=(3, 32, 32),
        metavar="C,H,W",
        help="of a known name (3,32,32)",
    )
    sites.add_argument("--classes", type=int, default=10, help="of a known name (%(default)s)")
    check = commands.add_parser("check", description="Check the activations of a file.")
    check.add_argument(
        "file", metavar="MY_ACTIVATION.py", help="defines ENTRY, ENTRIES or module classes"
    )
    check.add_argument("--json", action="store_true", help="print JSON")
    curve = commands.add_parser("curve", description="Draw activations and their derivatives.")
    curve.add_argument("names", nargs="+", metavar="NAME", help="as `activations` lists them")
    curve.add_argument("--output", type=Path, default=Path("curve.svg"), help="(%(default)s)")
    return parser


def _draw(names: Sequence[str], output: Path) -> int:
    from search_space.conformance.curve import draw
    from search_space.errors import UnknownActivation

    try:
        draw(names, output)
    except (UnknownActivation, OSError) as error:
        sys.stderr.write(f"actsearch: {error}\n")
        return _REFUSED
    sys.stdout.write(f"{output}\n")
    return 0


def _size(text: str) -> tuple[int, ...]:
    size = tuple(int(part) for part in text.replace("x", ",").split(","))
    if len(size) != 3 or min(size) < 1:
        raise argparse.ArgumentTypeError(f"must be like 3,32,32, got {text!r}")
    return size


def _load(network: str, size: tuple[int, ...], classes: int) -> tuple[Any, Any]:
    sources = {point.name: point for point in entry_points(group=NETWORKS)}
    prefix, colon, rest = network.partition(":")
    if not colon:
        return _from_source(sources, BUILT_IN, network, size, classes)
    if prefix in sources:
        return _from_source(sources, prefix, rest, size, classes)
    file, _, function = network.rpartition(":")
    return _from_file(Path(file), function)


def _from_source(
    sources: Mapping[str, EntryPoint], prefix: str, name: str, size: tuple[int, ...], classes: int
) -> tuple[Any, Any]:
    if prefix not in sources:
        raise _Unusable("no networks are known by name: the package is not installed")
    channels, height, width = size
    if height != width:
        raise _Unusable(f"--input: networks known by name take square images, got {size}")
    try:
        source = sources[prefix].load()
    except (ImportError, RuntimeError) as error:
        raise _Unusable(f"{prefix} cannot be loaded: {error}") from error
    try:
        built: tuple[Any, Any] = source.build(name, channels, classes, height)
    except LookupError as error:
        raise _Unusable(
            f"{error}. A network of your own is FILE.py:build, where build() returns (model, "
            "example_batch)"
        ) from None
    return built


def _from_file(file: Path, function: str) -> tuple[Any, Any]:
    try:
        module = import_file(file)
    except UnusableFile as error:
        raise _Unusable(str(error)) from error
    build = getattr(module, function, None)
    if not callable(build):
        raise _Unusable(f"{file} has no function {function!r}")
    built = build()
    if not isinstance(built, tuple) or len(built) != 2:
        raise _Unusable(
            f"{function}() must return (model, example_batch), got {type(built).__name__}"
        )
    return built


def _as_json(plan: SitePlan) -> str:
    return json.dumps(asdict(plan) | {"fingerprint": plan.fingerprint}, indent=2) + "\n"


def _as_table(plan: SitePlan) -> str:
    rows = [_COLUMNS, *([str(getattr(site, c)) for c in _COLUMNS] for site in plan.sites)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    lines.append(f"\n{len(plan.sites)} sites, fingerprint {plan.fingerprint}")
    lines += [
        f"gate: {gate.id} ({gate.original}), searched where sites.include names it"
        for gate in plan.gates
    ]
    lines += [f"unreachable: {call}" for call in plan.unreachable]
    return "\n".join(lines) + "\n"


def _line(row: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


if __name__ == "__main__":
    sys.exit(main())
