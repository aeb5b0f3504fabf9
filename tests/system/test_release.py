"""The packages as they would be released, used by somebody who has no clone of the repository."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

# Building and installing take minutes on a slow network.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
SECONDS = 60
SEARCH = """
task: {name: simulated-sequence-classification}
choices: [relu, silu]
budget: {trials: 3}
confirm: null
"""


@dataclass
class Installed:
    """A bare environment that has the wheel and what it depends on, and an empty folder."""

    bin: Path
    folder: Path

    def run(self, program: str, *arguments: str) -> str:
        """Return what a program of the environment prints."""
        return run([str(self.bin / program), *arguments], cwd=self.folder, env=plain())


def run(command: list[str], **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def plain() -> dict[str, str]:
    """Return the environment without anything that leads to the repository or another service."""
    left_out = ("ACTSEARCH_", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a source distribution and of the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    index = subprocess.run([*pip, "hatchling"], capture_output=True, text=True, check=False)
    if index.returncode != 0:
        pytest.skip("no package index can be reached, which building and installing need")
    run([sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(ROOT)], env=plain())
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    run([sys.executable, "-m", "venv", str(folder / "venv")])
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    run([str(folder / "venv/bin/pip"), "install", "--quiet", *constraints, str(wheel)], env=plain())
    (folder / "empty").mkdir()
    return Installed(folder / "venv" / "bin", folder / "empty")


@pytest.fixture
def url(installed: Installed) -> Iterator[str]:
    """Serve from the wheel, and return where."""
    command = [str(installed.bin / "actsearch"), "serve", "--port", "0", "--json"]
    process = subprocess.Popen(
        command,
        cwd=installed.folder,
        env=plain(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        assert line, process.communicate(timeout=SECONDS)[1]
        yield json.loads(line)["url"]
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def page(url: str) -> str:
    with urlopen(url, timeout=SECONDS) as answer:
        return str(answer.read().decode())


def test_the_wheel_holds_what_is_not_python(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = [ROOT / package for package in ("search_space", "service", "workers")]
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in packages
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= names
    assert {f"{package.name}/py.typed" for package in packages} <= wanted
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]


def test_the_source_distribution_holds_tests_and_documentation(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "CHANGELOG.md", "Makefile", "constraints.txt", "mkdocs.yml"} <= names
    assert {"tests/conftest.py", "docs/index.md"} <= names


def test_the_page_and_the_reference_open_without_torch(installed: Installed, url: str) -> None:
    packages = json.loads(installed.run("pip", "list", "--format", "json"))
    assert "torch" not in {package["name"] for package in packages}
    home = page(url)
    assert "<title>" in home
    assert page(f"{url}/static/app.js")
    reference = page(f"{url}/docs")
    assert "/v1/searches" in reference
    # One of the stored examples, which come from a file of the wheel.
    assert "digits-small" in reference


def test_a_search_by_simulated_workers_runs_from_the_wheel(installed: Installed, url: str) -> None:
    (installed.folder / "search.yaml").write_text(SEARCH)
    command = [str(installed.bin / "actsearch"), "simulate", "--url", url, "--workers", "2"]
    workers = subprocess.Popen(
        command,
        cwd=installed.folder,
        env=plain(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        submitted = installed.run("actsearch", "submit", "search.yaml", "--url", url, "--json")
        search = json.loads(submitted)["id"]
        installed.run("actsearch", "watch", search, "--url", url)
        options = ("--url", url, "--unconfirmed", "--output", "result.zip")
        installed.run("actsearch", "bundle", search, *options)
    finally:
        workers.terminate()
        workers.wait(timeout=SECONDS)
    names = set(zipfile.ZipFile(installed.folder / "result.zip").namelist())
    assert {"activations.json", "report.html", "paper/table.tex"} <= names
