"""What docker-compose.yml says, run as plain processes on a real PostgreSQL."""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
import yaml

from service.client.client import Client
from tests.support.leftovers import tag
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
    """Starts services of the file; what a container would see is replaced by what is here.

    Args:
        temporary: Stands for /tmp of the containers of Ray: the paths of sockets must be short.
    """

    def __init__(self, folder: Path, temporary: Path, database_port: int) -> None:
        self.folder = folder
        self._environment = {**ENVIRONMENT, **tag(), "RAY_TMPDIR": str(temporary)}
        self._processes: list[subprocess.Popen[bytes]] = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        ray_port = free_port()
        self._here = {
            "@database/": f"@127.0.0.1:{database_port}/",
            "http://service:8000": self.url,
            "ray-head:6379": f"127.0.0.1:{ray_port}",
            "--port=6379": f"--port={ray_port}",
            "/run/secrets": str(folder / "secrets"),
            "/datasets": str(folder / "datasets"),
        }

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a service; its output goes to a file of its name."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                self._command(name, COMPOSE["services"][name]["command"]),
                env=self._environment_of(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        self._processes.append(process)
        return process

    def is_healthy(self, name: str) -> bool:
        """Run the check of a service that the file names."""
        _, *command = COMPOSE["services"][name]["healthcheck"]["test"]
        done = subprocess.run(
            self._command(name, command),
            env=self._environment_of(name),
            cwd=self.folder,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def close(self) -> None:
        for process in reversed(self._processes):
            kill_all(process)

    def _command(self, name: str, command: list[str]) -> list[str]:
        program, *arguments = command
        own = self._own(name)
        return [str(BIN / program), *(replaced(argument, own) for argument in arguments)]

    def _environment_of(self, name: str) -> dict[str, str]:
        own, said = self._own(name), COMPOSE["services"][name]["environment"]
        return self._environment | {key: replaced(value, own) for key, value in said.items()}

    def _own(self, name: str) -> dict[str, str]:
        """Return what is here of what one container sees: its /data, and a port of its own."""
        volumes = COMPOSE["services"][name]["volumes"]
        (data,) = (volume.split(":")[0] for volume in volumes if volume.endswith(":/data"))
        return self._here | {"/data": str(self.folder / data), "8000": str(self.port)}


@pytest.fixture
def compose(tmp_path: Path, postgres: Postgres) -> Iterator[Compose]:
    """The file on a machine whose database and volumes are there."""
    for name, entry in COMPOSE["secrets"].items():
        (tmp_path / "secrets").mkdir(exist_ok=True)
        (tmp_path / "secrets" / name).write_text(SECRETS[entry["environment"]])
    for folder in ("datasets", "service", "worker"):
        (tmp_path / folder).mkdir()
    said = COMPOSE["services"]["database"]["environment"]
    name, user = said["POSTGRES_DB"], said["POSTGRES_USER"]
    password = replaced(said["POSTGRES_PASSWORD"], {})
    postgres.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
    postgres.execute(f"CREATE DATABASE {name} OWNER {user}")
    relay = Relay(postgres.socket)
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as temporary:
        compose = Compose(tmp_path, Path(temporary), relay.port)
        yield compose
        compose.close()
    relay.close()
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
    postgres.execute(f"DROP ROLE {user}")


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


def test_a_search_runs_on_what_the_compose_file_says(compose: Compose) -> None:
    assert not compose.is_healthy("worker")
    compose.start("service")
    until(lambda: is_ready(compose.url))
    # The name by which workers in containers know it, and no other.
    for host, status in (("service:8000", 200), ("elsewhere:8000", 421)):
        answer = httpx2.get(f"{compose.url}/readyz", headers={"host": host})
        assert answer.status_code == status
    assert httpx2.get(f"{compose.url}/v1/searches").status_code == 401
    worker = compose.start("worker")
    assert compose.is_healthy("worker")
    search(compose)
    assert worker.poll() is None


@pytest.mark.ray
def test_a_search_runs_on_the_ray_cluster_of_the_compose_file(compose: Compose) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    compose.start("service")
    head = compose.start("ray-head")
    until(lambda: compose.is_healthy("ray-head"))
    until(lambda: is_ready(compose.url))
    node = compose.start("ray-node")
    worker = compose.start("ray-worker")
    assert all(compose.is_healthy(name) for name in ("ray-node", "ray-worker"))
    search(compose)
    assert "runs on node" in (compose.folder / "ray-worker.log").read_text()
    assert [process.poll() for process in (head, node, worker)] == [None] * 3


def search(compose: Compose) -> None:
    """Run a search to its end."""
    with Client(compose.url, SECRETS["ACTSEARCH_ADMIN_TOKEN"]) as client:
        search = client.submit(SEARCH)
        until(lambda: client.get(search.id).state != "preparing", 120)
        until(lambda: client.get(search.id).state == "completed", 120)


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").status_code == 200
    except httpx2.TransportError:
        return False
