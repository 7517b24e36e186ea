"""From a plan to a network: random weights or a checkpoint's, what is frozen and what is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from balrsam_pipeline.errors import CheckpointError
from balrsam_pipeline.extensions import load_extension
from balrsam_pipeline.network.checkpoints import read_sam
from balrsam_pipeline.network.encoder import ImageEncoder
from balrsam_pipeline.network.load_sam import NEW_PARTS, load_sam
from balrsam_pipeline.network.model import BalrSam
from balrsam_pipeline.network.volume import VolumeBalrSam
from balrsam_pipeline.plan import NetworkPlan

TRAINED_PARTS = (*NEW_PARTS, "mask_decoder.")
# With TinyViT half of what would train are two MLPs that see a token a class; frozen, an adapter file of 2 to
# 4 classes has 6.5 to 7.6 MB instead of 15 to 16.
TOKEN_MLPS = "mask_decoder.transformer.layers."
USED = ("forward", "forward_training", "train_coarser", "merge_for_inference")  # of a network, by others
POSITION_STD = 0.02  # of the position table from scratch, as in ViTDet


Model = BalrSam | VolumeBalrSam


def random_model(network: NetworkPlan) -> Model:
    """The network of a plan with random weights, all of which would train."""
    return extended(BalrSam(network) if network.volume is None else VolumeBalrSam(network), network)


def extended(model: Model, network: NetworkPlan) -> Model:
    """The network after the function of a user's own package that the plan names, where it names one.

    The function is called with the network and its plan and returns the network: that one with parts of it
    replaced or added, or another that is used alike.

    Raises:
        CheckpointError: the function cannot be imported, or returns no network.
    """
    if not network.extension:
        return model
    changed = load_extension(network.extension, "network part", CheckpointError)(model, network)
    lacking = [name for name in USED if not callable(getattr(changed, name, None))]
    if not isinstance(changed, nn.Module) or lacking:
        raise CheckpointError(
            f"network part '{network.extension}'",
            found=f"{type(changed).__name__}, without {', '.join(lacking) or 'parameters'}",
            expected="the network that it was given, changed",
            fix="return the model at the end of the function",
        )
    return changed  # type: ignore[return-value]  # used alike, as was just seen


def build(
    network: NetworkPlan, checkpoint: Path | None = None, second_moments: Sequence[Tensor] | None = None
) -> Model:
    """The network of a plan, on the CPU, in fp32, in training mode.

    Args:
        network: what to build.
        checkpoint: a SAM-v1 checkpoint of the plan's backbone; needed when a checkpoint is adapted, not taken
            from scratch.
        second_moments: for each of the decoder's token-to-image attentions the (256, 256) second moment of
            its inputs, as `measure_second_moments` returns them; weights the truncation of `low_rank`
            attention.

    Raises:
        CheckpointError: the checkpoint is missing, superfluous, damaged, or does not fit.

    Example:
        >>> import torch
        >>> from dataclasses import replace
        >>> from balrsam_pipeline.network import preset
        >>> scratch = replace(preset("vit_b", classes=2), from_scratch=True, input_size=(32, 32))
        >>> build(scratch)(torch.zeros(1, 3, 40, 24)).shape
        torch.Size([1, 2, 40, 24])
    """
    if network.from_scratch:
        if checkpoint is not None:
            raise CheckpointError(
                checkpoint,
                found="a checkpoint for a network that is trained from scratch",
                expected="no checkpoint",
                fix="plan with from_scratch false to adapt it",
            )
        model = random_model(network)
        if isinstance(model, BalrSam) and isinstance(model.image_encoder, ImageEncoder):
            nn.init.trunc_normal_(model.image_encoder.pos_embed, std=POSITION_STD)
        return model
    if checkpoint is None:
        raise CheckpointError(
            f"backbone {network.backbone}",
            found="no checkpoint",
            expected=f"a SAM checkpoint of {network.backbone} to adapt",
            fix=f"fetch it: balrsam download_checkpoint {network.base}; or name a file of your own where "
            "that is trained: balrsam train DATASET --checkpoint FILE",
        )
    model = BalrSam(network)
    load_sam(model, read_sam(checkpoint, network.backbone, network.embedding_stride), second_moments)
    freeze(model)
    return extended(model, network)


def laid_out(model: Model, network: NetworkPlan, device: torch.device) -> Model:
    """A model on the device that trains it, channels last in memory: NHWC kernels train depthwise layers far
    faster."""
    layout = torch.channels_last if network.volume is None else torch.channels_last_3d
    return model.to(device).to(memory_format=layout)  # type: ignore[call-overload,no-any-return]


def freeze(model: Model) -> None:
    """Leave gradients to adapters, CDEN, channel projection and mask decoder; SAM's encoder and position code
    are frozen."""
    for name, parameter in model.named_parameters():
        trained = any(part in name for part in TRAINED_PARTS) and not name.endswith("position_frequencies")
        fixed = model.network.projection == "fixed" and name.startswith("channel_projection.")
        fixed |= model.network.backbone == "vit_t" and name.startswith(TOKEN_MLPS) and ".mlp." in name
        parameter.requires_grad_(trained and not fixed)
