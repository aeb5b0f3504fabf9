"""What a project shows beside its code: its checks, templates, version and license."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCHEMAS = {
    ".github/workflows/ci.yml": "vendor.github-workflows",
    ".github/ISSUE_TEMPLATE/bug.yml": "vendor.github-issue-forms",
    ".github/ISSUE_TEMPLATE/feature.yml": "vendor.github-issue-forms",
    ".github/ISSUE_TEMPLATE/config.yml": "vendor.github-issue-config",
    "CITATION.cff": "vendor.citation-file-format",
}


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def recipe(target: str) -> list[str]:
    """Return the commands of a target of the Makefile, with the path of its tools."""
    text = (ROOT / "Makefile").read_text()
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert found is not None
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in found[1].splitlines()]


@pytest.mark.parametrize("path", SCHEMAS)
def test_a_file_follows_the_schema_of_who_reads_it(path: str) -> None:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", SCHEMAS[path], str(ROOT / path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_every_template_is_checked() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / ".github").rglob("*.yml")}
    assert found <= set(SCHEMAS)


def test_the_hooks_before_a_commit_are_the_commands_of_make_check() -> None:
    repos = read_yaml(".pre-commit-config.yaml")["repos"]
    hooks = [hook for repo in repos for hook in repo["hooks"]]
    assert [hook["entry"] for hook in hooks] == recipe("check")
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in hooks)


def test_the_workflow_runs_the_same_checks_as_ci_on_every_supported_python() -> None:
    job = read_yaml(".github/workflows/ci.yml")["jobs"]["checks"]
    (step,) = [step for step in job["steps"] if "run" in step]
    assert step["run"] == ".ci/run"
    assert step["env"] == {"PYTHON": "python${{ matrix.python }}"}
    listed = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "3." in line]
    assert job["strategy"]["matrix"]["python"] == listed
    assert PROJECT["requires-python"] == f">={listed[0]}"


def test_every_file_that_names_the_version_names_the_same() -> None:
    version = PROJECT["version"]
    assert read_yaml("CITATION.cff")["version"] == version
    newest = re.search(r"^## \[([0-9.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version
    supported = re.findall(r"^\| ([0-9.]+) \| yes \|", (ROOT / "SECURITY.md").read_text(), re.M)
    assert supported == [version.rpartition(".")[0]]
    assert metadata("activation-search")["Version"] == version, "installed is another version"


def test_the_license_is_named_and_goes_along() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    installed = metadata("activation-search")
    assert installed["License-Expression"] == read_yaml("CITATION.cff")["license"] == "Apache-2.0"
    assert installed.get_all("License-File") == ["LICENSE"]


def test_every_package_says_that_it_is_typed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) < set(project["tool"]["mypy"]["packages"])
    assert all((ROOT / package / "py.typed").is_file() for package in packages)
