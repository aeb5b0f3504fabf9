"""Networks and optimizers without the wrappers of libraries."""

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

_WRAPPERS = (AveragedModel, DataParallel, DistributedDataParallel)


def network_of(model: nn.Module) -> nn.Module:
    """Return the network itself, whose names in the state dict are those of the user's code.

    Compiled and distributed networks are unwrapped, and torch's weight averages.
    """
    while True:
        beneath = getattr(model, "_orig_mod", None)
        if beneath is None and isinstance(model, _WRAPPERS):
            beneath = model.module
        if not isinstance(beneath, nn.Module):
            return model
        model = beneath


def optimizer_of(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer itself; wrappers such as accelerate's hold it as `optimizer`."""
    while isinstance(beneath := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = beneath
    return optimizer
