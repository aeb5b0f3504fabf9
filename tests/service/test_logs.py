"""What trials print: taken in by pieces, kept up to a bound, read while it grows."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from service.cli import main
from service.client.client import Client
from tests.support.player import Player
from tests.support.serving import Served

BYTES = {"content-type": "application/octet-stream"}


def say(player: Player, assignment: dict[str, Any], offset: int, data: bytes) -> httpx2.Response:
    url = f"/leases/{assignment['lease']}/logs"
    return player.http.post(url, params={"offset": offset}, content=data, headers=BYTES)


def read(player: Player, assignment: dict[str, Any], **params: Any) -> dict[str, Any]:
    url = f"/trials/{assignment['trial']}/logs"
    return dict(player.http.get(url, params=params).raise_for_status().json())


def until(happened: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def running(player: Player) -> dict[str, Any]:
    """A trial that runs."""
    player.submit()
    player.inspect()
    return player.work()


def test_pieces_make_one_output(player: Player, running: dict[str, Any]) -> None:
    assert say(player, running, 0, b"one\n").json() == {"next": 4}
    assert say(player, running, 4, "zwölf\n".encode()).json() == {"next": 11}
    page = read(player, running)
    assert page["text"] == "one\nzwölf\n"
    assert (page["offset"], page["next"], page["ended"]) == (0, 11, False)
    assert read(player, running, offset=4)["text"] == "zwölf\n"


@pytest.mark.parametrize(
    ("offset", "data", "next", "text"),
    [
        (0, b"one\n", 4, "one\n"),
        (2, b"e\ntwo\n", 8, "one\ntwo\n"),
        (0, b"ONE\ntwo\n", 8, "one\ntwo\n"),
        (9, b"beyond a gap", 4, "one\n"),
    ],
)
def test_a_repeated_piece_changes_nothing_and_a_gap_is_not_taken(
    player: Player, running: dict[str, Any], offset: int, data: bytes, next: int, text: str
) -> None:
    say(player, running, 0, b"one\n")
    assert say(player, running, offset, data).json() == {"next": next}
    assert read(player, running)["text"] == text


def test_a_character_is_not_cut_in_two(player: Player, running: dict[str, Any]) -> None:
    letters = "zwölf".encode()
    say(player, running, 0, letters[:3])
    page = read(player, running)
    assert page["text"] == "zw"
    say(player, running, 3, letters[3:])
    assert read(player, running, offset=page["next"])["text"] == "ölf"


def test_the_last_lines_are_found(player: Player, running: dict[str, Any]) -> None:
    say(player, running, 0, b"".join(b"line %d\n" % i for i in range(100)))
    assert read(player, running, tail=2)["text"] == "line 98\nline 99\n"
    assert read(player, running, tail=1000)["text"].startswith("line 0\n")


def test_the_oldest_output_goes_where_there_is_too_much(serve: Callable[..., Served]) -> None:
    player = Player(serve(max_log_bytes=1000))
    player.submit()
    player.inspect()
    running = player.work()
    for number in range(20):
        say(player, running, 100 * number, b"%99d\n" % number)
    page = read(player, running)
    assert page["offset"] == 1000
    assert page["next"] == 2000
    assert page["text"].split() == [str(number) for number in range(10, 20)]


def test_each_attempt_has_its_own_output(player: Player, running: dict[str, Any]) -> None:
    say(player, running, 0, b"first\n")
    player.end(running, "failed", failure="preempted")
    say(player, running, 6, b"last words\n")
    again = player.work()
    assert again["trial"] == running["trial"]
    say(player, again, 0, b"second\n")
    assert read(player, again)["text"] == "second\n"
    first = read(player, running, attempt=1)
    assert first["text"] == "first\nlast words\n"
    assert first["ended"]


def test_output_is_awaited(player: Player, running: dict[str, Any]) -> None:
    assert read(player, running)["text"] == ""
    threading.Timer(0.2, say, (player, running, 0, b"late\n")).start()
    assert read(player, running, wait=20)["text"] == "late\n"


def test_a_follower_gets_all_attempts_until_the_trial_has_ended(
    served: Served, player: Player, running: dict[str, Any]
) -> None:
    say(player, running, 0, b"first\n")
    heard: list[str] = []

    def listen() -> None:
        with Client(served.url) as client:
            for text in client.log(running["trial"], follow=True):
                heard.append(text)

    follower = threading.Thread(target=listen)
    follower.start()
    until(lambda: heard)
    player.end(running, "failed", failure="preempted")
    again = player.work()
    say(player, again, 0, b"second\n")
    player.train(again, 0.5)
    say(player, again, 7, b"bye\n")
    follower.join(60)
    assert not follower.is_alive()
    assert "".join(heard) == "first\nsecond\nbye\n"


def test_an_attempt_that_is_none_is_refused(player: Player, running: dict[str, Any]) -> None:
    url = f"/trials/{running['trial']}/logs"
    assert player.http.get(url, params={"attempt": 7}).status_code == 404
    assert player.http.get("/trials/none/logs").status_code == 404
    answer = player.http.post("/leases/none/logs?offset=0", content=b"x", headers=BYTES)
    assert answer.status_code == 409


def test_a_piece_that_is_too_large_or_no_bytes_is_refused(
    player: Player, running: dict[str, Any]
) -> None:
    assert say(player, running, 0, b"x" * (2**20 + 1)).status_code == 413
    url = f"/leases/{running['lease']}/logs?offset=0"
    assert player.http.post(url, json={}).status_code == 415
    assert say(player, running, -1, b"x").status_code == 422


def test_a_trial_that_waits_has_printed_nothing(player: Player) -> None:
    search = player.submit()
    player.inspect()
    waiting = player.trials(search["id"])[0]
    page = player.http.get(f"/trials/{waiting['id']}/logs").json()
    assert (page["text"], page["ended"]) == ("", False)


def test_only_the_attempt_itself_may_append(serve: Any, tmp_path: Any) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    served: Served = serve(admin_token_file=token)
    answer = served.http.post("/leases/l1/logs?offset=0", content=b"x", headers=BYTES)
    assert answer.status_code == 401


def test_many_wait_for_output_at_once(player: Player, running: dict[str, Any]) -> None:
    with ThreadPoolExecutor(60) as pool:
        pages = [pool.submit(read, player, running, wait=20) for _ in range(60)]
        say(player, running, 0, b"x")
        assert {page.result()["text"] for page in pages} == {"x"}


def test_the_command_prints_what_a_trial_has_printed(
    served: Served, player: Player, running: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    say(player, running, 0, b"one\ntwo\nthree\n")
    for options, expected in (([], "one\ntwo\nthree\n"), (["-n", "1"], "three\n")):
        with pytest.raises(SystemExit) as ended:
            main(["logs", running["trial"], "--url", served.url, *options])
        assert not ended.value.code
        assert capsys.readouterr().out == expected


def test_the_command_prints_a_log_as_json_too(
    served: Served, player: Player, running: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    say(player, running, 0, b"one\ntwo\n")
    with pytest.raises(SystemExit) as ended:
        main(["logs", running["trial"], "--url", served.url, "--json"])
    assert not ended.value.code
    (piece,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (piece["attempt"], piece["offset"], piece["text"]) == (1, 0, "one\ntwo\n")
