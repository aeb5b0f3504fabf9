"""The array script of the docs, with stand-ins for the commands of Slurm."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.leftovers import tag
from workers.__main__ import main

SCRIPT = Path(__file__).parents[2] / "docs" / "slurm.sh"
SRUN = """#!/bin/bash
trap 'echo told >> "$FOLDER/heard"; exit 0' USR1
echo "$@" > "$FOLDER/started"
while :; do sleep 0.05; done
"""
SQUEUE = """#!/bin/bash
echo 2030-01-01T00:00:00
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for name, script in {"srun": SRUN, "squeue": SQUEUE}.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    os.mkfifo(tmp_path / "started")
    return tag() | {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "FOLDER": str(tmp_path),
        "TZ": "UTC",
        "SLURM_JOB_ID": "7",
        "ACTSEARCH_URL": "http://service:8000",
        "ACTSEARCH_TOKEN": "t",
    }


@pytest.mark.parametrize("ahead", [signal.SIGUSR1, signal.SIGTERM])
@pytest.mark.parametrize("told", [True, False])
def test_a_job_knows_when_it_ends_and_passes_the_signal_on(
    environment: dict[str, str], tmp_path: Path, told: bool, ahead: signal.Signals
) -> None:
    if told:
        environment["SLURM_JOB_END_TIME"] = "1893456000"
    job = subprocess.Popen(["bash", str(SCRIPT)], env=environment)
    started = (tmp_path / "started").read_text().split()
    assert started[:4] == ["actsearch", "worker", "--until", "1893456000"]
    assert started[4:] == ["--home", "/tmp/actsearch-7"]
    job.send_signal(ahead)
    assert job.wait(60) == 0
    assert (tmp_path / "heard").read_text() == "told\n"


def test_a_job_without_the_service_s_address_says_so(environment: dict[str, str]) -> None:
    del environment["ACTSEARCH_URL"]
    job = subprocess.run(["bash", str(SCRIPT)], env=environment, capture_output=True, text=True)
    assert job.returncode != 0
    assert "set it to the address of the service" in job.stderr


def test_what_the_script_is_asked_for_are_options_of_the_worker(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    offered = capsys.readouterr().out
    assert all(option in offered for option in ("--until", "--home", "--drain", "--grace"))
