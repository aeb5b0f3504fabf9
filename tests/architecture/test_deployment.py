"""The files for containers. No engine is needed to check what they say."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from service.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
BIN = Path(sys.executable).parent


def test_the_compose_file_follows_the_specification() -> None:
    schema = ["--builtin-schema", "vendor.compose-spec"]
    command = [str(BIN / "check-jsonschema"), *schema, str(ROOT / "docker-compose.yml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", ["service/Dockerfile", "workers/Dockerfile"])
def test_the_dockerfiles_pass_hadolint(path: str) -> None:
    command = [str(BIN / "hadolint"), str(ROOT / path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("service", ["service", "worker", "ray-worker"])
def test_the_compose_file_names_options_and_settings_that_exist(service: str) -> None:
    entry = COMPOSE["services"][service]
    program, command, *arguments = entry["command"]
    assert program == "actsearch"
    result = subprocess.run(
        [str(BIN / "actsearch"), command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1", "PATH": "/usr/bin:/bin"},
    )
    offered = set(re.findall(r"--[a-z-]+", result.stdout))
    assert {word for word in arguments if word.startswith("--")} <= offered
    if service == "service":
        names = {f"ACTSEARCH_{name.upper()}" for name in Settings.model_fields}
        assert set(entry["environment"]) <= names


def test_containers_run_as_an_ordinary_user_and_what_is_open_is_loopback() -> None:
    for path in ("service/Dockerfile", "workers/Dockerfile"):
        assert "\nUSER 1000\n" in (ROOT / path).read_text()
    for entry in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in entry.get("ports", []))


def test_a_worker_can_compile_what_triton_and_torch_write() -> None:
    text = (ROOT / "workers/Dockerfile").read_text()
    packages = re.search(r"apt-get install [^&]*", text)
    assert packages is not None
    assert {"gcc", "g++", "libc6-dev"} <= set(packages[0].split())


def test_a_worker_has_every_extra_that_a_task_may_ask_for() -> None:
    extras = re.search(r"'\.\[([a-z,]+)\]'", (ROOT / "workers/Dockerfile").read_text())
    assert extras is not None
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {"worker", "triton", "ray", "vision", "onnx"}
    assert wanted <= set(extras[1].split(",")) <= set(known)


def test_the_engine_can_tell_whether_each_container_is_well() -> None:
    for name, entry in COMPOSE["services"].items():
        assert entry["healthcheck"]["test"][0] == "CMD", name


def test_only_the_service_is_given_the_admins_token() -> None:
    for name, entry in COMPOSE["services"].items():
        holds = "ADMIN_TOKEN" in str(entry.get("environment", "")) or "admin-token" in str(
            entry.get("secrets", "")
        )
        assert holds == (name == "service")
