"""The mask decoder: K class tokens and the image embedding in a two-way transformer, then K masks.

Stock SAM's function with its no-prompt input, one token per class, the IoU head left out (nothing here
asks for it).

Suffixes: b batch, k classes, t tokens (IoU token and classes), s image tokens, y x pixels, c channels.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.network.backbone_shapes import decoder_mlp
from balrsam_pipeline.network.layers import RECOMPUTE_TOKENS, Mlp, fused_attention, project, recompute
from balrsam_pipeline.network.stack import AcrossSlices
from balrsam_pipeline.network.stock_sam import EMBEDDING, MASK_TOKENS
from balrsam_pipeline.network.tensor_attention import ImageToToken, LowRankTokenToImage, TokenToImage
from balrsam_pipeline.plan import NetworkPlan

LAYERS = 2
UPSCALED = 32  # channels of the map that masks are read from
SELF_HEADS = 8


@dataclass(frozen=True, slots=True)
class DetailMap:
    """CDEN's map at one stride of the input size, and how a mask's 32 weights read it."""

    stride: int
    map_bcyx: Tensor
    projection: Tensor  # (32, c)


class SelfAttention(nn.Module):
    """Attention among the class tokens. Parameter names are SAM's."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(EMBEDDING, EMBEDDING)
        self.k_proj = nn.Linear(EMBEDDING, EMBEDDING)
        self.v_proj = nn.Linear(EMBEDDING, EMBEDDING)
        self.out_proj = nn.Linear(EMBEDDING, EMBEDDING)

    def forward(self, q_btc: Tensor, v_btc: Tensor) -> Tensor:
        """Queries and keys from `q_btc`, values from `v_btc`: (b, t, 256)."""
        b, t, _ = q_btc.shape
        q, k, v = (
            layer(tokens).view(b, t, SELF_HEADS, -1).transpose(1, 2)
            for layer, tokens in ((self.q_proj, q_btc), (self.k_proj, q_btc), (self.v_proj, v_btc))
        )
        mixed = fused_attention(q, k, v)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(b, t, EMBEDDING))
        return out


class TwoWayLayer(nn.Module):
    """Tokens among themselves, tokens to image, MLP, image to tokens. Parameter names are SAM's.

    Args:
        stack: slices of a stack, over all of which the class tokens look too; 0 where there are none.
    """

    def __init__(self, token_to_image: nn.Module, mlp_width: int, stack: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.across = AcrossSlices(EMBEDDING, stack) if stack else None
        self.self_attn = SelfAttention()
        self.norm1 = nn.LayerNorm(EMBEDDING)
        self.cross_attn_token_to_image = token_to_image
        self.norm2 = nn.LayerNorm(EMBEDDING)
        self.mlp = Mlp(EMBEDDING, mlp_width, functional.relu)
        self.norm3 = nn.LayerNorm(EMBEDDING)
        self.norm4 = nn.LayerNorm(EMBEDDING)
        self.cross_attn_image_to_token = ImageToToken()

    def forward(
        self, tokens_btc: Tensor, start_btc: Tensor, image_bsc: Tensor, position_sc: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens and image tokens after the layer; `start_btc`, the first tokens, are the tokens'
        position."""
        if self.first:
            tokens_btc = self.self_attn(tokens_btc, tokens_btc)
        else:
            tokens_btc = tokens_btc + self.self_attn(tokens_btc + start_btc, tokens_btc)
        tokens_btc = self.norm1(tokens_btc)
        attention, queries_btc = self.cross_attn_token_to_image, tokens_btc + start_btc
        tokens_btc = tokens_btc + attention(queries_btc, image_bsc, position_sc)
        if self.across is not None:
            tokens_btc = tokens_btc + self.across(attention.forward, queries_btc, image_bsc, position_sc)
        tokens_btc = self.norm2(tokens_btc)
        tokens_btc = self.norm3(tokens_btc + self.mlp(tokens_btc))
        image_bsc = self.cross_attn_image_to_token(
            image_bsc, position_sc, tokens_btc + start_btc, tokens_btc, self.norm4
        )
        return tokens_btc, image_bsc


class Hypernetworks(nn.Module):
    """MLPs of three layers from a class's token to the 32 weights of its mask, in one batched product.

    Class k reads MLP k modulo `count` and adds a last bias of its own.

    Args:
        classes: K.
        count: how many MLPs there are, at most K.
    """

    def __init__(self, classes: int, count: int) -> None:
        super().__init__()
        self.count = count
        sizes = (EMBEDDING, EMBEDDING, EMBEDDING, UPSCALED)
        self.weights = nn.ParameterList(
            torch.empty(count, after, before).uniform_(-(before**-0.5), before**-0.5)
            for before, after in itertools.pairwise(sizes)
        )
        self.biases = nn.ParameterList(
            torch.zeros(rows, after) for rows, after in zip((count, count, classes), sizes[1:], strict=True)
        )

    def forward(self, tokens_bkc: Tensor) -> Tensor:
        """(b, k, 256) -> (b, k, 32)."""
        b, classes, _ = tokens_bkc.shape
        rounds = -(-classes // self.count)  # classes of one MLP; the last round is filled up with zeros
        filled = functional.pad(tokens_bkc, (0, 0, 0, rounds * self.count - classes))
        out = filled.view(b, rounds, self.count, EMBEDDING).permute(2, 0, 1, 3).flatten(1, 2)
        first, second, last = self.weights
        for weight, bias in ((first, self.biases[0]), (second, self.biases[1])):
            out = functional.relu(out @ weight.transpose(1, 2) + bias[:, None])
        out = (out @ last.transpose(1, 2)).view(self.count, b, rounds, UPSCALED)
        weights_bkc: Tensor = out.permute(1, 2, 0, 3).flatten(1, 2)[:, :classes] + self.biases[2]
        return weights_bkc


class Upscaling(nn.Module):
    """SAM's ×4 upscaling and the masks read from it.

    Its transposed convolutions have kernel = stride, so each output pixel comes from one token: the pixels
    stay in token order as rows of a matrix until the masks, the smallest tensor, are put in place.
    """

    def __init__(self) -> None:
        super().__init__()
        hidden = EMBEDDING // 4
        self.weight1 = nn.Parameter(torch.empty(EMBEDDING, hidden, 2, 2).uniform_(-0.0625, 0.0625))
        self.bias1 = nn.Parameter(torch.zeros(hidden))
        self.norm = nn.LayerNorm(hidden, eps=1e-6)
        self.weight2 = nn.Parameter(torch.empty(hidden, UPSCALED, 2, 2).uniform_(-0.125, 0.125))
        self.bias2 = nn.Parameter(torch.zeros(UPSCALED))

    def forward(self, image_bsc: Tensor, weights_bkc: Tensor) -> Tensor:
        """Masks in token order: (b, s·16, k), the 16 pixels of a token as 2×2 of 2×2."""
        b, s, _ = image_bsc.shape
        first = project(image_bsc, self.weight1.permute(2, 3, 1, 0).flatten(0, 2), self.bias1.repeat(4))
        first = functional.gelu(self.norm(first.view(b, s * 4, -1)))
        second = project(first, self.weight2.permute(2, 3, 1, 0).flatten(0, 2), self.bias2.repeat(4))
        return functional.gelu(second).view(b, s * 16, UPSCALED) @ weights_bkc.transpose(1, 2)


class Transformer(nn.Module):
    """The two-way transformer. Parameter names are SAM's."""

    def __init__(self, network: NetworkPlan) -> None:
        super().__init__()

        def token_to_image() -> nn.Module:
            return (
                TokenToImage()
                if network.decoder_attention == "exact"
                else LowRankTokenToImage(network.decoder_rank)
            )

        mlp_width = decoder_mlp(network.backbone)
        self.layers = nn.ModuleList(
            TwoWayLayer(token_to_image(), mlp_width, network.stack, first=index == 0)
            for index in range(LAYERS)
        )
        self.final_attn_token_to_image = token_to_image()
        self.final_across = AcrossSlices(EMBEDDING, network.stack) if network.stack else None
        self.norm_final_attn = nn.LayerNorm(EMBEDDING)

    def forward(self, start_btc: Tensor, image_bsc: Tensor, position_sc: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (b, t, 256) and image tokens (b, s, 256) after all layers."""
        tokens_btc = start_btc
        for layer in self.layers:
            tokens_btc, image_bsc = layer(tokens_btc, start_btc, image_bsc, position_sc)
        attention, queries_btc = self.final_attn_token_to_image, tokens_btc + start_btc
        tokens_btc = tokens_btc + attention(queries_btc, image_bsc, position_sc)
        if self.final_across is not None:
            read_btc = self.final_across(attention.forward, queries_btc, image_bsc, position_sc)
            tokens_btc = tokens_btc + read_btc
        return self.norm_final_attn(tokens_btc), image_bsc


class MaskDecoder(nn.Module):
    """Image embedding and CDEN's detail to K masks."""

    def __init__(self, network: NetworkPlan) -> None:
        super().__init__()
        self.classes = network.classes
        self.iou_token = nn.Parameter(
            torch.empty(1, EMBEDDING).normal_()
        )  # takes part in self-attention, as in SAM
        self.class_tokens = nn.Parameter(torch.empty(network.classes, EMBEDDING).normal_())
        self.dense_embedding = nn.Parameter(torch.zeros(EMBEDDING))  # SAM's `no_mask_embed`
        self.position_frequencies = nn.Parameter(torch.empty(2, EMBEDDING // 2).normal_())
        self.transformer = Transformer(network)
        self.upscaling = Upscaling()
        shared = network.hypernetworks == "shared"
        self.hypernetworks = Hypernetworks(
            network.classes, min(MASK_TOKENS, network.classes) if shared else network.classes
        )
        stride = network.embedding_stride
        self.grid = (network.input_size[0] // stride, network.input_size[1] // stride)
        self.image_positions: Tensor  # where the frequencies are frozen, one constant for all images
        self.register_buffer("image_positions", self.positions().detach(), persistent=False)

    def forward(self, embedding_bcyx: Tensor, details: tuple[DetailMap, ...]) -> Tensor:
        """Masks (b, k, ·, ·) at the stride of the finest of `details`, which run from a quarter of the
        embedding's stride to finer ones."""
        b, _, rows, columns = embedding_bcyx.shape
        image_bsc = (
            embedding_bcyx.permute(0, 2, 3, 1).reshape(b, rows * columns, EMBEDDING) + self.dense_embedding
        )
        start_btc = torch.cat([self.iou_token, self.class_tokens]).expand(b, -1, -1)
        positions_sc = self.positions() if self.position_frequencies.requires_grad else self.image_positions
        tokens_btc, image_bsc = self.transformer(start_btc, image_bsc, positions_sc)
        weights_bkc = self.hypernetworks(tokens_btc[:, 1:])
        masks = recompute(self.upscaling, image_bsc, weights_bkc, when=rows * columns >= RECOMPUTE_TOKENS)
        masks = masks.view(b, rows, columns, 2, 2, 2, 2, -1).permute(0, 7, 1, 3, 5, 2, 4, 6)
        masks_bkyx = masks.reshape(b, -1, rows * 4, columns * 4)
        for detail in details:
            if masks_bkyx.shape[-2:] != detail.map_bcyx.shape[-2:]:
                masks_bkyx = functional.interpolate(
                    masks_bkyx, size=detail.map_bcyx.shape[-2:], mode="bilinear"
                )
            masks_bkyx = masks_bkyx + read_masks(detail, weights_bkc)
        return masks_bkyx

    def refresh_positions(self) -> None:
        """Bring the constant positions up to date after the frequencies were loaded."""
        self.image_positions.copy_(self.positions().detach())

    def positions(self) -> Tensor:
        """SAM's random Fourier position encoding of each image token: (s, 256)."""
        frequencies, (rows, columns) = self.position_frequencies, self.grid
        y = (torch.arange(rows, device=frequencies.device, dtype=frequencies.dtype) + 0.5) / rows
        x = (torch.arange(columns, device=frequencies.device, dtype=frequencies.dtype) + 0.5) / columns
        points = torch.stack([x.repeat(rows), y.repeat_interleave(columns)], dim=1)
        angles = 2 * math.pi * ((2 * points - 1) @ frequencies)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


def read_masks(detail: DetailMap, weights_bkc: Tensor) -> Tensor:
    """What a detail map adds to the masks: its projection to 32 channels is carried to the few weights. (b,
    k, y, x)."""
    b, _, height, width = detail.map_bcyx.shape
    carried_bkc = weights_bkc @ detail.projection
    flat_bpc = detail.map_bcyx.permute(0, 2, 3, 1).reshape(b, height * width, -1)
    return (carried_bkc @ flat_bpc.transpose(1, 2)).view(b, -1, height, width)
