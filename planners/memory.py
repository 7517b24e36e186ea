"""The memory of a training step, counted: the planned network runs once on tensors that have shapes but no
data.

What autograd keeps for backward is seen by `saved_tensors_hooks`; parameters, gradients and optimiser state
follow from the network. Fake CPU tensors are used rather than the meta device, because they take the
attention kernel that a real device takes, and then the count is that of a real step to the byte
(benchmarks/memory_model).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from balrsam_pipeline.network import Model, random_model
from balrsam_pipeline.network.builder import freeze
from balrsam_pipeline.network.profiling import count_saved_bytes
from balrsam_pipeline.plan import NetworkPlan

STATE_BYTES = 16  # a trained parameter: gradient, two moments of AdamW and the moving average, float32 each
WORKSPACE_BYTES = (
    2**30
)  # an allowance for the context and libraries of CUDA, and for buffers of single operations


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMemory:
    """Bytes by what they hold; `saved` is what backward needs of one forward."""

    parameters: int
    state: int
    saved: int

    @property
    def total(self) -> int:
        """All of it, with the workspace."""
        return self.parameters + self.state + self.saved + WORKSPACE_BYTES


def training_bytes(network: NetworkPlan, patch: tuple[int, ...], batch: int) -> int:
    """Bytes that a mixed-precision training step of `batch` patches, (y, x) or (z, y, x), needs on a card."""
    return training_memory(network, patch, batch, half=True).total


@lru_cache(maxsize=64)
def training_memory(network: NetworkPlan, patch: tuple[int, ...], batch: int, half: bool) -> TrainingMemory:
    """Count the memory of one training step.

    Args:
        half: count under autocast to bfloat16, as on a card; otherwise in float32.
    """
    with FakeTensorMode():
        model = random_model(network)
        if not network.from_scratch:
            freeze(model)
        image = torch.zeros(batch, network.input_channels, *patch)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            saved = saved_bytes(model, image)
    parameters = list(model.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return TrainingMemory(
        parameters=sum(parameter.numel() * parameter.element_size() for parameter in parameters),
        state=STATE_BYTES * trained,
        saved=saved,
    )


def saved_bytes(model: Model, image: Tensor) -> int:
    """Bytes of distinct storages that one forward keeps for backward, the model's own weights not counted.

    Args:
        image: (b, c, y, x) or (b, c, z, y, x), real or fake.
    """
    with count_saved_bytes(model) as saved:
        output = model.forward_training(image)
    del output
    return saved.total
