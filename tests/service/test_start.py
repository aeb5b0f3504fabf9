"""Searches that tune given weights: how these are stored, kept, handed out and told of."""

import hashlib
from pathlib import Path

import pytest

from service.cli import main
from service.client.client import Client
from service.housekeeping.deletion import delete_batch
from tests.service.test_artifacts import BINARY, files
from tests.service.test_confirmation import CONFIRM, noisy, run, silu_is_better
from tests.support.player import Player, plan
from tests.support.serving import Served

CONTENT = b"trained weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def uploaded(served: Served, folder: Path) -> str:
    file = folder / "weights.safetensors"
    file.write_bytes(CONTENT)
    with Client(served.url) as client:
        return client.upload(file)


def test_a_trial_is_given_the_weights_that_its_search_names(
    player: Player, served: Served, tmp_path: Path
) -> None:
    sha256 = uploaded(served, tmp_path)
    assert sha256 == SHA256
    search = player.submit(start={"weights": sha256})
    assert search["document"]["start"] == {"weights": sha256}
    inspection = player.work()
    assert inspection["start"] == sha256
    assert player.http.get(f"/trials/{inspection['trial']}/start").content == CONTENT
    player.end(inspection, plan=plan())
    trial = player.work()
    assert trial["start"] == sha256
    assert player.http.get(f"/trials/{trial['trial']}/start").content == CONTENT


def test_what_trains_from_scratch_has_no_weights(player: Player) -> None:
    player.submit()
    assignment = player.work()
    assert assignment["start"] is None
    assert player.http.get(f"/trials/{assignment['trial']}/start").status_code == 404


def test_a_trial_s_own_file_will_do_and_outlives_its_search(player: Player, served: Served) -> None:
    earlier = player.submit()
    player.inspect()
    lease = player.work()["lease"]
    url = f"/leases/{lease}/artifacts/weights.safetensors"
    player.http.put(url, content=CONTENT, headers=BINARY).raise_for_status()
    later = player.submit(start={"weights": SHA256})
    player.http.delete(f"/searches/{earlier['id']}").raise_for_status()
    while delete_batch(served.context.database, served.context.artifacts, earlier["id"]):
        pass
    assert player.search(later["id"])["document"]["start"] == {"weights": SHA256}
    assert [path.name for path in files(served)] == [SHA256]


def test_the_verdict_says_that_it_was_fine_tuning(
    player: Player, served: Served, tmp_path: Path
) -> None:
    search = player.submit(**CONFIRM, start={"weights": uploaded(served, tmp_path)})
    player.inspect()
    run(player, search["id"], silu_is_better, noisy(silu_is_better))
    claim = player.http.get(f"/searches/{search['id']}/best").json()["claim"]
    assert "4 seeds, 4 epochs, by fine-tuning the given weights" in claim


def test_the_command_prints_what_names_an_upload(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(CONTENT)
    for arguments in (["upload", str(file)], ["upload", str(tmp_path / "none")]):
        with pytest.raises(SystemExit):
            main([*arguments, "--url", served.url])
    out, err = capsys.readouterr()
    assert out == f"{SHA256}\n"
    assert "cannot read" in err


def test_an_upload_must_be_bytes(served: Served) -> None:
    response = served.http.put("/artifacts", json={})
    assert response.status_code == 415
    assert not files(served)
