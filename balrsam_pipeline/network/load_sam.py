"""Carrying SAM's weights into our network: names, position tables at the plan's size, class tokens, the
low-rank decoder.

SAM's tensors that nothing here uses: the prompt encoder (but for the position frequencies and the no-mask
embedding) and the decoder's IoU head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from balrsam_pipeline.network.attention import window_of
from balrsam_pipeline.network.backbone_shapes import BACKBONES, PATCH
from balrsam_pipeline.network.checkpoints import refuse_mismatch
from balrsam_pipeline.network.hosvd import shared_latent
from balrsam_pipeline.network.model import BalrSam
from balrsam_pipeline.network.stock_sam import MASK_TOKENS
from balrsam_pipeline.network.tiny_vit_weights import tiny_vit_weights
from balrsam_pipeline.plan import NetworkPlan

# what SAM has no weights for
NEW_PARTS = (".lora.", "_adapter.", "cden.", "channel_projection.", "pyramid.", "across.gate")
ATTENTIONS = (
    "layers.0.cross_attn_token_to_image",
    "layers.1.cross_attn_token_to_image",
    "final_attn_token_to_image",
)
LOW_RANK = (".latent.", ".key_core", ".value_core.")  # of low-rank attention, from SAM's keys and values
UPSCALING = {
    "weight1": "0.weight",
    "bias1": "0.bias",
    "norm.weight": "1.weight",
    "norm.bias": "1.bias",
    "weight2": "3.weight",
    "bias2": "3.bias",
}


def load_sam(
    model: BalrSam, sam: Mapping[str, Tensor], second_moments: Sequence[Tensor] | None = None
) -> None:
    """Give a network SAM's weights; adapters, CDEN and channel projection keep their own start.

    Args:
        sam: every tensor of a SAM checkpoint, as `checkpoints.read_sam` returns them.
        second_moments: (256, 256) for each token-to-image attention; weights the low-rank truncation.

    Raises:
        CheckpointError: a parameter of the network got no weights.
    """
    network = model.network
    encoder = (
        tiny_vit_weights(sam, network.embedding_stride)
        if network.backbone == "vit_t"
        else _encoder(network, sam)
    )
    decoder = _decoder(network, sam, second_moments) if network.decoder == "sam" else {}
    weights = {**encoder, **decoder}
    parameters = dict(model.named_parameters())
    taken = [name for name in parameters if not any(part in name for part in NEW_PARTS)]
    refuse_mismatch(
        "SAM's weights for this network",
        {name: weight for name, weight in weights.items() if name in taken or name not in parameters},
        {name: tuple(parameters[name].shape) for name in taken},
        "one tensor for each of its parameters",
        "report this: the network changed",
    )
    with torch.no_grad():
        for name in taken:
            parameters[name].copy_(weights[name])
        if network.decoder == "sam":
            model.mask_decoder.refresh_positions()


def load_low_rank_start(model: BalrSam, sam: Mapping[str, Tensor], second_moments: Sequence[Tensor]) -> None:
    """Give the decoder's low-rank attentions the start that second moments ask for; all else stays.

    Args:
        model: a network with `low_rank` decoder attention.
        sam: every tensor of the SAM checkpoint that it adapts.
        second_moments: (256, 256) for each token-to-image attention.
    """
    weights = _decoder(model.network, sam, second_moments)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in weights and any(part in name for part in LOW_RANK):
                parameter.copy_(weights[name])


def starts_as_sam(network: NetworkPlan, name: str) -> bool:
    """Whether a parameter of this name starts as SAM's own weights do."""
    return not network.from_scratch and not any(part in name for part in NEW_PARTS)


def resize_position_embedding(embedding_1yxc: Tensor, grid: tuple[int, int]) -> Tensor:
    """SAM's absolute position table (1, 64, 64, c) at another grid, bicubic; the table itself where the grid
    is the same."""
    if tuple(embedding_1yxc.shape[1:3]) == grid:
        return embedding_1yxc
    resized = functional.interpolate(
        embedding_1yxc.permute(0, 3, 1, 2), size=grid, mode="bicubic", align_corners=False
    )
    return resized.permute(0, 2, 3, 1)


def resize_relative_table(table: Tensor, size: int, *, windowed: bool) -> Tensor:
    """SAM's relative position table of a side for a side of `size` tokens.

    A global block's table is stretched, linearly as in segment_anything, since the image is the same at
    another resolution. A window's is cut to its middle: a window smaller than 14 tokens has the same
    distances, only fewer.
    """
    length = 2 * size - 1
    if table.shape[0] == length:
        return table
    if windowed:
        start = (table.shape[0] - length) // 2
        return table[start : start + length]
    return functional.interpolate(table.t().unsqueeze(0), size=length, mode="linear").squeeze(0).t()


def _encoder(network: NetworkPlan, sam: Mapping[str, Tensor]) -> dict[str, Tensor]:
    grid = (network.input_size[0] // PATCH, network.input_size[1] // PATCH)
    global_blocks = BACKBONES[network.backbone].global_blocks
    weights: dict[str, Tensor] = {}
    for name, tensor in sam.items():
        if not name.startswith("image_encoder."):
            continue
        if name.endswith("pos_embed"):
            tensor = resize_position_embedding(tensor, grid)
        elif "rel_pos_" in name:
            is_global = int(name.split(".")[2]) in global_blocks
            sides = grid if is_global else window_of(grid)
            tensor = resize_relative_table(
                tensor, sides[0 if name.endswith("rel_pos_h") else 1], windowed=not is_global
            )
        weights[name] = tensor
    return weights


def _decoder(
    network: NetworkPlan, sam: Mapping[str, Tensor], second_moments: Sequence[Tensor] | None
) -> dict[str, Tensor]:
    source = {
        key.removeprefix("mask_decoder."): tensor
        for key, tensor in sam.items()
        if key.startswith("mask_decoder.")
    }
    tokens = [
        index % MASK_TOKENS for index in range(network.classes)
    ]  # class k starts as SAM's mask token k modulo 4
    weights = {key: tensor for key, tensor in source.items() if key.startswith("transformer.")}
    weights["iou_token"] = source["iou_token.weight"]
    weights["class_tokens"] = source["mask_tokens.weight"][tokens]
    weights["dense_embedding"] = sam["prompt_encoder.no_mask_embed.weight"][0]
    weights["position_frequencies"] = sam["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    weights |= {
        f"upscaling.{ours}": source[f"output_upscaling.{theirs}"] for ours, theirs in UPSCALING.items()
    }
    weights |= _hypernetworks(network, source, tokens)
    for attention in ATTENTIONS:
        del weights[
            f"transformer.{attention}.k_proj.bias"
        ]  # shifts all scores of a query alike: the softmax does not see it
    if network.decoder_attention == "low_rank":
        _truncate(weights, network.decoder_rank, second_moments)
    return {f"mask_decoder.{key}": tensor for key, tensor in weights.items()}


def _hypernetworks(
    network: NetworkPlan, source: Mapping[str, Tensor], tokens: Sequence[int]
) -> dict[str, Tensor]:
    """Each class's MLP, or SAM's own shared by the classes; the last bias is each class's in both."""
    own = tokens[:MASK_TOKENS] if network.hypernetworks == "shared" else tokens

    def stacked(layer: int, kind: str, of: Sequence[int]) -> Tensor:
        names = [f"output_hypernetworks_mlps.{token}.layers.{layer}.{kind}" for token in of]
        return torch.stack([source[name] for name in names])

    weights = {f"hypernetworks.weights.{layer}": stacked(layer, "weight", own) for layer in range(3)}
    biases = {
        f"hypernetworks.biases.{layer}": stacked(layer, "bias", of)
        for layer, of in enumerate((own, own, tokens))
    }
    return weights | biases


def _truncate(weights: dict[str, Tensor], rank: int, second_moments: Sequence[Tensor] | None) -> None:
    for index, attention in enumerate(ATTENTIONS):
        name = f"transformer.{attention}"
        key, value = weights.pop(f"{name}.k_proj.weight"), weights.pop(f"{name}.v_proj.weight")
        latent = shared_latent(key, value, rank, None if second_moments is None else second_moments[index])
        weights[f"{name}.latent.weight"] = latent.latent
        weights[f"{name}.key_core"] = latent.key_core
        weights[f"{name}.value_core.weight"] = latent.value_core
        weights[f"{name}.value_core.bias"] = weights.pop(f"{name}.v_proj.bias")
