"""When activations with phases switch."""

import pytest
import torch
from torch import nn
from torch.optim import SGD

from search_space.activations.learned import PhasedActivation, phased_modules
from search_space.apply import apply, parameter_groups
from search_space.phases import switch_step
from tests.workers.conftest import EXAMPLE, candidate, network
from workers.handle.phases import PhaseScheduler


@pytest.mark.parametrize(
    ("share", "total", "step"),
    [
        (0.05, 10_000, 500),
        (0.05, 1_000, 50),  # raised to 50
        (0.05, 400, 50),
        (0.05, 100, 20),  # never above a fifth
        (0.2, 1_000, 200),
        (0.05, 3, 1),
    ],
)
def test_the_phase_lasts_its_share_of_the_steps_within_bounds(
    share: float, total: int, step: int
) -> None:
    assert switch_step(share, total) == step


def start(
    *, epochs: int, steps_per_epoch: int | None
) -> tuple[nn.Module, SGD, PhaseScheduler, PhasedActivation]:
    model = apply(network(), candidate(), EXAMPLE)
    optimizer = SGD(parameter_groups(model, lr=0.1), momentum=0.9)
    phase_scheduler = PhaseScheduler(model, optimizer, share=0.05, epochs=epochs)
    phase_scheduler.steps_per_epoch = steps_per_epoch
    (phased,) = phased_modules(model)
    return model, optimizer, phase_scheduler, phased


def step(model: nn.Module, optimizer: SGD) -> None:
    optimizer.zero_grad()
    model(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()


def switched_at(*, epochs: int, steps: int, told: bool) -> int:
    """Train and return the number of steps after which the activation had switched."""
    steps_per_epoch = steps if told else None
    model, optimizer, phase_scheduler, phased = start(
        epochs=epochs, steps_per_epoch=steps_per_epoch
    )
    for _ in range(epochs):
        phase_scheduler.begin_epoch()
        for _ in range(steps):
            step(model, optimizer)
            if not phased.collecting:
                return phase_scheduler.steps
        phase_scheduler.end_epoch()
        if not phased.collecting:
            return phase_scheduler.steps
    raise AssertionError("it never switched")


@pytest.mark.parametrize(
    ("epochs", "steps", "told", "expected"),
    [
        (2, 50, True, 20),
        (10, 10, True, 20),
        (1, 300, True, 50),
        (10, 10, False, 20),  # learned in time
        (10, 40, False, 50),
        (5, 60, False, 60),  # learned too late: at the end of the first epoch
        (2, 80, False, 50),  # a fifth lies within the first epoch
        (2, 10, False, 10),
    ],
)
def test_activations_switch_at_the_step_that_the_rule_says(
    epochs: int, steps: int, told: bool, expected: int
) -> None:
    assert switched_at(epochs=epochs, steps=steps, told=told) == expected


def test_the_switch_clears_the_optimizer_s_state_of_what_it_changed() -> None:
    model, optimizer, phase_scheduler, phased = start(epochs=1, steps_per_epoch=50)
    for _ in range(9):
        step(model, optimizer)
    assert all(p in optimizer.state for p in phased.parameters())
    step(model, optimizer)
    assert phase_scheduler.steps == 10
    assert not phased.collecting
    assert not any(p in optimizer.state for p in phased.parameters())
    assert model.get_submodule("0").weight in optimizer.state
    step(model, optimizer)
    assert all(p in optimizer.state for p in phased.parameters())
