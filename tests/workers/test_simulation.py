"""Workers that answer from a table."""

from pathlib import Path

import numpy as np
import pytest

from search_space.contract import TrialKind
from search_space.spec import ActivationSpec, Candidate, Training
from tests.support.tables import VARIANTS, invented
from tests.workers.stub import Stub
from workers.errors import BadTable, NotInTable
from workers.simulation.__main__ import main
from workers.simulation.answers import Answers, offer
from workers.simulation.table import Table, load, save, variances


@pytest.fixture(scope="module")
def table() -> Table:
    return invented(gain=0.03)


def uniform(name: str, **training: float) -> Candidate:
    return Candidate({f"act{i}": ActivationSpec(name) for i in range(3)}, Training(**training))


def test_a_candidate_is_found_by_its_activations(table: Table) -> None:
    mixed = {"act0": "gelu", "act1": "relu", "act2": "silu"}
    candidate = Candidate({site: ActivationSpec(name) for site, name in mixed.items()})
    row = table.row(candidate)
    assert [VARIANTS[variant] for variant in table.candidates[row]] == ["gelu", "relu", "silu"]
    assert table.row(uniform("relu")) == 0


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (uniform("pwlu"), "pwlu"),
        (uniform("relu", learning_rate_factor=3.0), "learning_rate_factor"),
    ],
)
def test_what_was_not_measured_is_named(table: Table, candidate: Candidate, reason: str) -> None:
    with pytest.raises(NotInTable, match=reason):
        table.row(candidate)


def test_a_table_is_read_as_it_was_written(table: Table, tmp_path: Path) -> None:
    save(table, tmp_path / "table.npz")
    again = load(tmp_path / "table.npz")
    np.testing.assert_array_equal(again.validation, table.validation)
    np.testing.assert_array_equal(again.test, table.test)
    assert again.plan == table.plan
    assert offer(again) == offer(table)


@pytest.mark.parametrize("content", [b"", b"no table"])
def test_a_file_that_is_no_table_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.npz"
    path.write_bytes(content)
    with pytest.raises(BadTable, match=r"table\.npz is no table of trainings"):
        load(path)


def test_the_variance_between_candidates_is_told_from_that_between_seeds() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 3, (5_000, 1)) + rng.normal(0, 2, (5_000, 3))
    candidates, seeds = variances(values)
    assert candidates == pytest.approx(9, rel=0.1)
    assert seeds == pytest.approx(4, rel=0.1)


def test_a_trial_sees_one_of_the_measured_seeds(table: Table, stub: Stub) -> None:
    answers, row = Answers(table), table.row(uniform("silu"))
    for number in range(3):
        assignment = stub.assignment({"name": "simulated-invented"}, uniform("silu"), number=number)
        assert answers.curve(assignment) == table.accuracy[row, number].tolist()
        assert answers.test(assignment) == {}


def test_a_shorter_training_is_the_beginning_and_a_longer_one_refused(
    table: Table, stub: Stub
) -> None:
    short, long = (
        stub.assignment({"name": "simulated-invented", "epochs": epochs}, uniform("silu"))
        for epochs in (2, 7)
    )
    assert len(Answers(table).curve(short)) == 2
    with pytest.raises(NotInTable, match="training of 7 epochs; it has 6"):
        Answers(table).curve(long)


def test_confirmations_scatter_as_the_measured_seeds_do(table: Table, stub: Stub) -> None:
    answers, row = Answers(table), table.row(uniform("silu"))
    found = [
        answers.test(stub.assignment({}, uniform("silu"), kind=TrialKind.CONFIRMATION, seed=seed))[
            "test_accuracy"
        ]
        for seed in range(2_000)
    ]
    assert np.mean(found) == pytest.approx(table.test_accuracy[row].mean(), abs=0.001)
    assert np.var(found) == pytest.approx(variances(table.test_accuracy)[1], rel=0.15)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--workers", "0"], "--workers: expected a number from 1 to 4096"),
        (["--speed", "-1"], "--speed: expected more than 0"),
        (["--kill-rate", "1"], "--kill-rate: expected a probability"),
        (["--table", "nowhere.npz"], "nowhere.npz is no table"),
    ],
)
def test_bad_options_are_refused_by_name(
    options: list[str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(options) == 1
    assert reason in caplog.text


def test_the_table_that_ships_is_whole_and_tells_candidates_from_seeds() -> None:
    table = load()
    assert (table.accuracy.shape, table.test_accuracy.shape) == ((512, 3, 15), (512, 3))
    assert table.accuracy.min() > 0.1, "a training is missing, or none of its epochs learned"
    candidates, seeds = variances(table.accuracy[:, :, -1])
    assert candidates / seeds == pytest.approx(table.about["variance_ratio"], abs=0.01)
    assert candidates >= 2 * seeds
