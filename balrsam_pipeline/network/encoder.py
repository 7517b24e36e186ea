"""The image encoder: SAM's ViT with low-rank adapters in every block, for any input size that is a multiple
of 16.

Suffixes: b batch, y x token rows and columns, c channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.network.adapters import Bottleneck, Lora
from balrsam_pipeline.network.attention import Attention, TokenGrid, one_hot_positions, window_of
from balrsam_pipeline.network.backbone_shapes import BACKBONES, PATCH
from balrsam_pipeline.network.layers import Features, LayerNorm2d, Mlp, project, recompute
from balrsam_pipeline.network.stock_sam import EMBEDDING
from balrsam_pipeline.plan import NetworkPlan


class Block(nn.Module):
    """One transformer block: attention and MLP, each with a bottleneck adapter beside it (none when trained
    from scratch)."""

    def __init__(self, width: int, heads: int, window: TokenGrid) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, window)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, 4 * width, functional.gelu)
        self.attention_adapter: Bottleneck | None = None
        self.mlp_adapter: Bottleneck | None = None

    def forward(self, tokens_byxc: Tensor, one_hot: Tensor) -> Tensor:
        """(b, y, x, c) -> (b, y, x, c)."""
        mixed = self.attn(self.norm1(tokens_byxc), one_hot)
        if self.attention_adapter is not None:
            mixed = mixed + self.attention_adapter(mixed)
        tokens_byxc = tokens_byxc + mixed
        normed = self.norm2(tokens_byxc)
        tokens_byxc = tokens_byxc + self.mlp(normed)
        if self.mlp_adapter is not None:
            tokens_byxc = tokens_byxc + self.mlp_adapter(normed)
        return tokens_byxc


class PatchEmbedding(nn.Module):
    """16×16 pixels to one token; the weight has a convolution's shape, SAM's, and is used as the linear map
    it is."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel_size=PATCH, stride=PATCH)

    def forward(self, image_bcyx: Tensor) -> Tensor:
        """(b, channels, 16·y, 16·x) -> (b, y, x, c)."""
        b, c, height, width = image_bcyx.shape
        tiles = image_bcyx.reshape(b, c, height // PATCH, PATCH, width // PATCH, PATCH).permute(
            0, 2, 4, 1, 3, 5
        )
        return project(tiles.flatten(3), self.proj.weight.flatten(1), self.proj.bias)


class ImageEncoder(nn.Module):
    """SAM's ViT at the plan's input size; parameter names are SAM's.

    Args:
        network: backbone, input size, ranks. Adapters are there only where something is frozen to adapt.
        channels: channels of the image it is given.
    """

    def __init__(self, network: NetworkPlan, channels: int) -> None:
        super().__init__()
        shape = BACKBONES[network.backbone]
        self.early_channels = shape.width
        self.grid: TokenGrid = (network.input_size[0] // PATCH, network.input_size[1] // PATCH)
        self.global_blocks = shape.global_blocks
        by_memory = sorted(range(shape.depth), key=lambda index: index not in shape.global_blocks)
        self.checkpointed = frozenset(
            by_memory[: network.checkpointed_blocks]
        )  # global blocks first: they keep the most
        self.patch_embed = PatchEmbedding(channels, shape.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, *self.grid, shape.width))
        windows = [
            self.grid if index in shape.global_blocks else window_of(self.grid)
            for index in range(shape.depth)
        ]
        self.blocks = nn.ModuleList(Block(shape.width, shape.heads, window) for window in windows)
        self.neck = nn.Sequential(
            nn.Conv2d(shape.width, EMBEDDING, kernel_size=1, bias=False),
            LayerNorm2d(EMBEDDING),
            nn.Conv2d(EMBEDDING, EMBEDDING, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(EMBEDDING),
        )
        self.register_buffer("global_positions", one_hot_positions(self.grid), persistent=False)
        self.register_buffer("window_positions", one_hot_positions(window_of(self.grid)), persistent=False)
        self.global_positions: Tensor
        self.window_positions: Tensor
        if not network.from_scratch:
            self._adapt(shape.width, network)

    def forward(self, image_bcyx: Tensor) -> tuple[Tensor, Tensor]:
        """The image embedding (b, 256, y, x) and the tokens after the first global block (b, y, x, c)."""
        return self.suffix(self.prefix(image_bcyx))

    def prefix(self, image_bcyx: Tensor) -> Features:
        """Everything before the first block: a ViT is adapted in all of them."""
        return Features(self.patch_embed(image_bcyx) + self.pos_embed)

    def suffix(self, features: Features) -> tuple[Tensor, Tensor]:
        """From what was kept to embedding and early tokens, as `forward` returns them."""
        tokens_byxc = early_byxc = features.tokens_byxc
        for index, block in enumerate(self.blocks):
            one_hot = self.global_positions if index in self.global_blocks else self.window_positions
            tokens_byxc = recompute(block, tokens_byxc, one_hot, when=index in self.checkpointed)
            if index == self.global_blocks[0]:
                early_byxc = tokens_byxc
        embedding_bcyx: Tensor = self.neck(tokens_byxc.permute(0, 3, 1, 2))
        return embedding_bcyx, early_byxc

    def compute_again(self) -> bool:
        """From now on keep nothing inside any block for backward; whether that is less than before."""
        before, self.checkpointed = self.checkpointed, frozenset(range(len(self.blocks)))
        return before != self.checkpointed

    def merge_lora(self) -> None:
        """Fold every LoRA into the projection it updates; afterwards inference pays nothing for it."""
        for module in self.modules():
            if isinstance(module, Attention) and module.lora is not None:
                with torch.no_grad():
                    module.qkv.weight += module.lora.weight_update()
                module.lora = None

    def _adapt(self, width: int, network: NetworkPlan) -> None:
        for block in self.blocks:
            if not isinstance(block, Block):
                continue
            if network.lora_rank:
                block.attn.lora = Lora(width, network.lora_rank, network.lora_alpha)
            if network.adapter_rank:
                block.attention_adapter = Bottleneck(width, network.adapter_rank, network.stack)
                block.mlp_adapter = Bottleneck(width, network.adapter_rank, network.stack)
