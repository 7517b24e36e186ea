"""Where weights start and which of them move: the files that a request names for it, transfer from a trained
checkpoint, and what is frozen besides SAM's encoder."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.errors import CheckpointError, PlanError, TrainingError
from balrsam_pipeline.layout import ModelFolder
from balrsam_pipeline.network import token_sides
from balrsam_pipeline.plan import NetworkPlan, read_plan
from trainers.checkpoints import Checkpoint, read_checkpoint

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
# learnt for each token of a grid, and stretched to another: (1, y, x, width), or of volumes (…, z·y·x, width)
POSITIONS = ("pos_embed", "decoder_positions")
SLICE_POSITIONS = 4  # axes
Grid = tuple[int, ...]


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


def start_from(
    path: Path, weights: Mapping[str, Tensor], classes: Sequence[str], network: NetworkPlan | None = None
) -> None:
    """Copy the averaged weights of a trained checkpoint into `weights`; classes are matched by name.

    Rows of classes that the checkpoint does not know, and tensors that do not fit (other channels, other
    ranks), stay as they are and are named in the log.

    Args:
        network: what `weights` are of; that and the plan beside the checkpoint tell places of tokens of
            volumes.

    Raises:
        CheckpointError: the file is no training checkpoint, or nothing in it fits.
    """
    checkpoint = read_checkpoint(path)
    trained, known = checkpoint.part("ema"), [str(name) for name in checkpoint.metadata.get("classes", [])]
    grids = (_grid_of(path, checkpoint), _grid(network))
    rows = [(new, known.index(name)) for new, name in enumerate(classes) if name in known]
    left: list[str] = []
    with torch.no_grad():
        for name, tensor in weights.items():
            source = trained.get(name)
            if source is not None and name.endswith(POSITIONS):
                source = _placed(source, tensor, grids)
            if source is not None and name.startswith(PER_CLASS) and source.shape[1:] == tensor.shape[1:]:
                for new, old in reversed(rows):  # of classes that share an MLP the first decides
                    tensor[new % len(tensor)].copy_(source[old % len(source)])
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


def _grid(network: NetworkPlan | None) -> Grid | None:
    """Tokens along each axis of a network over volumes."""
    volume = network.volume if network is not None else None
    return token_sides(network, volume) if network is not None and volume is not None else None


def _grid_of(path: Path, checkpoint: Checkpoint) -> Grid | None:
    """The same of a trained checkpoint, by the plan beside it; None where that is not the one it was trained
    with."""
    try:
        plan = read_plan(ModelFolder(path.resolve().parent.parent).plan)
        configuration = plan.configuration(str(checkpoint.metadata.get("configuration")))
    except PlanError:
        return None
    same = plan.sha256() == checkpoint.metadata.get("plan_sha256")
    return _grid(configuration.network) if same else None


def _placed(source: Tensor, tensor: Tensor, grids: tuple[Grid | None, Grid | None]) -> Tensor:
    """Positions for the grid of another network; as they are where grids are not known."""
    before, after = grids
    if source.ndim == tensor.ndim == SLICE_POSITIONS:
        before, after = tuple(source.shape[1:3]), tuple(tensor.shape[1:3])
    tokens, width = source.numel() // source.shape[-1], source.shape[-1]
    if before is None or after is None or math.prod(before) != tokens or width != tensor.shape[-1]:
        return source
    if before == after:
        return source
    mode = "bicubic" if len(before) == 2 else "trilinear"
    grid_1c = source.reshape(1, *before, width).movedim(-1, 1)
    stretched_1c = functional.interpolate(grid_1c, size=after, mode=mode, align_corners=False)
    return stretched_1c.movedim(1, -1).reshape(tensor.shape)
