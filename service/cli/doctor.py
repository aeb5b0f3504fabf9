"""The command that looks whether everything is there, and says how to mend what is not."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from search_space.doctor import Health
from search_space.doctor import HealthCheck as Finding
from search_space.doctor import read_health_check as read_finding
from service.cli.common import FAILED, Json, Token, Url, print_json, say
from service.cli.processes import DatabaseUrl, Home, read_settings


def doctor(
    url: Url = None,
    token: Token = None,
    home: Home = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the data sets (data).")] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Check device, data, disk, service and database; say how to mend what is wrong."""
    # Loaded here and for no other command.
    from service.cli.checks import check_database, check_home, check_service

    settings = read_settings(home=home, database_url=database_url)

    def findings() -> Iterator[Finding]:
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


def _worker(data_root: Path | None) -> Iterator[Finding]:
    """Ask the part that needs torch, which this process may not import."""
    if find_spec("torch") is None:
        mend = "to train here: pip install 'activation-search[worker]'"
        yield Finding("torch", Health.WARN, "not installed; this machine cannot train", mend)
        return
    given = [] if data_root is None else ["--data-root", str(data_root)]
    command = [sys.executable, "-P", "-m", "workers.commands.doctor", *given]
    # What it says beside its findings goes where our own complaints go.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield read_finding(json.loads(line))
    if process.returncode != 0:
        text = f"looking at device and data ended with exit code {process.returncode}"
        mend = "what it said is on standard error; `pip install --force-reinstall` what it names"
        yield Finding("worker", Health.FAIL, text, mend)


def _print(finding: Finding) -> None:
    say(f"{finding.health:<5} {finding.name}: {finding.detail}")
    if finding.mend:
        say(f"      -> {finding.mend}")
