"""The worlds that the benchmark of the search model searches in."""

import io
import json
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.search_model import BUDGETS, STRATEGIES, run, show
from tests.benchmarks.search_outside import Outside, _PlainData
from tests.benchmarks.search_worlds import WORLDS, nothing, rugged, shrunken, smooth
from workers.simulation.table import load


def test_a_pickle_of_plain_data_is_read_and_any_other_refused() -> None:
    plain = {"00": {"loss": [0.5, 1]}}

    assert _PlainData(io.BytesIO(pickle.dumps(plain))).load() == plain
    with pytest.raises(pickle.UnpicklingError, match=r"plain data, got fractions\.Fraction"):
        _PlainData(io.BytesIO(pickle.dumps(Fraction(1, 2)))).load()


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_a_world_is_the_same_each_time(name: str) -> None:
    one, other = WORLDS[name](3), WORLDS[name](3)
    code = one.uniforms[1]

    assert one.truth(code) == other.truth(code)
    assert one.train(code, 1) == other.train(code, 1)
    assert one.most == other.most >= 0


def test_trainings_of_a_block_share_most_of_their_noise() -> None:
    world = nothing(0)
    codes = [world.code(dict(zip(world.distributions, "abc", strict=True))), world.uniforms[2]]
    noise = np.array([[world.train(c, b) - world.truth(c) for c in codes] for b in range(600)])

    assert np.corrcoef(noise.T)[0, 1] == pytest.approx(0.25 / 0.41, abs=0.1)
    assert noise.var() == pytest.approx(0.41, abs=0.06)


def test_shrinking_keeps_the_mean_and_less_of_what_is_noise() -> None:
    table = load()
    values = 100 * table.accuracy[:, :, -1]
    mean = values.mean(axis=1)
    truth = shrunken(table, values, None).reshape(-1)

    assert truth.mean() == pytest.approx(mean.mean())
    assert 0.7 * mean.var() < truth.var() < mean.var()
    # With noise as large as all there is nothing is left.
    assert np.ptp(shrunken(table, values, None, noise=1e6)) == pytest.approx(0, abs=1e-9)


def test_the_attainable_gain_of_a_smooth_world_is_that_of_its_best_candidate() -> None:
    world = smooth(3, 5)
    candidates = np.ndindex(*(len(world.variants),) * world.sites)

    assert world.attainable == pytest.approx(max(world.truth(code) for code in candidates))


def test_the_seed_that_is_kept_back_is_not_shown() -> None:
    values = {"00": [1.0, 2.0, 3.0], "01": [4.0, 5.0, 6.0], "10": [0.0] * 3, "11": [7.0, 8.0, 9.0]}
    world = Outside({"one": ("a", "b"), "two": ("a", "b")}, 2, values, 1)

    assert [world.train((0, 1), block) for block in range(3)] == [4.0, 6.0, 4.0]
    assert world.gain((0, 1)) == 5.0 - 8.0
    assert world.most == 0.0


def test_the_table_is_printed_with_its_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kept.jsonl"
    lines = [line for n in range(2) for line in run("rugged", n, list(STRATEGIES))]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    show(file)
    printed = capsys.readouterr().out
    first = lines[0]
    assert set(first["gains"]) == set(BUDGETS)  # type: ignore[call-overload]
    assert f"rugged: attainable {np.mean([rugged(n).most for n in range(2)]):+.2f}" in printed
    assert all(f"  {strategy}" in printed for strategy in STRATEGIES)
