"""Where a program would wait for a GPU, counted without one: tensors on "meta" stand for those on it."""

from __future__ import annotations

from typing import Any, Self
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from balrsam_pipeline import hardware

# of these the result's size or value is only known when the device has come so far
VALUES = frozenset({"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "equal"})


class Waits(TorchDispatchMode):
    """Notes operations that make the CPU wait: copies to and from the device that are not `non_blocking`, and
    values that Python asks for. The same as `torch.cuda.set_sync_debug_mode` warns of. Within it tensors are
    sent to "meta" as to CUDA devices."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._as_cuda = patch.object(hardware, "COPIES_AHEAD", frozenset({"meta"}))

    def __enter__(self) -> Self:
        self._as_cuda.start()
        super().__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        super().__exit__(*problem)
        self._as_cuda.stop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        given = {tensor.device.type for tensor in tree_iter((args, kwargs)) if isinstance(tensor, Tensor)}
        out = func(*args, **kwargs)
        made = {tensor.device.type for tensor in tree_iter(out) if isinstance(tensor, Tensor)}
        crosses = name in ("_to_copy", "copy_") and {"cpu", "meta"} <= given | made
        if crosses and not (kwargs.get("non_blocking") or (name == "copy_" and args[2:] == (True,))):
            self.found.append(name)
        if name in VALUES and "meta" in given:
            self.found.append(name)
        return out


def on_card(tensor: Tensor) -> Tensor:
    """A tensor of the same shape and type on what stands for a card."""
    return torch.empty_like(tensor, device="meta")
