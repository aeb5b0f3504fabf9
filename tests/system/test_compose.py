"""What docker-compose.yml says, run as plain processes on a real PostgreSQL."""

import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from service.client import Client
from tests.support.postgres import Postgres
from tests.support.relay import Relay
from tests.system.machine import BIN, kill_all, until

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
SECRETS = {
    "ACTSEARCH_ADMIN_TOKEN": "a-token-for-people",
    "ACTSEARCH_WORKER_TOKEN": "a-token-for-workers",
    "ACTSEARCH_DATABASE_PASSWORD": "apassword",
}
# Nothing of this process but where programs are, and the code under test.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
}
SEARCH: dict[str, Any] = {
    "task": {
        "name": "image-classification",
        "dataset": "digits",
        "network": "small-cnn",
        "epochs": 2,
    },
    "choices": ["relu", "silu"],
    "sites": {"per": "network"},
    "baselines": {"original_seeds": 1, "uniform": False},
    "budget": {"trials": 1},
    "pruner": {"name": "none"},
    "confirm": None,
}


class Compose:
    """Starts services of the file; what a container would see is replaced by what is here."""

    def __init__(self, folder: Path, database_port: int) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.port = free_port()
        self._here = {
            "@database/": f"@127.0.0.1:{database_port}/",
            "http://service:8000": f"http://127.0.0.1:{self.port}",
            "/run/secrets": str(folder / "secrets"),
            "/datasets": str(folder / "datasets"),
        }

    def start(self, name: str) -> subprocess.Popen[bytes]:
        entry = COMPOSE["services"][name]
        program, *arguments = entry["command"]
        # Each container has a /data and a port 8000 of its own.
        own = self._here | {"/data": str(self._folder / name), "8000": str(self.port)}
        environment = {key: replaced(value, own) for key, value in entry["environment"].items()}
        process = subprocess.Popen(
            [str(BIN / program), *(replaced(argument, own) for argument in arguments)],
            env={**ENVIRONMENT, **environment},
            stdin=subprocess.DEVNULL,
            cwd=self._folder,
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in reversed(self._processes):
            kill_all(process)


def replaced(text: str, here: dict[str, str]) -> str:
    text = re.sub(r"\$\{(\w+)[^}]*\}", lambda found: SECRETS[found[1]], str(text))
    if text in here:
        return here[text]
    # The longest first: /data is the beginning of /datasets. What was replaced stays.
    names = sorted((name for name in here if name != "8000"), key=len, reverse=True)
    return re.sub("|".join(map(re.escape, names)) or "$^", lambda found: here[found[0]], text)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_search_runs_on_what_the_compose_file_says(tmp_path: Path, postgres: Postgres) -> None:
    for name, entry in COMPOSE["secrets"].items():
        (tmp_path / "secrets").mkdir(exist_ok=True)
        (tmp_path / "secrets" / name).write_text(SECRETS[entry["environment"]])
    for folder in ("datasets", "service", "worker"):
        (tmp_path / folder).mkdir()
    said = COMPOSE["services"]["database"]["environment"]
    password = replaced(said["POSTGRES_PASSWORD"], {})
    postgres.execute(f"CREATE ROLE {said['POSTGRES_USER']} LOGIN PASSWORD '{password}'")
    postgres.execute(f"CREATE DATABASE {said['POSTGRES_DB']} OWNER {said['POSTGRES_USER']}")
    relay = Relay(postgres.socket)
    compose = Compose(tmp_path, relay.port)
    url = f"http://127.0.0.1:{compose.port}"
    try:
        compose.start("service")
        until(lambda: is_ready(url))
        # The name by which workers in containers know it, and no other.
        for host, status in (("service:8000", 200), ("elsewhere:8000", 421)):
            assert httpx2.get(f"{url}/readyz", headers={"host": host}).status_code == status
        assert httpx2.get(f"{url}/v1/searches").status_code == 401
        worker = compose.start("worker")
        with Client(url, SECRETS["ACTSEARCH_ADMIN_TOKEN"]) as client:
            search = client.submit(SEARCH)
            until(lambda: client.get(search.id).state != "preparing", 120)
            until(lambda: client.get(search.id).state == "completed", 120)
        assert worker.poll() is None
    finally:
        compose.close()
        relay.close()


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").status_code == 200
    except httpx2.TransportError:
        return False
