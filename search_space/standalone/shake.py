"""Gathers definitions from our own modules, with all that they need, into one text.

Modules are read, never imported. Only top-level statements that define a needed name are taken,
with the comments directly above them (tree shaking).
"""

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

_PACKAGE = "search_space"

_Statement = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


class Definition(NamedTuple):
    """A name at the top level of one of our modules."""

    module: str
    name: str


class _Import(NamedTuple):
    """What a name in a module refers to: `module` itself, or `name` in it."""

    module: str
    name: str | None


@dataclass(frozen=True)
class _Source:
    """One module, parsed."""

    lines: list[str]
    statements: Mapping[str, _Statement]
    imports: Mapping[str, _Import]


def gather(
    roots: Iterable[Definition],
    *,
    instead: Mapping[Definition, Definition],
    left_out: Collection[str],
) -> str:
    """Return the text of a module that defines the names of `roots`.

    Args:
        instead: Definitions to take in place of others.
        left_out: Names that the caller defines itself.

    Raises:
        ValueError: If two modules define one name, or a name is imported under another name.
    """
    found = _Gathering(instead, left_out)
    for root in roots:
        found.need(root)
    texts = [_text(source, statement) for source, statement in found.statements()]
    return "\n".join(_import_lines(found.imports)) + "\n\n\n" + "\n\n\n".join(texts) + "\n"


class _Gathering:
    """The definitions that are needed, as far as they are found."""

    def __init__(self, instead: Mapping[Definition, Definition], left_out: Collection[str]) -> None:
        self.imports: dict[str, _Import] = {}
        self._instead = instead
        self._left_out = left_out
        self._homes: dict[str, str] = {}
        # Which modules must come before each.
        self._before: dict[str, set[str]] = {}

    def need(self, wanted: Definition, *, by: str | None = None) -> None:
        """Add a definition and all that it needs."""
        module, name = self._instead.get(wanted, wanted)
        self._before.setdefault(module, set())
        if by is not None and by != module:
            self._before[by].add(module)
        if name in self._homes:
            if self._homes[name] != module:
                raise ValueError(f"both {self._homes[name]} and {module} define {name}")
            return
        # Before its own needs, so that recursion ends for definitions that use each other.
        self._homes[name] = module
        source = _source(module)
        if name not in source.statements:
            raise ValueError(f"{module} does not define {name}")
        for used in sorted(_names(source.statements[name]) - set(self._left_out)):
            if used in source.statements:
                self.need(Definition(module, used), by=module)
            elif used in source.imports:
                self._import(used, source.imports[used], by=module)

    def _import(self, name: str, what: _Import, *, by: str) -> None:
        if what.module.split(".")[0] == _PACKAGE:
            if what.name != name:
                raise ValueError(f"{by} imports {what.name} as {name}, which cannot be gathered")
            self.need(Definition(what.module, name), by=by)
        elif self.imports.setdefault(name, what) != what:
            raise ValueError(f"{by} and another module import different things as {name}")

    def statements(self) -> Iterator[tuple[_Source, _Statement]]:
        """Yield the needed statements in an order in which they can run."""
        # Sorted, because sets have no fixed order, and equal configs must give equal files.
        before = {module: sorted(others) for module, others in self._before.items()}
        for module in TopologicalSorter(before).static_order():
            source = _source(module)
            needed = [s for name, s in source.statements.items() if self._homes.get(name) == module]
            lines = {s.lineno: s for s in needed}
            yield from ((source, lines[line]) for line in sorted(lines))


@cache
def _source(module: str) -> _Source:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"there is no module {module}")
    text = Path(spec.origin).read_text(encoding="utf-8")
    tree = ast.parse(text)
    statements = {name: what for node in tree.body for name, what in _defined(node)}
    imports = {name: what for node in tree.body for name, what in _imported(node)}
    return _Source(text.splitlines(), statements, imports)


def _defined(node: ast.stmt) -> Iterator[tuple[str, _Statement]]:
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name, node
        case ast.Assign(targets=targets):
            for target in targets:
                yield from ((n.id, node) for n in ast.walk(target) if isinstance(n, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name, node


def _imported(node: ast.stmt) -> Iterator[tuple[str, _Import]]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield alias.asname or alias.name.split(".")[0], _Import(alias.name, None)
        case ast.ImportFrom(module=str(module), names=names):
            for alias in names:
                yield alias.asname or alias.name, _Import(module, alias.name)


def _names(node: ast.AST) -> set[str]:
    """Return every name read anywhere in a statement."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _import_lines(imports: Mapping[str, _Import]) -> Iterator[str]:
    """Yield one line for each module, those of whole modules first."""
    names: dict[str, list[str]] = {}
    for name, what in sorted(imports.items()):
        if what.name is None:
            yield f"import {what.module}" + ("" if what.module == name else f" as {name}")
        else:
            alias = "" if what.name == name else f" as {name}"
            names.setdefault(what.module, []).append(what.name + alias)
    for module, given in sorted(names.items()):
        yield f"from {module} import {', '.join(given)}"


def _text(source: _Source, statement: _Statement) -> str:
    decorators = getattr(statement, "decorator_list", [])
    # The line of a decorated statement is that of its `def`.
    start = min([statement.lineno, *(d.lineno for d in decorators)]) - 1
    while start and source.lines[start - 1].startswith("#"):
        start -= 1
    return "\n".join(source.lines[start : statement.end_lineno])
