"""The epochs of a trial in the loop of Lightning's `Trainer`."""

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from workers.errors import MisusedHandle
from workers.handle.protocol import Trial

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    # The package that the script imports: the two names are different packages.
    _name = "lightning.pytorch" if "lightning" in sys.modules else "pytorch_lightning"
    Callback = import_module(_name).Callback


class LightningEpochs(Callback):  # type: ignore[misc]
    """Trains the epochs of a trial, and no others, and reports each.

    An epoch is reported when the next one would begin: only then have schedulers made the step
    that they make once an epoch, and the checkpoint must hold their new state. If the search
    states another number of epochs than `max_epochs`, the search's number is used.

    Args:
        trial: From `actsearch.trial()`.
        metrics: What to report, each by the name under which the module logs it.
    """

    def __init__(self, trial: Trial, **metrics: str) -> None:
        self._trial = trial
        self._metrics = metrics
        self._epochs: Iterator[int] = iter(())
        self._epoch = 0
        self._is_over = False

    def on_train_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        if len(trainer.optimizers) != 1:
            raise MisusedHandle(f"a trial has one optimizer, the module {len(trainer.optimizers)}")
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        optimizer = trainer.optimizers[0]
        self._epochs = self._trial.epochs(trainer.max_epochs, pl_module, optimizer, *schedulers)
        # No limit: the trial's iterator decides when to end.
        trainer.fit_loop.max_epochs = -1
        self._begin()
        # The trainer's own epoch counter; an earlier attempt may have trained some epochs.
        done = trainer.fit_loop.epoch_progress.current
        done.ready = done.started = done.processed = done.completed = self._epoch

    def on_train_epoch_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:  # noqa: ARG002
        if self._is_over:
            self._trial.report(self._epoch, **self._logged(trainer))
            # After the last epoch this raises StopIteration, which ends Lightning's loop.
            self._begin()

    def on_train_epoch_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:  # noqa: ARG002
        self._is_over = True

    def _begin(self) -> None:
        self._epoch, self._is_over = next(self._epochs), False

    def _logged(self, trainer: "Trainer") -> dict[str, Any]:
        known = trainer.callback_metrics
        for name in self._metrics.values():
            if name not in known:
                there = ", ".join(sorted(known)) or "nothing"
                raise MisusedHandle(f"the module logged no {name!r} in this epoch, but {there}")
        return {own: float(known[name]) for own, name in self._metrics.items()}
