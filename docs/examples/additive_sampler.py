"""The additive sampler in a study of your own: an activation for each layer of a small network.

    python docs/examples/additive_sampler.py [TRIALS]

Only numpy and Optuna are needed. Two blocks of seeds are used in turn: trainings of one block
share their initial weights and their examples, so that they differ by their activations alone.
"""

import sys
from itertools import pairwise

import numpy as np
import optuna

from service.study.additive import AdditiveSampler, Estimates

LAYERS = 3
WIDTH = 16
ACTIVATIONS = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sine": (np.sin, np.cos),
    "softplus": (lambda x: np.logaddexp(0, x), lambda x: 1 / (1 + np.exp(-x))),
}


def spirals(rng, count=300, noise=0.15):
    """Return points of two arms that wind around each other, and to which arm each belongs."""
    angle = np.sqrt(rng.random(count)) * 3 * np.pi
    arm = rng.integers(0, 2, count)
    points = np.column_stack([np.cos(angle + np.pi * arm), np.sin(angle + np.pi * arm)])
    return points * angle[:, None] / 5 + noise * rng.standard_normal((count, 2)), arm


def train(names, rate, seed, steps=300):
    """Train the network by gradient descent with momentum; return its accuracy on new points."""
    rng = np.random.default_rng(seed)
    (x, y), (new_x, new_y) = spirals(rng), spirals(rng, 1000)
    sizes = [2, *[WIDTH] * LAYERS, 1]
    weights = [rng.standard_normal(s) * np.sqrt(2 / s[0]) for s in pairwise(sizes)]
    biases = [np.zeros(size) for size in sizes[1:]]
    velocity = [np.zeros_like(p) for p in [*weights, *biases]]
    functions = [*(ACTIVATIONS[name] for name in names), (lambda x: x, np.ones_like)]
    for _ in range(steps):
        inputs, sums = forward(x, weights, biases, functions)
        error = (1 / (1 + np.exp(-inputs[-1][:, 0])) - y)[:, None] / len(y)
        gradients = []
        for layer in reversed(range(len(weights))):
            error = error * functions[layer][1](sums[layer])
            gradients.append((inputs[layer].T @ error, error.sum(axis=0)))
            error = error @ weights[layer].T
        by_weight, by_bias = zip(*reversed(gradients), strict=True)
        for value, speed, gradient in zip(
            [*weights, *biases], velocity, [*by_weight, *by_bias], strict=True
        ):
            speed *= 0.9
            speed -= rate * np.clip(gradient, -1, 1)
            value += speed
    outputs = forward(new_x, weights, biases, functions)[0][-1][:, 0]
    return float(((outputs > 0) == new_y).mean())


def forward(x, weights, biases, functions):
    inputs, sums = [x], []
    for weight, bias, (function, _) in zip(weights, biases, functions, strict=True):
        sums.append(inputs[-1] @ weight + bias)
        inputs.append(function(sums[-1]))
    return inputs, sums


def block_of(number):
    """Two blocks of seeds in turn, each as long as it takes to train every uniform network."""
    return number // len(ACTIVATIONS) % 2


def objective(trial):
    names = [trial.suggest_categorical(f"layer {n}", list(ACTIVATIONS)) for n in range(LAYERS)]
    rate = trial.suggest_categorical("rate", (0.03, 0.1, 0.3))
    return train(names, rate, seed=block_of(trial.number))


def main():
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    sampler = AdditiveSampler(seed=0, block=block_of)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=trials)

    estimates = Estimates.of(study, sampler)
    for one in estimates.ranking(estimates.best_uniform)[:5]:
        # None for the best uniform network itself.
        beats = "-" if one.beats_rival is None else f"{one.beats_rival:.2f}"
        print(
            f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]  better than the best uniform "
            f"network: {beats}  {study.trials[one.trials[0]].params}"
        )
    for effect in [*estimates.importances(), *estimates.choices()]:
        print(f"{effect.name:10} {effect.mean:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}]")


if __name__ == "__main__":
    main()
