"""Where weights start and which of them move: the files that a request names for it, transfer from a trained
checkpoint, and what is frozen besides SAM's encoder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.errors import CheckpointError, TrainingError
from balrsam_pipeline.plan import NetworkPlan
from trainers.checkpoints import read_checkpoint

LOG = logging.getLogger(__name__)
# first axis: one row per class, or per MLP that classes share in turn; of the mask decoder, of the network
# over volumes, and of the pyramid, which reads masks at several strides
PER_CLASS = (
    "mask_decoder.class_tokens",
    "mask_decoder.hypernetworks.",
    "tokens.class_tokens",
    "hypernetworks.",
    "pyramid.heads.",
)
# of the network over volumes: SAM's two-way transformer, which carries its tokens to the class tokens
DECODER = ("mask_decoder.", "tokens.transformer.", "tokens.decoder_positions")
POSITIONS = "pos_embed"  # (1, y, x, width): stretched to another grid of tokens


def require_starting_points(
    network: NetworkPlan, base: Path | None, init_from: Path | None, planning: str
) -> None:
    """Refuse files of weights that would go unused, or that are not there.

    Args:
        base: the SAM checkpoint to adapt, where one was named.
        init_from: the trained checkpoint to start from, where one was named.
        planning: the command that plans the dataset.

    Raises:
        TrainingError: a SAM checkpoint for a network that adapts none, or no file to start from.
    """
    if base is not None and network.from_scratch:
        raise TrainingError(
            f"--checkpoint {base}",
            found=f"a plan that trains its network ({network.backbone}) from scratch",
            expected="a plan that adapts one",
            fix=f"plan so: {planning} --backbone vit_b; or start from a model that was trained here: "
            "--init-from FILE; or leave --checkpoint out",
        )
    if init_from is not None and not init_from.is_file():
        raise TrainingError(
            f"--init-from {init_from}",
            found="no such file",
            expected="a checkpoint of a trained fold, such as its checkpoint_final.safetensors",
            fix="correct the path, or leave it out: a fold that was begun goes on from its own checkpoint",
        )


def freeze_decoder(model: nn.Module) -> None:
    """Freeze the mask decoder, except what belongs to single classes: those are new with every dataset.

    Raises:
        TrainingError: the network has none.
    """
    found = False
    for name, parameter in model.named_parameters():
        if name.startswith(DECODER) and not name.startswith(PER_CLASS) and parameter.requires_grad:
            parameter.requires_grad_(False)
            found = True
    if not found:
        raise TrainingError(
            "--freeze decoder",
            found="a network without a mask decoder (a pyramid reads masks off its own maps)",
            expected="one with a decoder that trains",
            fix="leave --freeze out (a run that was begun with it goes on with --accept-changed-settings)",
        )


def start_from(path: Path, weights: Mapping[str, Tensor], classes: Sequence[str]) -> None:
    """Copy the averaged weights of a trained checkpoint into `weights`; classes are matched by name.

    Rows of classes that the checkpoint does not know, and tensors that do not fit (other channels, other
    ranks), stay as they are and are named in the log.

    Raises:
        CheckpointError: the file is no training checkpoint, or nothing in it fits.
    """
    checkpoint = read_checkpoint(path)
    trained, known = checkpoint.part("ema"), [str(name) for name in checkpoint.metadata.get("classes", [])]
    rows = [(new, known.index(name)) for new, name in enumerate(classes) if name in known]
    left: list[str] = []
    with torch.no_grad():
        for name, tensor in weights.items():
            source = trained.get(name)
            if source is not None and name.startswith(PER_CLASS) and source.shape[1:] == tensor.shape[1:]:
                for new, old in reversed(rows):  # of classes that share an MLP the first decides
                    tensor[new % len(tensor)].copy_(source[old % len(source)])
            elif source is not None and name.endswith(POSITIONS) and source.shape[-1] == tensor.shape[-1]:
                tensor.copy_(_stretched(source, tensor.shape[1:3]))
            elif source is not None and source.shape == tensor.shape:
                tensor.copy_(source)
            else:
                left.append(name)
    if len(left) == len(weights):
        raise CheckpointError(
            path,
            found="no tensor that fits this plan's network",
            expected="a checkpoint of the same backbone and sizes",
            fix="choose a checkpoint trained with a like plan (balrsam describe FOLDER shows it), or leave "
            "out --init-from",
        )
    unknown = [name for name in classes if name not in known]
    LOG.info(
        "started from %s; new classes: %s; left as they were: %s",
        path,
        ", ".join(unknown) or "none",
        ", ".join(left) or "none",
    )


def _stretched(positions_1yxc: Tensor, size_yx: Sequence[int]) -> Tensor:
    if tuple(positions_1yxc.shape[1:3]) == tuple(size_yx):
        return positions_1yxc
    stretched = functional.interpolate(
        positions_1yxc.permute(0, 3, 1, 2), size=tuple(size_yx), mode="bicubic", align_corners=False
    )
    return stretched.permute(0, 2, 3, 1)
