"""The log of a real service: JSON with ids, and never a secret."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import make_url

from tests.support.player import SEARCH, Player
from tests.support.postgres import Postgres
from tests.system.machine import Machine

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

ADMIN = "the-secret-of-the-house"
PASSWORD = "the-password-of-the-database"


class Caller:
    def __init__(self, machine: Machine, token: str) -> None:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self.http = httpx2.Client(base_url=f"{machine.client.url}/v1", headers=headers, timeout=30)


def test_the_log_has_ids_and_no_secrets(tmp_path: Path, postgres: Postgres) -> None:
    url = make_url(postgres.migrated()).set(password=PASSWORD)
    (tmp_path / "token").write_text(ADMIN)
    environment = {
        "ACTSEARCH_LOG_FORMAT": "json",
        "ACTSEARCH_LOG_LEVEL": "debug",
        "ACTSEARCH_ADMIN_TOKEN_FILE": str(tmp_path / "token"),
    }
    wrong = "act_0000000000000000_a-token-that-was-revoked"
    callers: list[Caller] = []
    machine = Machine(tmp_path, url.render_as_string(hide_password=False), environment)
    try:
        machine.serve()
        callers = [Caller(machine, token) for token in (ADMIN, wrong)]
        admin, stranger = (caller.http for caller in callers)
        made = admin.post("/tokens", json={"name": "w", "scopes": ["work"]}).json()
        admin.post("/session", json={"token": ADMIN})
        cookie = admin.cookies["actsearch_session"]
        admin.get("/searches", headers={"x-request-id": "find-me"})
        admin.post("/searches", json=SEARCH).raise_for_status()
        callers.append(Caller(machine, made["token"]))
        player = Player(callers[-1])
        lease = player.work()
        own = {"authorization": f"Bearer {lease['token']}"}
        url_of_outcome = f"/leases/{lease['lease']}/outcome"
        player.http.post(url_of_outcome, json={"outcome": "completed"}, headers=own)
        assert stranger.get("/searches").status_code == 401
        postgres.execute(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS false")
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{url.database}'"
        )
        assert admin.get("/searches").status_code == 503
        assert httpx2.get(f"{machine.client.url}/readyz").status_code == 503
        assert httpx2.get(f"{machine.client.url}/healthz").status_code == 200
        postgres.execute(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS true")
    finally:
        for caller in callers:
            caller.http.close()
        machine.close()

    text = machine.log("service")
    secrets = [ADMIN, PASSWORD, made["token"].split("_", 2)[2], cookie.split(".")[-1], wrong]
    secrets += [lease["token"].split("-")[-1], "a-token-that-was-revoked"]
    assert [secret for secret in secrets if secret in text] == []
    lines = [parsed(line) for line in text.splitlines() if not line.startswith('{"url"')]
    (found,) = [line for line in lines if line.get("request") == "find-me"]
    assert (found["path"], found["status"], found["level"]) == ("/v1/searches", 200, "debug")
    assert any(line["level"] == "warning" and "database" in line["event"] for line in lines)


def parsed(line: str) -> dict[str, Any]:
    return dict(json.loads(line))
