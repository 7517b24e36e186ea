"""Training checkpoints: the same logits on the right base, refusal on another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from balrsam_pipeline.errors import CheckpointError, PlanError
from balrsam_pipeline.network import (
    BalrSam,
    build,
    checkpoint_sha256,
    load_trainable_state,
    load_trained,
    trainable_state,
)
from balrsam_pipeline.network.checkpoints import tensors_crc32
from balrsam_pipeline.plan import Backbone, NetworkPlan

MakePlan = Callable[..., NetworkPlan]
MakeCheckpoint = Callable[[Backbone], tuple[nn.Module, Path]]


def trained(network: NetworkPlan, base: Path | None) -> BalrSam:
    """A network with all trained tensors moved, as after training."""
    model = build(network, base).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in trainable_state(model).values():
            tensor.add_(0.05 * torch.randn(tensor.shape, generator=generator))
    return model


def test_another_base_is_refused(
    make_plan: MakePlan, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    base, network = make_checkpoint("vit_mini")[1], make_plan()
    path = tmp_path / "final.safetensors"
    tensors = {f"ema/{name}": tensor for name, tensor in trainable_state(build(network, base)).items()}
    save_file(tensors, path, {"base_sha256": "0" * 64})
    with pytest.raises(CheckpointError, match=f"(?s)final.*{'0' * 64}.*--base"):
        load_trained(path, network, base)


def test_missing_unexpected_and_misshapen_trained_tensors_are_named(make_plan: MakePlan) -> None:
    model = build(make_plan(from_scratch=True))
    tensors = dict(trainable_state(model))
    first, second = list(tensors)[:2]
    tensors["extra"] = tensors.pop(first)
    tensors[second] = tensors[second][:1]
    with pytest.raises(CheckpointError) as caught:
        load_trainable_state(model, tensors)
    for word in (f"missing: {first}", "unexpected: extra", f"misshapen: {second}"):
        assert word in str(caught.value)


@pytest.mark.parametrize("from_scratch", [True, False])
def test_a_training_checkpoint_predicts_with_its_ema_weights(
    from_scratch: bool, make_plan: MakePlan, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    base = None if from_scratch else make_checkpoint("vit_mini")[1]
    network = make_plan(from_scratch=from_scratch, mask_stride=2)
    model, path = trained(network, base), tmp_path / "checkpoint_final.safetensors"
    tensors = {f"ema/{name}": tensor.clone() for name, tensor in trainable_state(model).items()}
    tensors["weights/other"] = torch.zeros(2)
    save_file(tensors, path, {"base_sha256": checkpoint_sha256(base) if base else ""})
    loaded, image = load_trained(path, network, base), torch.randn(1, 3, 60, 80)
    assert not loaded.training
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), model(image), atol=1e-4, rtol=1e-4)


def test_a_damaged_training_checkpoint_is_named(make_plan: MakePlan, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint_final.safetensors"
    path.write_bytes(b"\x10\x00")
    with pytest.raises(CheckpointError, match="checkpoint_final"):
        load_trained(path, make_plan(from_scratch=True))
    with pytest.raises(CheckpointError, match="absent"):
        load_trained(tmp_path / "absent.safetensors", make_plan(from_scratch=True))


def test_a_checkpoint_damaged_on_the_disk_is_refused_by_its_checksum(
    make_plan: MakePlan, tmp_path: Path
) -> None:
    network = make_plan(from_scratch=True)
    model, path = trained(network, None), tmp_path / "weights.safetensors"
    tensors = {f"ema/{name}": tensor.clone() for name, tensor in trainable_state(model).items()}
    save_file(tensors, path, {"base_sha256": "", "tensors_crc32": str(tensors_crc32(tensors))})
    content = bytearray(path.read_bytes())
    load_trained(path, network)
    content[-4096:] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"(?s)weights\.safetensors.*checksum"):
        load_trained(path, network)


@pytest.mark.parametrize("change", [{"input_size": (4096, 4096)}, {"classes": 60000}])
def test_a_plan_of_a_giant_network_is_compared_with_the_weights_before_memory_is_taken(
    change: dict[str, Any], make_plan: MakePlan, tmp_path: Path
) -> None:
    network, path = make_plan(from_scratch=True), tmp_path / "weights.safetensors"
    tensors = trainable_state(trained(network, None))
    save_file({f"ema/{name}": tensor.clone() for name, tensor in tensors.items()}, path, {"base_sha256": ""})
    with pytest.raises(CheckpointError, match=r"(?s)weights\.safetensors.*misshapen"):
        load_trained(path, replace(network, **change))


def test_absurd_sizes_in_a_plan_are_refused_by_name(make_plan: MakePlan) -> None:
    for name, value in (("input_size", (16384, 16384)), ("classes", 10**9), ("lora_rank", 10**9)):
        with pytest.raises(PlanError, match=name):
            replace(make_plan(), **{name: value})
