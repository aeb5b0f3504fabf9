"""The output of trials on its way to the service."""

import threading
from pathlib import Path

import pytest

from search_space.contract import LeaseFile
from tests.workers.stub import Stub
from workers.attempt import log_stream
from workers.attempt.log_stream import LogStream
from workers.attempt.masking import Mask

TOKEN = "attempt-l1-" + "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "_POLL_SECONDS", 0.02)


def told(stub: Stub) -> LeaseFile:
    return LeaseFile(url=stub.url, assignment=stub.assignment({"name": "mine"}, token=TOKEN))


def test_output_arrives_while_it_is_printed_and_the_rest_at_the_end(
    stub: Stub, tmp_path: Path
) -> None:
    path, file = tmp_path / "log", told(stub)
    with LogStream(file, path):
        path.write_bytes(b"one\ntw")
        stub.wait(lambda: stub.logs)
        assert stub.logs[file.assignment.lease] == b"one\n"
        path.write_bytes(b"one\ntwo\nthe end")
    assert stub.logs[file.assignment.lease] == b"one\ntwo\nthe end"


@pytest.mark.parametrize("size", [100, log_stream._CHUNK_BYTES + 100, 3 * log_stream._CHUNK_BYTES])
@pytest.mark.parametrize("line", [b"x" * 99 + b"\n", b"no end of line "])
def test_output_of_any_size_arrives_whole(
    stub: Stub, tmp_path: Path, size: int, line: bytes
) -> None:
    path, file = tmp_path / "log", told(stub)
    content = (line * (size // len(line) + 1))[:size]
    path.write_bytes(content)
    with LogStream(file, path):
        pass
    assert stub.logs[file.assignment.lease] == content


def test_output_waits_for_a_service_that_is_away(stub: Stub, tmp_path: Path) -> None:
    stub.failures = 3
    path, file = tmp_path / "log", told(stub)
    path.write_bytes(b"patience\n")
    with LogStream(file, path):
        stub.wait(lambda: stub.logs)
    assert stub.logs[file.assignment.lease] == b"patience\n"


def test_no_output_is_no_output(stub: Stub, tmp_path: Path) -> None:
    with LogStream(told(stub), tmp_path / "log"):
        pass
    assert not stub.logs


@pytest.mark.parametrize("at", [0, 5, log_stream._CHUNK_BYTES - 30, log_stream._CHUNK_BYTES - 1])
def test_secrets_are_never_sent_wherever_they_stand(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "correct-horse-battery")
    path, file = tmp_path / "log", told(stub)
    secrets = f"{TOKEN} correct-horse-battery act_0a1b_{'s' * 43}".encode()
    content = b"x" * at + secrets + b"y" * 500 + b"\n" + b"z" * 500
    sent = threading.Event()
    with LogStream(file, path):
        for end in (at + 40, at + 90, at + 200, len(content)):
            path.write_bytes(content[:end])
            sent.wait(0.06)
    found = stub.logs[file.assignment.lease]
    stars = b"*" * len(TOKEN) + b" " + b"*" * 21 + b" " + b"*" * 52
    assert found == content.replace(secrets, stars)


def test_a_mask_hides_what_names_say_is_secret() -> None:
    mask = Mask({"DB_PASSWORD": "hunter2hunter2", "HOME": "/home/someone", "MY_TOKEN": "abc"})
    assert mask.text("hunter2hunter2 /home/someone abc") == "*" * 14 + " /home/someone abc"
    assert mask.text(f"Bearer {TOKEN}.") == "Bearer " + "*" * len(TOKEN) + "."
