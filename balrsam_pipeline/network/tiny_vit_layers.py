"""Layers of TinyViT: convolutions with their normalisation folded in, window attention, blocks that adapt.

Everything maps (b, y, x, c) to (b, y, x, c): what convolutions call channels last, and linear layers take as
it is. Parameter names are those of MobileSAM's and LiteMedSAM's files; three things are other than there
(`tiny_vit_weights`): a convolution holds its BatchNorm, which is frozen; rows of `qkv` are all heads' q, then
k, then v; `mlp` is the plain function.

Source: Wu et al. 2022, TinyViT. Suffixes: b batch, y x token rows and columns, c channels, n heads, t tokens
of a window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.network.adapters import Bottleneck, Lora
from balrsam_pipeline.network.attention import join_windows, split_windows
from balrsam_pipeline.network.layers import Linear, fused_attention, project
from balrsam_pipeline.plan import NetworkPlan

EXPANSION = 4  # of channels, in MLPs and in the first stage's convolutions
# Where no gradient is recorded, a CPU takes wide layers in pieces that stay in its cache: half the time for
# the first stage's convolutions, two thirds for the second stage's MLPs (docs/network.md).
STRIP_TOKENS = 8192
PIECE_TOKENS = 4096


class Convolution(nn.Module):
    """A convolution, `c` as in the files; its BatchNorm is part of weight and bias."""

    def __init__(self, before: int, after: int, size: int = 1, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(before, after, size, stride, size // 2, groups=groups)

    def forward(self, x_byxc: Tensor) -> Tensor:
        """(b, y, x, before) -> (b, y / stride, x / stride, after)."""
        if self.c.kernel_size == (1, 1):
            return project(x_byxc, self.c.weight.flatten(1), self.c.bias)
        out: Tensor = self.c(x_byxc.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out


class PatchEmbedding(nn.Module):
    """Two convolutions: 4×4 pixels to a token (MobileSAM), or every pixel to one (LiteMedSAM)."""

    def __init__(self, channels: int, width: int, *, strided: bool) -> None:
        super().__init__()
        size, stride = (3, 2) if strided else (1, 1)
        first = Convolution(channels, width // 2, size, stride=stride)
        self.seq = nn.Sequential(first, nn.GELU(), Convolution(width // 2, width, size, stride=stride))

    def forward(self, image_bcyx: Tensor) -> Tensor:
        """(b, channels, y, x) -> (b, y, x, width) or (b, y / 4, x / 4, width)."""
        out: Tensor = self.seq(image_bcyx.permute(0, 2, 3, 1).contiguous())
        return out


class MbConv(nn.Module):
    """Wider, depthwise 3×3, narrow again; added to its input, then GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = EXPANSION * width
        self.conv1 = Convolution(width, hidden)
        self.conv2 = Convolution(hidden, hidden, 3, groups=hidden)
        self.conv3 = Convolution(hidden, width)

    def forward(self, x_byxc: Tensor) -> Tensor:
        """(b, y, x, c) -> (b, y, x, c)."""
        b, height, width, _ = x_byxc.shape
        rows = max(1, STRIP_TOKENS // (b * width))
        if rows >= height or not in_pieces(x_byxc):
            return self._rows(x_byxc, 0, height)
        strips = (self._rows(x_byxc, start, min(start + rows, height)) for start in range(0, height, rows))
        return torch.cat(list(strips), dim=1)

    def _rows(self, x_byxc: Tensor, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` of the result; the depthwise convolution reads one more on each side."""
        first, last = max(start - 1, 0), min(stop + 1, x_byxc.shape[1])
        inner = functional.gelu(self.conv1(x_byxc[:, first:last]))
        inner = functional.pad(inner, (0, 0, 0, 0, first - start + 1, stop + 1 - last))
        depthwise = self.conv2.c
        inner_bcyx = functional.conv2d(
            inner.permute(0, 3, 1, 2),
            depthwise.weight,
            depthwise.bias,
            padding=(0, 1),
            groups=depthwise.groups,
        )
        inner = functional.gelu(inner_bcyx.permute(0, 2, 3, 1))
        return functional.gelu(x_byxc[:, start:stop] + self.conv3(inner))


class PatchMerging(nn.Module):
    """To the next stage's width, and with stride 2 to half the side."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Convolution(before, after)
        self.conv2 = Convolution(after, after, 3, stride=stride, groups=after)
        self.conv3 = Convolution(after, after)

    def forward(self, x_byxc: Tensor) -> Tensor:
        """(b, y, x, before) -> (b, y / stride, x / stride, after)."""
        inner = functional.gelu(self.conv1(x_byxc))
        out: Tensor = self.conv3(functional.gelu(self.conv2(inner)))
        return out


class WindowAttention(nn.Module):
    """Norm, then attention within square windows, with a bias for each distance (|dy|, |dx|) and head.

    The last windows of a row or column are filled up with zero tokens before the norm, and those are attended
    to: it is what the weights were trained with.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, (window, window)
        self.norm = nn.LayerNorm(width)
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        self.register_buffer("distances", distances(window), persistent=False)
        self.distances: Tensor
        self.lora: Lora | None = None

    def forward(self, tokens_byxc: Tensor) -> Tensor:
        """(b, y, x, c) -> (b, y, x, c)."""
        _, rows, columns, width = tokens_byxc.shape
        qkv_byxc = self._fill_windows(self._qkv(self.norm(tokens_byxc)))
        windows = split_windows(qkv_byxc, self.window)
        q, k, v = (
            windows.view(*windows.shape[:2], 3, self.heads, width // self.heads)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        bias_1ntt = self.attention_biases[:, self.distances][None].to(q.dtype)
        if (
            q.is_meta
        ):  # where nothing is computed PyTorch would choose the unfused form and count its pair matrix
            mixed = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=bias_1ntt)[
                0
            ]
        else:
            mixed = fused_attention(q, k, v, bias_1ntt)
        mixed_btc = mixed.transpose(1, 2).reshape(windows.shape[0], -1, width)
        out: Tensor = self.proj(join_windows(mixed_btc, self.window, (rows, columns)))
        return out

    def _qkv(self, normed_byxc: Tensor) -> Tensor:
        qkv_byxc: Tensor = self.qkv(normed_byxc)
        return qkv_byxc if self.lora is None else self.lora(normed_byxc, qkv_byxc)

    def _fill_windows(self, qkv_byxc: Tensor) -> Tensor:
        """Whole windows: a zero token's norm is the norm's bias, so its q, k, v are the same everywhere."""
        b, rows, columns, _ = qkv_byxc.shape
        height, width = (
            -(-size // side) * side for size, side in zip((rows, columns), self.window, strict=True)
        )
        if (height, width) == (rows, columns):
            return qkv_byxc
        filler = self._qkv(self.norm.bias).to(qkv_byxc.dtype)
        filled = qkv_byxc.new_empty(b, height, width, qkv_byxc.shape[-1])
        filled[:, :rows, :columns] = qkv_byxc
        filled[:, :rows, columns:] = filler
        filled[:, rows:] = filler
        return filled


class TinyMlp(nn.Module):
    """The two linear layers of a block's MLP, and the norm before them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = Linear(width, EXPANSION * width)
        self.fc2 = Linear(EXPANSION * width, width)

    def forward(self, normed: Tensor) -> Tensor:
        """What the MLP adds, of tokens that went through `norm`: (…, c) -> (…, c)."""
        if not in_pieces(normed):
            return self._all(normed)
        pieces = torch.split(normed.reshape(-1, normed.shape[-1]), PIECE_TOKENS)
        return torch.cat([self._all(piece) for piece in pieces]).view(normed.shape)

    def _all(self, normed: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(normed)))
        return out


class TinyBlock(nn.Module):
    """Attention, a local 3×3 convolution, MLP; where it is adapted, bottlenecks beside attention and MLP."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.attn = WindowAttention(width, heads, window)
        self.mlp = TinyMlp(width)
        self.local_conv = Convolution(width, width, 3, groups=width)
        self.attention_adapter: Bottleneck | None = None
        self.mlp_adapter: Bottleneck | None = None

    def forward(self, tokens_byxc: Tensor) -> Tensor:
        """(b, y, x, c) -> (b, y, x, c)."""
        mixed = self.attn(tokens_byxc)
        if self.attention_adapter is not None:
            mixed = mixed + self.attention_adapter(mixed)
        tokens_byxc = self.local_conv(tokens_byxc + mixed)
        normed = self.mlp.norm(tokens_byxc)
        tokens_byxc = tokens_byxc + self.mlp(normed)
        if self.mlp_adapter is not None:
            tokens_byxc = tokens_byxc + self.mlp_adapter(normed)
        return tokens_byxc

    def adapt(self, network: NetworkPlan) -> None:
        """Add LoRA and adapters, which change nothing until they are trained; rank 0 leaves a part out."""
        width = self.attn.proj.in_features
        if network.lora_rank:
            self.attn.lora = Lora(width, network.lora_rank, network.lora_alpha)
        if network.adapter_rank:
            self.attention_adapter = Bottleneck(width, network.adapter_rank, network.stack)
            self.mlp_adapter = Bottleneck(width, network.adapter_rank, network.stack)


def in_pieces(tokens: Tensor) -> bool:
    """Whether tokens may be taken in pieces: on a CPU, eagerly, without gradients."""
    return tokens.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def distances(window: int) -> Tensor:
    """The entry of the bias table for each pair of a window's tokens: (t, t), |dy| · window + |dx|."""
    sides = torch.arange(window)
    apart = (sides[:, None] - sides[None, :]).abs()
    table = apart[:, None, :, None] * window + apart[None, :, None, :]
    return table.reshape(window * window, window * window)
