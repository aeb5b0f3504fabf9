"""What `per: auto` does: the uniform networks, then around the best of them, then the sampler."""

from typing import Any

import pytest

from tests.support.player import Player, plan
from tests.support.serving import Served

AUTO: dict[str, Any] = {
    "choices": ["relu", "silu", "gelu", "mish"],
    "baselines": {"original_seeds": 1, "uniform": True},
    "sites": {"per": "auto"},
    "budget": {"trials": 12},
}


def chosen(trial: dict[str, Any]) -> list[str]:
    return [spec["name"] for spec in trial["candidate"]["sites"].values()]


def value(assignment: dict[str, Any]) -> float:
    return 0.5 + 0.1 * chosen(assignment).count("mish") + 0.01 * chosen(assignment).count("gelu")


def run(player: Player, served: Served | None = None, **changes: Any) -> list[dict[str, Any]]:
    """Run a search and return its proposals; restart the service in the middle where asked."""
    search = player.submit(**AUTO | changes)
    player.inspect(plan(sites=4))
    while (assignment := player.lease(wait=0.3)) is not None:
        player.train(assignment, value(assignment))
        if served is not None and assignment["number"] == 7:
            served.restart()
    trials = player.trials(search["id"])
    return [t for t in trials if t["kind"] == "proposed" and t["repeat_of"] is None]


def differences(trial: dict[str, Any]) -> int:
    return sum(name != "mish" for name in chosen(trial))


def test_the_first_half_changes_one_stage_of_the_best_uniform_network(player: Player) -> None:
    proposed = run(player)
    assert [differences(trial) for trial in proposed[:6]] == [1] * 6
    assert len({tuple(chosen(trial)) for trial in proposed}) == 12
    assert {differences(trial) for trial in proposed[6:]} != {1}


def test_a_restart_goes_on_as_an_unbroken_search_does(player: Player, served: Served) -> None:
    assert [chosen(t) for t in run(player, served)] == [chosen(t) for t in run(player)]


@pytest.mark.parametrize("changes", [{"sites": {"per": "stage"}}, {"sampler": {"name": "random"}}])
def test_only_auto_with_its_own_sampler_begins_so(player: Player, changes: dict[str, Any]) -> None:
    proposed = run(player, **changes)
    assert {differences(trial) for trial in proposed[:6]} != {1}
