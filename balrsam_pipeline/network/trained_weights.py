"""What training changes, apart from what it leaves as it was: tens of megabytes beside a frozen SAM of
gigabytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from balrsam_pipeline.errors import CheckpointError
from balrsam_pipeline.network.builder import Model, build, random_model
from balrsam_pipeline.network.checkpoints import (
    checkpoint_sha256,
    read_tensors,
    refuse_mismatch,
    tensors_crc32,
)
from balrsam_pipeline.network.official_checkpoints import cached_files, find_checkpoint
from balrsam_pipeline.plan import NetworkPlan

WEIGHTS_FOR_INFERENCE = "ema/"  # prefix in a training checkpoint
BASE = "base_sha256"
BASE_PATH = "base_path"  # where the base lay when it was adapted
TENSORS_CHECKSUM = "tensors_crc32"  # in the metadata of what we write


def trainable_state(model: Model) -> dict[str, Tensor]:
    """The trained tensors by name (the parameters themselves, detached, not copies)."""
    return {
        name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad
    }


def load_trainable_state(
    model: Model, tensors: Mapping[str, Tensor], where: object = "trained weights"
) -> None:
    """Copy trained tensors into a network built from the same plan.

    Raises:
        CheckpointError: a tensor is missing, unexpected or misshapen; the message names it.
    """
    own = trainable_state(model)
    refuse_mismatch(
        where,
        tensors,
        {name: tuple(tensor.shape) for name, tensor in own.items()},
        "the trained tensors of this plan's network",
        "use the plan that the file was trained with",
    )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def load_trained(checkpoint: Path, network: NetworkPlan, base: Path | None = None) -> Model:
    """The network of a training checkpoint, ready to predict: EMA weights, LoRA merged, eval mode.

    Args:
        base: the SAM checkpoint it adapts; default the one `find_base` finds.

    Raises:
        CheckpointError: the checkpoint or its base is missing, damaged, or they do not belong together.
    """
    stored = read_tensors(checkpoint)
    metadata = read_metadata(checkpoint)
    _require_sound(checkpoint, stored, metadata)
    tensors = {
        name.removeprefix(WEIGHTS_FOR_INFERENCE): tensor
        for name, tensor in stored.items()
        if name.startswith(WEIGHTS_FOR_INFERENCE)
    }
    if not network.from_scratch:
        base = base or find_base(checkpoint, metadata, network)
        _check_base(checkpoint, metadata, checkpoint_sha256(base))
    _require_fit(checkpoint, network, tensors)
    model = build(network, None if network.from_scratch else base)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(
            parameter.requires_grad or name in tensors
        )  # SAM's encoder too, where it was trained along
    load_trainable_state(model, tensors, checkpoint)
    model.merge_for_inference()
    return model.train(False)


def find_base(checkpoint: Path, metadata: Mapping[str, str], network: NetworkPlan) -> Path:
    """The SAM checkpoint that a trained one adapts, known by its hash wherever it lies now.

    Looked for where it was in training, then under its published name, then in all of the cache folder.

    Args:
        checkpoint: the trained one, for messages.
        metadata: of the trained one.

    Raises:
        CheckpointError: none of those files is the one.
    """
    wanted, remembered = metadata.get(BASE, ""), metadata.get(BASE_PATH, "")
    places = [Path(remembered)] if remembered else []
    published = find_checkpoint(network.base)
    places += [published] if published is not None else []
    for place in [*places, *cached_files()]:
        if place.is_file() and checkpoint_sha256(place) == wanted:
            return place
    raise CheckpointError(
        checkpoint,
        found="the base it adapts is not on this machine (looked at: "
        f"{', '.join(map(str, places)) or 'the cache'})",
        expected=f"the SAM checkpoint of {network.backbone} with SHA-256 {wanted}",
        fix=f"name it: --base FILE; or fetch it: balrsam download_checkpoint {network.base}",
    )


def _require_fit(path: Path, network: NetworkPlan, tensors: Mapping[str, Tensor]) -> None:
    """Compare the shapes that the plan asks for with those of the file, before memory is taken for any.

    Raises:
        CheckpointError: they do not fit; the message names the tensors.
    """
    with torch.device("meta"):
        shapes = {
            name: tuple(parameter.shape) for name, parameter in random_model(network).named_parameters()
        }
    refuse_mismatch(
        path,
        tensors,
        {name: shape for name, shape in shapes.items() if name in tensors},  # frozen ones may be elsewhere
        f"the weights of the plan's network (input {network.input_shape}, {network.classes} classes)",
        "use the plan.json that came with the weights",
    )


def _require_sound(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Compare the tensors with the checksum that was written with them; files of elsewhere may have none."""
    expected = metadata.get(TENSORS_CHECKSUM)
    found = str(tensors_crc32(tensors)) if expected is not None else None
    if found != expected:
        raise CheckpointError(
            path,
            found=f"tensors of checksum {found}: the file is damaged",
            expected=f"checksum {expected}, as it was written",
            fix="copy the file again from where it is sound, or train that fold again",
        )


def read_metadata(path: Path) -> dict[str, str]:
    """The header's strings of a safetensors file.

    Raises:
        CheckpointError: no such file, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as problem:
        raise CheckpointError(
            path,
            found=f"cannot be read: {problem}",
            expected="a complete safetensors file",
            fix="train again, or copy it again",
        ) from None


def _check_base(path: Path, metadata: Mapping[str, str], base_sha256: str) -> None:
    trained_on = metadata.get(BASE, "")
    if trained_on != base_sha256:
        raise CheckpointError(
            path,
            found=f"weights trained on the base with sha256 {trained_on or '(none: from scratch)'}",
            expected=f"that base; given is {base_sha256 or '(none)'}",
            fix="give the SAM file it was trained on: --base FILE",
        )
