"""What trial processes of the tests run."""

import os
import signal
import time
from typing import Any

import torch

from tests.workers.conftest import EXAMPLE, network
from workers.handle.protocol import Trial
from workers.tasks.base import Place


def train(trial: Trial, settings: dict[str, Any], place: Place) -> None:
    """Tell the process's id in the first report, then do what the settings ask for."""
    model = trial.apply(network(), EXAMPLE)
    optimizer = torch.optim.SGD(trial.parameter_groups(model, lr=0.1))
    for epoch in trial.epochs(3 if settings.get("then") == "hang-later" else 2, model, optimizer):
        model(torch.randn(4, 4)).sum().backward()
        optimizer.step()
        trial.report(epoch, pid=os.getpid(), threads=torch.get_num_threads())
        match settings.get("then"):
            case "linger":
                while not (place.home / "linger").exists():
                    time.sleep(0.02)
            case "hang-later" if epoch == 1:
                signal.pause()
            case "hang":
                signal.pause()
            case "exit":
                os._exit(3)
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)


def nothing(*_: Any) -> None:
    """Leave the process before the handle can say anything."""
    os._exit(0)
