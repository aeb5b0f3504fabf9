"""From an exception to a failure class, by which the service decides whether to retry."""

import errno
import os
import traceback

import torch

from search_space.contract import FailureClass, Outcome
from workers.attempt.exit_outcomes import failed
from workers.attempt.masking import Mask
from workers.errors import BadArtifact, BadData, DataMissing, Diverged, NoDiskSpace

LONGEST_MESSAGE = 8000

_ENVIRONMENT = (
    BadArtifact,
    BadData,
    DataMissing,
    ImportError,
    NoDiskSpace,
)
# Part of torch's message when the memory of the machine, not of a GPU, is exhausted.
_NO_MEMORY = "can't allocate memory"
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
# Parts of torch's messages about a driver or a device, which are no errors of the user's code.
_DRIVER = ("CUDA driver", "CUDA unknown error", "No CUDA GPUs are available", "ECC error", "NCCL")


def classify(error: BaseException) -> FailureClass:
    """Return the class of an exception that ended a training."""
    match error:
        case torch.OutOfMemoryError() | MemoryError():
            return FailureClass.OUT_OF_MEMORY
        case Diverged():
            return FailureClass.DIVERGED
        case RuntimeError() if _NO_MEMORY in str(error):
            return FailureClass.OUT_OF_MEMORY
        case OSError() if error.errno in _DISK:
            return FailureClass.ENVIRONMENT
        case RuntimeError() if any(part in str(error) for part in _DRIVER):
            return FailureClass.ENVIRONMENT
    return FailureClass.ENVIRONMENT if isinstance(error, _ENVIRONMENT) else FailureClass.USER_ERROR


def failed_with(error: BaseException) -> Outcome:
    """Return the outcome of a training that ended with `error`."""
    return failed(classify(error), describe(error))


def describe(error: BaseException) -> str:
    """Return the exception's message, and below it the end of its traceback, without secrets."""
    sentence = "".join(traceback.format_exception_only(error)).strip()
    trace = "".join(traceback.format_exception(error)).strip()
    return Mask(os.environ).text(f"{sentence[:LONGEST_MESSAGE]}\n\n{trace[-LONGEST_MESSAGE:]}")
