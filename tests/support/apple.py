"""A GPU of Apple's that is played, since torch cannot make tensors of one here: what is sent there stays on
the CPU, how it was sent is noted, and there is no float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

MPS = torch.device("mps")


class OnApple(Tensor):
    """A tensor of the CPU that says it is on that GPU, as does all that is computed with it:
    `tensor.as_subclass(OnApple)`."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return MPS


class PlayedApple(TorchFunctionMode):
    """Within the context, `tensor.to(MPS)` gives the tensor back; `ahead` has whether each was sent without
    waiting for the copy. Tensors are taken to be there until `cpu` brings them back."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead: list[bool] = []
        self.back: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "to" and MPS in (*args, *kwargs.values()):
            self.ahead.append(bool(kwargs.get("non_blocking")))
            return args[0].clone()
        if name == "double" and not any(args[0] is tensor for tensor in self.back):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        out = func(*args, **kwargs)
        if name == "cpu":
            self.back.append(out)
        return out
