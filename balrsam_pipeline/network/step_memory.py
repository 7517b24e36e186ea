"""The memory of a training step: the planned network runs forward and backward on tensors that have shapes
but no data, and every byte alive is counted.

Two kinds of step are counted: float32 on a CPU, which can be compared with a real one's peak, and mixed
precision on a CUDA card, on a machine that has none. On a card the bytes alive after each operation grow with
the batch as a straight line, and so two runs, of two and of three patches, tell the peak of any batch. (With
one patch some operations are left out.)
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from balrsam_pipeline.network.builder import Model, freeze, random_model
from balrsam_pipeline.network.cuda_policy import CudaPolicy, cuda_policy
from balrsam_pipeline.network.live_bytes import LiveBytes
from balrsam_pipeline.network.loss_sums import TargetScheme, boundary_sums, class_sums
from balrsam_pipeline.plan import NetworkPlan

Policy = Literal["cpu float32", "cuda half"]

STATE_BYTES = 12  # a trained parameter: two moments of AdamW and the moving average, float32 each
BLOCK_BYTES = 512  # CUDA's caching allocator gives whole blocks of this size
# beside tensors: the CUDA context (about 500 MB on an A100 or H100), and workspaces of cuBLAS and cuDNN
WORKSPACE_BYTES = 2**30
# share of the tensors' bytes that lies idle between the allocator's blocks; an assumption: steps of always
# the same shapes fragment little
FRAGMENTATION = 0.05
AUGMENTED_IMAGES = 5  # copies of the next batch's images that a GPU holds while it changes intensities


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMemory:
    """Bytes by what they hold.

    Attributes:
        parameters: weights and buffers of the network.
        state: moments of the optimiser and the moving average of the weights.
        step: what one batch takes at the peak of forward, loss and backward, gradients included; on a GPU
            with the next batch and what changes its intensities.
        overhead: context, workspaces and fragmentation; 0 on a CPU.
    """

    parameters: int
    state: int
    step: int
    overhead: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.state + self.step + self.overhead


def step_memory(
    network: NetworkPlan, patch: tuple[int, ...], batch: int, policy: Policy = "cuda half"
) -> StepMemory:
    """Count a training step of `batch` patches, (y, x) or (z, y, x).

    Example:
        >>> from balrsam_pipeline.network import preset
        >>> memory = [step_memory(preset("vit_mini"), (64, 64), batch).step for batch in (4, 8)]
        >>> memory[0] < memory[1] < 2 * memory[0]
        True
    """
    if policy == "cpu float32":
        held, course = _count(network, patch, batch, policy)
        return StepMemory(parameters=held.weights, state=held.state, step=int(course.max()), overhead=0)
    held, two, three = _two_and_three(network, patch)
    step = int((two + (batch - 2) * (three - two)).max())
    step += AUGMENTED_IMAGES * 4 * batch * network.input_channels * math.prod(patch)
    idle = int(FRAGMENTATION * (held.weights + held.state + step))
    return StepMemory(parameters=held.weights, state=held.state, step=step, overhead=WORKSPACE_BYTES + idle)


def run_step(model: Model, image_bcyx: Tensor, label_byx: Tensor, casts: CudaPolicy | None = None) -> None:
    """Forward, loss and backward of one batch, real or fake, as training does them."""
    output = model.forward_training(image_bcyx)
    if casts is not None:
        casts.forward_ends()
    scheme = TargetScheme(classes=model.network.classes)
    sums = [class_sums(output.logits, label_byx, scheme)]
    for coarser in output.coarser_logits:
        label = label_byx.new_zeros((len(coarser), *coarser.shape[2:]))
        sums.append(class_sums(coarser, label, scheme))
    if output.boundary_logits is not None:
        sums.append(boundary_sums(output.boundary_logits, label_byx, scheme))
    torch.cat(sums).sum().backward()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class _Held:
    """Bytes that stay from step to step."""

    weights: int
    state: int


@lru_cache(maxsize=64)
def _two_and_three(
    network: NetworkPlan, patch: tuple[int, ...]
) -> tuple[_Held, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    held, two = _count(network, patch, 2, "cuda half")
    _, three = _count(network, patch, 3, "cuda half")
    if len(two) != len(three):  # the operations depend on the batch after all: then by the two peaks alone
        two, three = two.max(keepdims=True), three.max(keepdims=True)
    return held, two, three


def _count(
    network: NetworkPlan, patch: tuple[int, ...], batch: int, policy: Policy
) -> tuple[_Held, npt.NDArray[np.int64]]:
    """What is held, and the bytes alive after each operation of a step.

    On the meta device counting is quick; fake CPU tensors take the attention kernel that real ones take.
    """
    cuda = policy == "cuda half"
    with torch.device("meta") if cuda else FakeTensorMode():
        model = random_model(network)
        if not network.from_scratch:
            freeze(model)
        for parameter in model.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        tensors = [*model.parameters(), *model.buffers()]
        with LiveBytes(tensors, BLOCK_BYTES if cuda else 1) as live:
            image = torch.empty(batch, network.input_channels, *patch)
            label = torch.empty(batch, *patch, dtype=torch.int16)
            next_batch = (torch.empty_like(image), torch.empty_like(label)) if cuda else ()
            with cuda_policy() if cuda else nullcontext() as casts:
                run_step(model, image, label, casts)
        del next_batch
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return _Held(weights, STATE_BYTES * trained), np.array(live.course, np.int64)
