"""What a checkpoint keeps, and what it refuses to keep."""

import math
from collections import Counter
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch.optim import SGD

from tests.workers.conftest import network
from workers.errors import NotCheckpointable, UnreadableCheckpoint
from workers.handle import checkpoint


class Holder:
    """Anything with a state dict."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.state = state_dict["state"]


def saved(state: Any) -> bytes:
    model = network()
    return checkpoint.save(model, SGD(model.parameters()), [Holder(state)], {"epoch": 3})


@pytest.mark.parametrize(
    "state",
    [
        {"best": math.inf, "bad": None, "betas": (0.9, 0.999), "name": "cos", "on": True},
        {3: 0.1, 7: [1, 2, {"deep": (1.5,)}]},
        Counter({30: 1, 60: 2}),
        -math.inf,
    ],
)
def test_plain_states_come_back_with_their_types(state: Any) -> None:
    model, holder = network(), Holder(None)
    optimizer = SGD(model.parameters())
    progress = checkpoint.restore(saved(state), model, optimizer, [holder])
    assert (holder.state, type(holder.state)) == (state, type(state))
    assert progress == {"epoch": 3}


def test_tensors_have_the_names_of_their_parameters() -> None:
    model = network()
    optimizer = SGD(model.parameters(), momentum=0.9)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    tensors = load(checkpoint.save(model, optimizer, [Holder(torch.ones(2))], {}))
    assert {"model.0.weight", "optimizer.0.weight.momentum_buffer", "others.0.state"} <= set(
        tensors
    )


def test_tied_weights_are_saved() -> None:
    model = network()
    model.register_parameter("twin", model.get_parameter("0.weight"))
    assert "twin" in load(checkpoint.weights(model))


def test_an_object_without_a_safe_form_is_refused_by_its_place() -> None:
    with pytest.raises(NotCheckpointable, match=r"others\.0\.state\.f: .* not a function"):
        saved({"f": lambda: None})


def test_a_checkpoint_of_another_version_is_refused() -> None:
    model = network()
    other = save({"x": torch.ones(1)}, {"version": "9", "state": "{}"})
    with pytest.raises(UnreadableCheckpoint, match="'9'"):
        checkpoint.restore(other, model, SGD(model.parameters()), [])
