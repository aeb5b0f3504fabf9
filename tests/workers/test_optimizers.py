"""Recipes, and the average of weights."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from search_space.activations.pwlu import PWLU
from search_space.apply import apply
from search_space.spec import ActivationSpec
from workers.training.averaging import Average
from workers.training.optimizers import factor_of, make_optimizer, make_schedule
from workers.training.recipe import Recipe
from workers.trial import StandaloneTrial


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
@pytest.mark.parametrize("warm_up", [0.0, 0.25])
def test_rates_rise_to_the_highest_and_fall_to_nothing(schedule: str, warm_up: float) -> None:
    recipe = Recipe(learning_rate=1.0, schedule=schedule, warm_up=warm_up)  # type: ignore[arg-type]
    factors = [factor_of(recipe, 100)(step) for step in range(101)]
    top = round(100 * warm_up)
    assert factors[top] == max(factors) == 1
    assert factors[0] > 0
    assert all(a < b for a, b in pairwise(factors[: top + 1]))
    assert all(a > b for a, b in pairwise(factors[top:]))
    assert factors[100] == pytest.approx(0, abs=1e-12)
    assert factor_of(recipe, 100)(150) == pytest.approx(0, abs=1e-12)


def test_one_cycle_falls_along_a_line_and_cosine_does_not() -> None:
    line, wave = (
        factor_of(Recipe(learning_rate=1.0, schedule=schedule), 100)(25)
        for schedule in ("one_cycle", "cosine")
    )
    assert line == 0.75
    assert wave > 0.85


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_activations_have_a_group_without_decay_in_every_optimizer(name: str, kind: type) -> None:
    model = apply(network(), {"1": ActivationSpec("acon_c")}, torch.zeros(2, 2))
    recipe = Recipe(learning_rate=0.2, weight_decay=0.1, optimizer=name)  # type: ignore[arg-type]
    optimizer = make_optimizer(StandaloneTrial(), model, recipe)
    assert type(optimizer) is kind
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    schedule = make_schedule(optimizer, recipe, 10)
    optimizer.step()
    schedule.step()
    assert 0 < optimizer.param_groups[0]["lr"] < 0.2


def test_the_average_trails_the_weights_and_is_theirs_to_borrow() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = Average(model, 0.5)
    for value in (1.0, 1.0, 2.0):
        nn.init.constant_(model.weight, value)
        average.update()
    with average.in_place():
        # The third step has decay 2 / 12.
        assert model.weight.item() == pytest.approx(1 * 2 / 12 + 2 * 10 / 12)
    assert model.weight.item() == 2
    average.swap()
    assert model.weight.item() < 2


def test_without_a_decay_the_weights_are_their_own_average() -> None:
    model = nn.Linear(1, 1)
    average = Average(model, None)
    before = model.weight.clone()
    average.update()
    with average.in_place():
        assert torch.equal(model.weight, before)
    assert average.state_dict()["averages"] == []


def test_the_average_begins_anew_when_statistics_have_been_collected() -> None:
    pwlu = PWLU(3, segments=4)
    model = nn.Sequential(pwlu)
    model.train()
    average = Average(model, 0.999)
    for _ in range(20):
        model(torch.randn(16, 3) * 5)
        average.update()
    pwlu.realign()
    average.update()
    with average.in_place():
        averaged = pwlu.right.clone()
    assert torch.equal(averaged, pwlu.right)


def test_an_average_is_taken_up_where_it_was() -> None:
    one, other = network(), network()
    first, second = Average(one, 0.9), Average(other, 0.9)
    for _ in range(3):
        for p in one.parameters():
            nn.init.normal_(p)
        first.update()
    other.load_state_dict(one.state_dict())
    second.load_state_dict(first.state_dict())
    for average in (first, second):
        average.update()
    with first.in_place(), second.in_place():
        assert all(map(torch.equal, one.parameters(), other.parameters()))
