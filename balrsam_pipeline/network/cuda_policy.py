"""CUDA's mixed precision and CUDA's attention on a machine without CUDA, for counting memory.

Within the context tensors say that they are on a GPU, products are computed in bfloat16 and norms, softmax
and losses in float32 as PyTorch's autocast does on CUDA (its lists:
https://docs.pytorch.org/docs/stable/amp.html#autocast-op-reference), casts of trained weights are kept until
the forward pass ends, and attention takes what the memory-efficient kernel takes, the one that accepts values
shorter than queries. Autocast of the CPU differs: it norms in bfloat16 and enlarges in float32.
"""

from __future__ import annotations

import unittest.mock
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only
from torch.utils.checkpoint import checkpoint

from balrsam_pipeline.network import layers

HALF = torch.bfloat16  # float16 takes the same
LOWER = frozenset(
    {"linear", "matmul", "__matmul__", "__rmatmul__", "bmm", "baddbmm", "addmm", "einsum", "conv2d", "conv3d"}
    | {"conv_transpose2d", "conv_transpose3d", "scaled_dot_product_attention"}
)
UPPER = frozenset({"layer_norm", "group_norm", "softmax", "log_softmax", "exp", "pow", "norm"})
LSE_ROWS = 32  # the kernel's sums of a query row come in multiples of so many


@contextmanager
def cuda_policy() -> Iterator[CudaPolicy]:
    """Count as on a card; `forward_ends()` of what is yielded drops the kept casts."""
    with warnings.catch_warnings():
        # checkpointing asks for the autocast of the device that tensors say they are on
        warnings.filterwarnings("ignore", message=".*CUDA is not available.*")
        policy = CudaPolicy()

        def again(function: Any, *inputs: Any, **options: Any) -> Any:
            """Backward leaves modes, so what it computes again enters them anew."""

            def under(*own: Any) -> Any:
                with torch.device("meta"), policy:
                    return function(*own)

            # what is compared otherwise is the device too, which is "meta" again in backward
            return checkpoint(under, *inputs, **options, determinism_check="none")

        with unittest.mock.patch.object(layers, "checkpoint", again), policy:
            yield policy


class CudaPolicy(TorchFunctionMode):
    """Casts arguments of the listed functions; everything else runs as it is."""

    def __init__(self) -> None:
        super().__init__()
        self._casts: dict[int, tuple[Tensor, Tensor]] = {}

    def forward_ends(self) -> None:
        """Autocast's context is left: what it kept of weights is freed unless backward needs it."""
        self._casts.clear()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function under the policy."""
        if func == torch.Tensor.device.__get__:
            return torch.device("cuda")
        kwargs = dict(kwargs or {})
        if "device" in kwargs:
            kwargs["device"] = None
        name = getattr(func, "__name__", "")
        if name in LOWER:
            args, kwargs = tree_map_only(Tensor, self._lower, (args, kwargs))
        elif name in UPPER:
            args, kwargs = tree_map_only(Tensor, _upper, (args, kwargs))
        if name == "scaled_dot_product_attention":
            return _Attention.apply(*args)  # type: ignore[no-untyped-call]
        return func(*args, **kwargs)

    def _lower(self, tensor: Tensor) -> Tensor:
        if tensor.dtype != torch.float32:
            return tensor
        if not (tensor.is_leaf and tensor.requires_grad):
            return tensor.to(HALF)
        if id(tensor) not in self._casts:
            self._casts[id(tensor)] = (tensor, tensor.to(HALF))
        return self._casts[id(tensor)][1]


def _upper(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


class _Attention(torch.autograd.Function):
    """Tensors that the memory-efficient kernel keeps and takes, with nothing computed.

    Source: `_efficient_attention_backward` of PyTorch: gradients of half precision are added up in float32.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        b, n, t, _ = q.shape
        out = v.new_empty(b, t, n, v.shape[-1]).transpose(1, 2)
        rows = -(-t // LSE_ROWS) * LSE_ROWS
        ctx.save_for_backward(q, k, v, out, q.new_empty(b, n, rows, dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        q, k, v, out, _ = ctx.saved_tensors
        workspace = [torch.empty_like(tensor, dtype=torch.float32) for tensor in (q, k, v)]
        delta = (gradients[0] * out).sum(-1, dtype=torch.float32)
        grads = tuple(torch.empty_like(tensor) for tensor in (q, k, v))
        del workspace, delta
        return grads
