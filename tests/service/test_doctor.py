"""`actsearch doctor`: what is well is said to be, and what is not is named with its mending."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search_space.doctor import HealthCheck
from service.cli.checks import check_database, check_home, check_service
from service.store.database import Database
from service.store.location import store_url
from service.store.migrate import migrate
from tests.support.serving import Served

ADMIN = "open-sesame"


def doctor(folder: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Run the command as a process; return its exit code, its findings by name, and all it said."""
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "doctor", "--json", *options],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    answer = json.loads(done.stdout)
    assert answer["ok"] == (done.returncode == 0)
    found = {finding["name"]: finding for finding in answer["findings"]}
    return done.returncode, found, done.stdout + done.stderr


def healths(found: dict[str, Any]) -> dict[str, str]:
    return {name: finding["health"] for name, finding in found.items()}


@pytest.mark.slow
def test_a_machine_in_order_is_said_to_be(served: Served, tmp_path: Path) -> None:
    database = served.store.render_as_string(hide_password=False)
    code, found, said = doctor(
        tmp_path, "--url", served.url, "--database-url", database, "--data-root", str(tmp_path)
    )
    assert (code, said.count("\n")) == (0, 1)
    missing = {f"data set {name}": "warn" for name in ("mnist", "fashion-mnist", "cifar10")}
    missing["data set cifar100"] = "warn"
    healthy = ("torch", "device", "data root", "data set digits", "home", "database", "service")
    assert healths(found) == missing | dict.fromkeys((*healthy, "token"), "ok") | {
        "disk": found["disk"]["health"]
    }
    assert "migrated" in found["database"]["detail"]
    assert all(bool(one["mend"]) == (one["health"] != "ok") for one in found.values())


@pytest.mark.slow
def test_what_is_out_of_order_is_named_with_its_mending(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (raw / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(b"cut")[:-4])
    (tmp_path / "file").write_text("")
    code, found, said = doctor(
        tmp_path,
        *("--url", "http://127.0.0.1:1", "--data-root", str(tmp_path)),
        *("--home", str(tmp_path / "file" / "home")),
        *("--database-url", "postgresql://someone:verysecret@127.0.0.1:1/there"),
    )
    assert code == 1
    failed = {name for name, health in healths(found).items() if health == "fail"}
    assert failed == {"data set mnist", "home", "database", "service"}
    assert all(found[name]["mend"] for name in failed)
    assert str(raw) in found["data set mnist"]["detail"]
    assert "verysecret" not in said


def test_the_findings_are_lines_for_people(served: Served, tmp_path: Path) -> None:
    """Without torch, which a machine that only serves does not have."""
    code = "import sys, importlib.util as u; find = u.find_spec; " + (
        "u.find_spec = lambda name, *more: None if name == 'torch' else find(name, *more); "
        "from service.cli import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--url", served.url],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "warn  torch: not installed; this machine cannot train"
    assert lines[1] == "      -> to train here: pip install 'activation-search[worker]'"
    assert "ok    token: none is required" in lines


def only(found: HealthCheck) -> tuple[str, str]:
    return found.health.value, found.detail


def test_a_token_is_named_with_what_it_allows(serve: Callable[..., Served], tmp_path: Path) -> None:
    (tmp_path / "token").write_text(ADMIN)
    served = serve(admin_token_file=tmp_path / "token")
    assert [one.name for one in check_service(served.url, "wrong")] == ["token"]
    (refused,) = check_service(served.url, None)
    assert only(refused)[0] == "fail"
    assert "actsearch token create" in refused.mend
    body = {"name": "w", "scopes": ["work"]}
    made = served.http.post("/tokens", json=body, headers={"authorization": f"Bearer {ADMIN}"})
    _, token = check_service(served.url, made.json()["token"])
    assert only(token) == ("ok", "allows work")


def test_another_version_is_named(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.cli.checks.versions", lambda: {"activation-search": "99.1"})
    service, _ = check_service(served.url, None)
    assert service.health.value == "warn"
    assert "99.1" in service.mend
    monkeypatch.setattr("service.cli.checks.PROTOCOL", 7)
    service, _ = check_service(served.url, None)
    assert (service.health.value, "this side 7" in service.detail) == ("fail", True)


def test_a_service_that_nobody_named_may_be_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACTSEARCH_URL", raising=False)
    monkeypatch.setattr("service.client.transport.DEFAULT_URL", "http://127.0.0.1:1")
    (service,) = check_service(None, None)
    assert (service.health.value, "actsearch up" in service.mend) == ("warn", True)


def test_a_disk_that_fills_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for gib in (0.5, 5, 50):
        usage = type("Usage", (), {"free": int(gib * 2**30)})
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        home, disk = check_home(tmp_path / "new")
        assert only(home) == ("ok", f"{tmp_path / 'new'}, which is created at start")
        found.append(disk.health.value)
    assert found == ["fail", "warn", "ok"]
    assert not (tmp_path / "new").exists()


def test_a_database_is_looked_at_and_left_as_it_is(tmp_path: Path) -> None:
    assert only(check_database(None, tmp_path))[0] == "ok"
    assert list(tmp_path.iterdir()) == []
    file = tmp_path / "actsearch.db"
    file.touch()
    assert only(check_database(None, tmp_path))[1].endswith("its tables are created at start")
    assert file.stat().st_size == 0
    database = Database(store_url(None, tmp_path))
    migrate(database.engine)
    assert "migrated" in check_database(None, tmp_path).detail
    migrate(database.engine, to="-1", down=True)
    behind = check_database(None, tmp_path)
    assert (behind.health.value, "behind" in behind.detail) == ("warn", True)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert "newer version (9999)" in check_database(None, tmp_path).detail
    database.close()
    file.write_bytes(b"this is no database of anybody" * 100)
    assert only(check_database(None, tmp_path))[0] == "fail"
    for url in ("mysql://a/b", "sqlite://", "not a url"):
        assert only(check_database(url, tmp_path))[0] == "fail"
