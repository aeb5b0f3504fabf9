"""The command that checks whether everything works here, and says how to fix what does not."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import typer

from search_space.doctor import Health, HealthCheck, read_health_check
from service.cli.common import FAILED, DataRoot, Json, Token, Url, print_json, print_line
from service.cli.processes import DatabaseUrl, Home, read_settings


def doctor(
    url: Url = None,
    token: Token = None,
    home: Home = None,
    data_root: DataRoot = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Check this machine and the service; say how to fix errors.

    Checks device, data sets, disk, database, service and token.
    """
    # Loads SQLAlchemy, which no other command on this side of HTTP needs.
    from service.cli.checks import check_database, check_home, check_service

    settings = read_settings(home=home, database_url=database_url)

    def findings() -> Iterator[HealthCheck]:
        yield from _worker(data_root)
        yield from check_home(settings.home)
        yield check_database(settings.database_url, settings.home)
        yield from check_service(url, token)

    found = []
    for finding in findings():
        found.append(finding)
        if not as_json:
            _print(finding)
    is_well = all(finding.health != Health.FAIL for finding in found)
    if as_json:
        print_json({"ok": is_well, "findings": [finding.as_data() for finding in found]})
    if not is_well:
        raise typer.Exit(FAILED)


def _worker(data_root: Path | None) -> Iterator[HealthCheck]:
    """Run the workers' checks in another process: they import torch, which this one may not."""
    if find_spec("torch") is None:
        fix = "to train here: pip install 'activation-search[worker]'"
        yield HealthCheck("torch", Health.WARN, "not installed; this machine cannot train", fix)
        return
    given = [] if data_root is None else ["--data-root", str(data_root)]
    command = [sys.executable, "-P", "-m", "workers.commands.doctor", *given]
    # Standard error is shared, so that warnings of torch and drivers are seen.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield read_health_check(json.loads(line))
    if process.returncode != 0:
        text = f"the check of device and data ended with exit code {process.returncode}"
        fix = "read its error above; `pip install --force-reinstall` the package that it names"
        yield HealthCheck("worker", Health.FAIL, text, fix)


def _print(finding: HealthCheck) -> None:
    print_line(f"{finding.health:<5} {finding.name}: {finding.detail}")
    if finding.mend:
        print_line(f"      -> {finding.mend}")
