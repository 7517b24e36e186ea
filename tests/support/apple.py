"""A GPU of Apple's that is played, since torch cannot make tensors of one here: what is sent there stays on
the CPU, and how it was sent is noted."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

MPS = torch.device("mps")


class PlayedApple(TorchFunctionMode):
    """Within the context, `tensor.to(MPS)` gives the tensor back; `ahead` has whether each was sent without
    waiting for the copy."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead: list[bool] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if getattr(func, "__name__", "") == "to" and MPS in (*args, *kwargs.values()):
            self.ahead.append(bool(kwargs.get("non_blocking")))
            return args[0].clone()
        return func(*args, **kwargs)
