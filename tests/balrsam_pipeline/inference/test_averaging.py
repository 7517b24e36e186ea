"""Batches that memory does not hold."""

from __future__ import annotations

import pytest
import torch

from balrsam_pipeline.inference.averaging import BatchLimit, mean_over_networks
from balrsam_pipeline.inference.sliding_window import Mirror, SliceSettings, slice_logits
from balrsam_pipeline.inference.volume_window import VolumeLogits, VolumeSettings

NOT_ENOUGH = (
    torch.cuda.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
)


@pytest.mark.parametrize("problem", NOT_ENOUGH, ids=str)
@torch.inference_mode()
def test_a_batch_that_memory_does_not_hold_is_halved_and_later_ones_are_no_larger(
    problem: RuntimeError,
) -> None:
    sizes = []

    def network(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise problem
        return batch * 2

    volume = torch.rand(24, 1, 4, 4)
    settings = SliceSettings(
        patch_size=(4, 4), tile_step=0.5, batch_size=8, context_slices=0, mirrors=(Mirror(),)
    )
    for span in ((0, 16), (16, 24)):
        logits = slice_logits([network], volume, span, settings)
        torch.testing.assert_close(logits, volume[slice(*span)] * 2)
    assert sizes == [8, 4] + [2] * 12


def test_what_is_no_want_of_memory_and_a_patch_that_memory_does_not_hold_are_errors() -> None:
    for problem, patches in ((RuntimeError("sizes do not match"), 4), (NOT_ENOUGH[1], 1)):

        def network(_: torch.Tensor, problem: RuntimeError = problem) -> torch.Tensor:
            raise problem

        with pytest.raises(RuntimeError, match=str(problem)[:10]):
            mean_over_networks([network], torch.rand(patches, 1, 4, 4), BatchLimit())


def test_apples_gpu_is_told_to_give_back_what_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back = []
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: given_back.append("mps"))

    def network(batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > 1:
            raise NOT_ENOUGH[1]
        return batch

    mean_over_networks([network], torch.rand(2, 1, 4, 4), BatchLimit())
    assert given_back == ["mps"]


def test_batches_of_volumes_are_halved_too() -> None:
    sizes = []

    def network(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        if len(batch) > 1:
            raise NOT_ENOUGH[2]
        return batch

    image, settings = (
        torch.rand(1, 4, 4, 9),
        VolumeSettings(patch_zyx=(4, 4, 4), tile_step=0.5, batch_size=4, flips=((),)),
    )
    torch.testing.assert_close(VolumeLogits([network], image, 1, settings).take(0, 4), image)
    assert sizes == [4, 2, 1, 1, 1, 1]
