"""Mixed precision: bf16 where the card has it, else fp16 with loss scaling; fp32 on CPU."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Precision:
    """How the forward pass computes on a device, and the scaler that fp16 needs (it is inert otherwise)."""

    device: torch.device
    dtype: torch.dtype
    scaler: torch.amp.GradScaler

    def autocast(self) -> AbstractContextManager[None]:
        """The context of the forward pass."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)


def choose_precision(device: torch.device, amp: bool) -> Precision:
    """The fastest sound precision of `device`."""
    dtype = torch.float32
    if amp and device.type == "cuda":
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return Precision(device, dtype, torch.amp.GradScaler(device.type, enabled=dtype == torch.float16))
