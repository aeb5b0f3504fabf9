"""Only `service/study/optuna_private.py` uses what Optuna keeps to itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

ROOT = Path(__file__).parents[2]
THE_ONE_FILE = ROOT / "service/study/optuna_private.py"
PACKAGES = ("service", "search_space", "workers")


def private_names() -> frozenset[str]:
    """Return the private attributes and methods of Optuna's objects that we handle."""
    study = optuna.create_study()
    objects: list[object] = [
        study,
        study.ask(),
        create_trial(state=TrialState.RUNNING),
        optuna.storages.InMemoryStorage(),
        optuna.storages.RDBStorage("sqlite://"),
        optuna.samplers.TPESampler(),
        optuna.samplers.NSGAIISampler(),
        optuna.samplers.QMCSampler(seed=0),
        optuna.samplers.RandomSampler(),
        optuna.pruners.HyperbandPruner(),
        optuna.pruners.SuccessiveHalvingPruner(),
        optuna.pruners.MedianPruner(),
    ]
    names = {name for one in objects for name in dir(one)}
    return frozenset(n for n in names if n.startswith("_") and not n.startswith("__"))


PRIVATE = private_names()


def uses(tree: ast.Module) -> Iterator[str]:
    """Yield each import from a private module of Optuna and each private name that is used."""
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
            names = [alias.asname or alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [alias.asname or alias.name for alias in node.names]
        else:
            continue
        for module, name in zip(modules, names, strict=True):
            if module.partition(".")[0] == "optuna":
                imported.add(name)
                if any(part.startswith("_") for part in module.split(".")):
                    yield f"line {node.lineno}: {module}"
    yield from _attributes(tree, imported, in_subclass=False)


def _attributes(node: ast.AST, imported: set[str], *, in_subclass: bool) -> Iterator[str]:
    """Yield private attributes; those of `self` count in a class derived from Optuna's."""
    for child in ast.iter_child_nodes(node):
        inside = in_subclass
        if isinstance(child, ast.ClassDef):
            inside = any(_root(base) in imported for base in child.bases)
        elif isinstance(child, ast.FunctionDef) and in_subclass and child.name in PRIVATE:
            yield f"line {child.lineno}: overrides {child.name}"
        elif isinstance(child, ast.Attribute) and child.attr.startswith("_"):
            is_own = isinstance(child.value, ast.Name) and child.value.id in ("self", "cls")
            is_private = child.attr in PRIVATE and (in_subclass or not is_own)
            if is_private or (_root(child) in imported and not child.attr.startswith("__")):
                yield f"line {child.lineno}: {child.attr}"
        yield from _attributes(child, imported, in_subclass=inside)


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def test_no_other_file_uses_what_optuna_keeps_to_itself() -> None:
    found = {
        str(path.relative_to(ROOT)): used
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if path != THE_ONE_FILE and (used := list(uses(ast.parse(path.read_text("utf-8")))))
    }
    assert found == {}


@pytest.mark.parametrize(
    "code",
    [
        "import optuna._imports",
        "from optuna.study._multi_objective import _fast_non_domination_rank",
        "from optuna.study import _optimize",
        "import optuna\noptuna.trial._frozen",
        "def f(study): return study._storage",
        "def f(self): return self._study._get_trials(deepcopy=False)",
        "def f(sampler): sampler._rng.rng.seed(1)",
        "from optuna.samplers import TPESampler\n"
        "class A(TPESampler):\n  def f(self): return self._rng",
        "import optuna\nclass A(optuna.study.Study):\n  def _get_trials(self): return []",
    ],
)
def test_each_kind_of_use_is_seen(code: str) -> None:
    assert list(uses(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "from optuna.samplers import TPESampler\nTPESampler.__init__",
        "class A:\n  def __init__(self, rng): self._rng = rng",
        "def f(study): return study.get_trials(deepcopy=False)",
    ],
)
def test_what_is_public_or_our_own_is_allowed(code: str) -> None:
    assert list(uses(ast.parse(code))) == []


def test_the_one_file_is_where_it_is_expected() -> None:
    assert list(uses(ast.parse(THE_ONE_FILE.read_text("utf-8"))))
