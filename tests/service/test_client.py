"""The Python client against a real service."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from service.client.client import Client, ClientError
from service.schemas.states import SearchState, TrialState
from service.store.artifacts import ReceivedFile
from tests.support.player import SEARCH, Player
from tests.support.serving import Served

FILE = {"content-type": "application/octet-stream"}


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url) as client:
        yield client


@pytest.fixture
def finished(player: Player) -> str:
    """A search that has ended: the original once and four candidates."""
    search = player.submit()
    player.inspect()
    for number in range(5):
        trial = player.work()
        url = f"/leases/{trial['lease']}/artifacts/weights.safetensors"
        player.http.put(url, content=b"weights", headers=FILE).raise_for_status()
        player.train(trial, 0.5, 0.6 + number / 100)
    return str(search["id"])


@pytest.mark.parametrize("form", ["object", "yaml", "json", "path", "file name"])
def test_a_search_is_submitted_in_any_form(client: Client, tmp_path: Path, form: str) -> None:
    file = tmp_path / "search.yaml"
    file.write_text("task: {name: image-classification}\nbudget: {trials: 3}\n")
    forms: dict[str, Mapping[str, Any] | Path | str] = {
        "object": {"task": {"name": "image-classification"}, "budget": {"trials": 3}},
        "yaml": file.read_text(),
        "json": '{"task": {"name": "image-classification"}, "budget": {"trials": 3}}',
        "path": file,
        "file name": str(file),
    }

    search = client.submit(forms[form])

    assert search.state == SearchState.PREPARING
    assert search.document["budget"]["trials"] == 3
    assert client.get(search.id) == search


def test_the_same_key_is_the_same_search_and_none_is_another(client: Client) -> None:
    keyed = [client.submit(SEARCH, key="once").id for _ in range(2)]
    assert keyed[0] == keyed[1]
    assert len({keyed[0], client.submit(SEARCH).id, client.submit(SEARCH).id}) == 3


def test_a_refusal_names_every_field_at_fault(client: Client) -> None:
    with pytest.raises(ClientError) as refused:
        client.submit({"task": {}, "budget": {"trials": 0}})
    assert refused.value.status == 422
    assert {error["field"] for error in refused.value.errors} == {"task.name", "budget.trials"}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("task: [", "neither YAML nor JSON"),
        ("- 1", "an object with the key 'task', got \\[1\\]"),
        ("nowhere.yaml", "the search nowhere.yaml cannot be read: No such file"),
        ({"task": {"name": object()}}, "cannot be written as JSON"),
    ],
)
def test_what_is_no_search_is_refused_before_it_is_sent(document: str, said: str) -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(ClientError, match=said):
        client.submit(document)


def test_lists_are_read_to_their_end(client: Client) -> None:
    ids = [client.submit(SEARCH | {"name": f"s{n}"}).id for n in range(203)]
    assert [search.id for search in client.list()] == ids[::-1]


def test_what_a_search_found_can_be_fetched(client: Client, finished: str) -> None:
    best = client.best(finished)
    trials = list(client.trials(finished))

    assert client.get(finished).state == SearchState.COMPLETED
    assert [trial.state for trial in trials] == [TrialState.COMPLETED] * 5
    assert [line.number for line in best.ranking] == [4, 3, 2, 1]
    assert [report.value for report in client.reports(best.ranking[0].trial)] == [0.5, 0.64]
    assert client.artifact(best.ranking[0].trial, "weights.safetensors") == b"weights"
    assert [file.name for file in client.artifacts(trials[0].id)] == ["weights.safetensors"]


def test_the_config_is_the_original_until_it_is_asked_for_unconfirmed(
    client: Client, finished: str
) -> None:
    safe = client.best_config(finished)
    bold = client.best_config(finished, unconfirmed=True)

    assert {spec.name for spec in safe.candidate.sites.values()} == {"relu"}
    assert safe.provenance["trial"] is None
    assert bold.provenance["trial"] == client.best(finished).ranking[0].trial
    assert bold.plan.fingerprint == bold.fingerprint


def test_what_may_be_chosen_and_who_works_is_told(client: Client, player: Player) -> None:
    assert "pwlu" in [entry.name for entry in client.activations()]
    assert [task.name for task in client.tasks()] == ["image-classification"]
    assert [(worker.id, worker.alive) for worker in client.workers()] == [(player.id, True)]


def test_a_search_is_paused_resumed_and_cancelled(client: Client) -> None:
    search = client.submit(SEARCH)
    assert client.pause(search.id).state == SearchState.PAUSED
    assert client.resume(search.id).state == SearchState.PREPARING
    assert client.cancel(search.id).state == SearchState.CANCELLED
    with pytest.raises(ClientError, match="cannot resume a search that is cancelled") as refused:
        client.resume(search.id)
    assert refused.value.status == 409


@pytest.mark.parametrize("id", ["nothing", "../workers", "a/b?c#d"])
def test_an_unknown_id_is_not_found(client: Client, id: str) -> None:
    with pytest.raises(ClientError) as refused:
        client.get(id)
    assert refused.value.status == 404


def test_events_go_on_after_the_service_was_restarted(
    client: Client, served: Served, finished: str
) -> None:
    events = client.events(finished)
    before = list(islice(events, 3))
    served.restart()
    after = list(islice(client.events(finished, after=before[-1].id), 3))

    assert [event.id for event in [*before, *after]] == [1, 2, 3, 4, 5, 6]
    assert {event.kind for event in [*before, *after]} <= {"search", "trial", "report"}


def test_a_stream_reconnects_by_itself(client: Client, served: Served) -> None:
    search = client.submit(SEARCH)
    events = client.events(search.id)
    first = next(events)
    served.restart()
    client.pause(search.id)
    assert (next(events).id, first.id) == (first.id + 1, first.id)


def test_updates_end_when_the_search_does(client: Client, player: Player) -> None:
    id = player.submit(budget={"trials": 1})["id"]
    updates = client.updates(id, at_most_every=0)
    states = [next(updates).state]

    player.inspect()
    while player.search(id)["state"] != "completed":
        player.train(player.work(), 0.5)
    states += [search.state for search in updates]

    assert (states[0], states[-1]) == (SearchState.PREPARING, SearchState.COMPLETED)


def test_waiting_ends_with_a_pause(client: Client) -> None:
    search = client.submit(SEARCH)
    timer = threading.Timer(0.2, client.pause, [search.id])
    timer.start()
    paused = client.wait(search.id)
    timer.join()
    assert (paused.state, paused.reason) == (SearchState.PAUSED, "paused by the user")


def test_nobody_there_is_said_with_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTSEARCH_URL", "http://127.0.0.1:1/")
    with Client() as client, pytest.raises(ClientError) as error:
        client.get("s1")
    assert error.value.status is None
    assert "no service answers at http://127.0.0.1:1 " in str(error.value)


def test_a_url_needs_a_scheme() -> None:
    with pytest.raises(ClientError, match="must be like http://127\\.0\\.0\\.1:8000"):
        Client("localhost:80")


def test_the_token_comes_from_the_environment(
    serve: Callable[..., Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("secret\n")
    served = serve(admin_token_file=tmp_path / "token")
    with Client(served.url) as stranger, pytest.raises(ClientError) as refused:
        stranger.submit(SEARCH)
    assert refused.value.status == 401

    monkeypatch.setenv("ACTSEARCH_TOKEN", "secret")
    with Client(served.url) as client:
        assert client.submit(SEARCH).state == SearchState.PREPARING


def test_a_submitted_search_is_waited_for(client: Client, player: Player) -> None:
    search = client.submit(SEARCH | {"budget": {"trials": 1}})
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(search.wait, progress=False)
        player.inspect()
        while not ended.done() and (trial := player.lease(wait=0.3)) is not None:
            player.train(trial, 0.5)
        assert ended.result(timeout=60).state == SearchState.COMPLETED
    assert search.state == SearchState.PREPARING
    assert search.refresh().state == SearchState.COMPLETED


def test_waiting_shows_progress_where_it_is_wanted(
    client: Client, finished: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client.get(finished).wait(progress=True)
    assert "completed · 5/5 trials" in capsys.readouterr().out
    client.get(finished).wait()
    assert capsys.readouterr().out == ""


def test_a_search_is_changed_forked_killed_and_deleted(client: Client) -> None:
    search = client.submit(SEARCH)
    changed = client.change(search.id, budget={"trials": 9}, name="thin")
    assert (changed.budget.trials, changed.name) == (9, "thin")
    forked = client.fork(search.id, {"sampler": {"seed": 7}}, key="once")
    assert forked.document["sampler"]["seed"] == 7
    assert client.fork(search.id, {"sampler": {"seed": 7}}, key="once").id == forked.id
    assert [item.search for item in client.queue()] == [search.id, forked.id]
    assert client.kill(search.id).state == SearchState.CANCELLED
    client.delete(search.id)
    assert [one.id for one in client.list()] == [forked.id]
    assert next(client.list()).refresh().id == forked.id


def test_a_candidate_is_added_by_hand(client: Client, player: Player) -> None:
    search = client.submit(SEARCH)
    player.inspect()
    trial = client.add_trial(search.id, {"sites": {"block0.act": "silu"}})
    assert (trial.kind, client.trial(trial.id)) == ("manual", trial)


def test_a_preview_costs_nothing(client: Client) -> None:
    assert client.preview("task: {name: image-classification}").trainings.confirmation == 35
    assert list(client.list()) == []


@pytest.fixture
def moody() -> Iterator[tuple[str, list[int], list[str]]]:
    """A service that answers with the statuses in a list before it does what is asked."""
    statuses: list[int] = []
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.path)
            self.rfile.read(int(self.headers["content-length"] or 0))
            self.send_response(statuses.pop(0) if statuses else 404)
            self.send_header("retry-after", "0")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", statuses, heard
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """Start other programs, which answer every request with the same bytes."""
    servers: list[ThreadingHTTPServer] = []

    def start(body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"7"])
def test_another_program_at_the_url_is_refused(
    answering: Callable[[bytes], str], body: bytes
) -> None:
    url = answering(body)
    with Client(url) as client:
        for call in (client.session, lambda: list(client.trials("s1"))):
            with pytest.raises(ClientError, match=f"^{url}/v1/.* is not answered by an activation"):
                call()


@pytest.mark.parametrize(
    ("statuses", "calls"), [([429, 503], 3), ([502], 1), ([500], 1), ([404], 1)]
)
def test_what_may_have_been_done_is_not_asked_again(
    moody: tuple[str, list[int], list[str]], statuses: list[int], calls: int
) -> None:
    url, answers, heard = moody
    answers += statuses
    with Client(url) as client, pytest.raises(ClientError):
        client.pause("s1")
    assert heard == ["/v1/searches/s1/pause"] * calls


def test_what_is_keyed_is_asked_again_whatever_happened(
    moody: tuple[str, list[int], list[str]],
) -> None:
    url, answers, heard = moody
    answers += [502, 504]
    with Client(url) as client, pytest.raises(ClientError) as refused:
        client.submit(SEARCH)
    assert (len(heard), refused.value.status) == (3, 404)


def test_a_file_is_sent_in_pieces_and_what_arrives_is_compared(
    client: Client, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(bytes(range(256)) * 20_000)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read whole"))
    assert client.upload(file) == client.upload(file)

    receive = served.context.artifacts.receive

    async def cut(pieces: AsyncIterator[bytes], **limits: Any) -> ReceivedFile:
        async def fewer() -> AsyncIterator[bytes]:
            async for piece in pieces:
                yield piece[1:]

        received: ReceivedFile = await receive(fewer(), **limits)
        return received

    monkeypatch.setattr(served.context.artifacts, "receive", cut)
    with pytest.raises(ClientError, match="was changed in transit"):
        client.upload(file)
