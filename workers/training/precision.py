"""The number format in which a network is trained and evaluated."""

from contextlib import AbstractContextManager, nullcontext

import torch


class Precision:
    """Full precision on a CPU; on a GPU bfloat16, or float16 with scaled gradients."""

    def __init__(self, device: torch.device) -> None:
        self._device = device.type
        self.dtype = _dtype_of(device)
        self.scaler = torch.amp.GradScaler(self._device, enabled=self.dtype is torch.float16)

    def autocast(self) -> AbstractContextManager[object]:
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self._device, dtype=self.dtype)


def _dtype_of(device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        return torch.float32
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float16
