"""What a study's trials tell the model: robust values, seed blocks, stopped trials."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from service.study.additive.features import Floats
from service.study.additive.model import Data
from service.study.additive.space import Codes, Space
from service.study.attributes import SEED_BLOCK

BlockOf = Callable[[int], Hashable]
"""The seed block of a trial that does not name its own, by its number."""

CLIPPED_BELOW = 3.0
"""Values below the median by more than so many spreads of the better half are all alike."""

BENT_ABOVE = 4.0
"""Values above the median by more than so many spreads count with their logarithm."""

MOST_ABOVE = 8.0

FINITE = 1e100
"""Larger values count as not finite: their squares could not be computed with."""


@dataclass(frozen=True)
class Scale:
    """The map from a study's values to the model's: larger is better, the spread is 1."""

    sign: float
    centre: float
    spread: float

    def forward(self, values: Floats) -> Floats:
        """Return values on the model's scale, clipped; what is not finite is the worst."""
        finite = _is_finite(values)
        scaled = (self.sign * np.where(finite, values, 0.0) - self.centre) / self.spread
        scaled = np.where(finite, scaled, -np.inf)
        bent = BENT_ABOVE + np.log1p(np.maximum(scaled - BENT_ABOVE, 0))
        scaled = np.where(scaled > BENT_ABOVE, np.minimum(bent, MOST_ABOVE), scaled)
        return np.asarray(np.maximum(scaled, -CLIPPED_BELOW))

    def back(self, scaled: Floats) -> Floats:
        """Return the study's values of what is not clipped."""
        return np.asarray(self.sign * (self.centre + self.spread * scaled))


@dataclass(frozen=True)
class Observations:
    """The trials that the model learns from.

    Attributes:
        ended: They, in the order of their numbers.
        codes: The candidate of each.
        blocks: The name of the seed block of each, None where it has none.
        pending: Candidates and blocks of trials that run, or failed and say nothing.
    """

    ended: tuple[FrozenTrial, ...]
    codes: Codes
    blocks: tuple[Hashable, ...]
    direction: StudyDirection
    pending: tuple[tuple[tuple[int, ...], Hashable], ...] = ()

    def __len__(self) -> int:
        return len(self.ended)

    @cached_property
    def finals(self) -> tuple[Floats, Floats]:
        """The value that each has or would have had at its end, and its variance."""
        return _final_values(self.ended)

    @cached_property
    def scale(self) -> Scale:
        return robust_scale(self.finals[0], self.direction)

    @cached_property
    def data(self) -> Data:
        """What the model is given."""
        values, variances = self.finals
        names = dict.fromkeys(block for block in self.blocks if block is not None)
        order = {block: i for i, block in enumerate(names)}
        blocks = [-1 if block is None else order[block] for block in self.blocks]
        return Data(
            self.codes,
            self.scale.forward(values),
            np.array(blocks, dtype=np.int64),
            variances / self.scale.spread**2,
        )

    def first(self, count: int) -> "Observations":
        """Return the first ones alone, as they were when there were no others."""
        return Observations(
            self.ended[:count], self.codes[:count], self.blocks[:count], self.direction
        )

    def key(self, count: int) -> Hashable:
        """Return what tells the first ones apart from others."""
        ends = tuple(
            (t.number, t.state, t.values and t.values[0], len(t.intermediate_values))
            for t in self.ended[:count]
        )
        return ends, self.codes[:count].tobytes(), self.blocks[:count]

    def taken(self, block: Hashable) -> Codes:
        """Return the candidates of which training in a block would tell nothing new."""
        tried = zip(map(tuple, self.codes.tolist()), self.blocks, strict=True)
        out = [code for code, its in (*tried, *self.pending) if block is None or its == block]
        return np.array(out, dtype=np.int64).reshape(len(out), self.codes.shape[1])


def observe(
    trials: Sequence[FrozenTrial],
    direction: StudyDirection,
    space: Space,
    block_of: BlockOf | None = None,
    encode: Callable[[FrozenTrial], tuple[int, ...] | None] | None = None,
) -> Observations:
    """Return what trials tell. Those outside the space tell nothing.

    Completed trials count with their value. A stopped trial counts with its last report and the
    gain that completed trials made from that step on, as noisy as these gains differ. One that
    was stopped without a finite report, or that violates a constraint, is as bad as can be.
    Failed and running trials are only kept from being proposed again.
    """
    ended, codes, blocks, pending = [], [], [], []
    for trial in trials:
        code = space.encode(trial.params) if encode is None else encode(trial)
        if code is None:
            continue
        block = block_name(trial, block_of)
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            ended.append(trial)
            codes.append(code)
            blocks.append(block)
        elif trial.state in (TrialState.RUNNING, TrialState.FAIL):
            pending.append((code, block))
    array = np.array(codes, dtype=np.int64).reshape(len(codes), len(space.axes))
    return Observations(tuple(ended), array, tuple(blocks), direction, tuple(pending))


def block_name(trial: FrozenTrial, block_of: BlockOf | None) -> Hashable:
    """Return the name of a trial's seed block, None where it has none."""
    for attributes in (trial.user_attrs, trial.system_attrs):
        if SEED_BLOCK in attributes:
            found = attributes[SEED_BLOCK]
            return found if isinstance(found, Hashable) else repr(found)
    return None if block_of is None else block_of(trial.number)


def robust_scale(values: Floats, direction: StudyDirection) -> Scale:
    """Return the scale of values: their median, and the spread of the better half."""
    sign = 1.0 if direction == StudyDirection.MAXIMIZE else -1.0
    finite = sign * values[_is_finite(values)]
    if not len(finite):
        return Scale(sign, 0.0, 1.0)
    centre = float(np.median(finite))
    better = finite[finite >= centre]
    # For a normal distribution the median of the better half is 0.6745 spreads above.
    spread = float(np.median(better) - centre) / 0.6745
    smallest = max(1e-12 * float(np.abs(finite).max()), 1 / FINITE)
    if spread < smallest:
        spread = max(float(np.median(np.abs(finite - centre))), float(np.ptp(finite)) / 4)
    return Scale(sign, centre, spread if spread >= smallest else 1.0)


def _final_values(trials: Sequence[FrozenTrial]) -> tuple[Floats, Floats]:
    """Return the value that each trial has or would have had at its end, and its variance."""
    gains = _gains(trials)
    values, variances = np.full(len(trials), np.nan), np.zeros(len(trials))
    for row, trial in enumerate(trials):
        if any(violation > 0 for violation in trial.constraints.values()):
            continue
        if trial.state == TrialState.COMPLETE:
            values[row] = trial.values[0]
        elif trial.intermediate_values:
            step = max(trial.intermediate_values)
            gain, variance = _gain_at(gains, step)
            values[row] = trial.intermediate_values[step] + gain
            variances[row] = variance
    return values, variances


def _gains(trials: Sequence[FrozenTrial]) -> Mapping[int, Floats]:
    """Return how much completed trials gained from each step at which a trial was stopped."""
    stopped = {
        max(t.intermediate_values)
        for t in trials
        if t.state == TrialState.PRUNED and t.intermediate_values
    }
    gains: dict[int, list[float]] = {step: [] for step in stopped}
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            for step in stopped & trial.intermediate_values.keys():
                gains[step].append(trial.values[0] - trial.intermediate_values[step])
    finite = {step: np.array(some)[_is_finite(np.array(some))] for step, some in gains.items()}
    return {step: some for step, some in finite.items() if len(some)}


def _is_finite(values: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.abs(values) < FINITE)


def _gain_at(gains: Mapping[int, Floats], step: int) -> tuple[float, float]:
    """Return the median gain from a step on, or from the nearest known, and its variance."""
    if not gains:
        return 0.0, 0.0
    known = gains[min(gains, key=lambda other: (abs(other - step), other))]
    centre = float(np.median(known))
    # Of few trials the spread is uncertain: three more, as far off as the gain, are assumed.
    squares = float(np.sum((known - centre) ** 2)) + 3 * (centre / 2) ** 2
    return centre, squares / (len(known) + 3)
