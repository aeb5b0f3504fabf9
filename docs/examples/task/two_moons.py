"""A task of your own, two half moons to be told apart: `actsearch worker --load two_moons.py`."""

import torch
from torch import nn

from search_space.contract import TaskOffer
from workers.tasks.base import FunctionTask
from workers.tasks.settings import count, schema, with_defaults
from workers.training.batches import Batches
from workers.training.loop import train
from workers.training.recipe import Recipe

SETTINGS = schema({"epochs": count(10, most=1000), "batch_size": count(64, most=4096)})
METRICS = {"validation_accuracy": "maximize", "validation_loss": "minimize"}
TASK = FunctionTask(
    TaskOffer(name="two-moons", settings=SETTINGS, metrics=METRICS), "two_moons:run"
)


def run(trial, settings, place):
    settings = with_defaults(SETTINGS, settings)
    data, validation, test = (moons(1000, seed) for seed in (1, 2, 3))
    network = nn.Sequential(
        nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)
    )
    test = test if trial.is_confirmation else None
    train(trial, network, data, validation, Recipe(learning_rate=0.1), test=test, **settings)


def moons(count, seed):
    generator = torch.Generator().manual_seed(seed)
    angle, noise = torch.rand(count, generator=generator) * torch.pi, 0.15
    upper = torch.arange(count) % 2
    x = torch.where(upper == 1, angle.cos(), 1 - angle.cos())
    y = torch.where(upper == 1, angle.sin(), 0.5 - angle.sin())
    points = torch.stack((x, y), dim=1) + noise * torch.randn(count, 2, generator=generator)
    return Batches(points, upper, torch.zeros(2), torch.ones(2))
