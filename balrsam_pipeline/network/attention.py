"""The ViT's attention with SAM's decomposed relative position, through ordinary scaled_dot_product_attention.

SAM adds to the scores of a query at (y, x) and a key at (y', x') two terms, q·Rh[y, y'] and q·Rw[x, x'], and
to do so builds a matrix of all pairs. The same scores are a plain product of longer vectors: q̂ = [q/√d,
q·Rh[y], q·Rw[x]] and k̂ = [k, onehot(y'), onehot(x')]. So no pair matrix is ever made, and the gradients are
the same.

Suffixes: b batch (times windows), n heads, t tokens, y x token rows and columns, c channels, d channels a
head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.network.adapters import Lora
from balrsam_pipeline.network.layers import Linear, fused_attention, project
from balrsam_pipeline.network.stock_sam import WINDOW

TokenGrid = tuple[int, int]


def one_hot_positions(grid: TokenGrid) -> Tensor:
    """For each token of a grid, row and column one-hot: (y·x, y + x rounded up to a multiple of 8 by zeros).

    The multiple of 8 keeps the head dimension one that the fused CUDA kernels accept.
    """
    rows, columns = grid
    y = torch.eye(rows).repeat_interleave(columns, dim=0)
    x = torch.eye(columns).repeat(rows, 1)
    return functional.pad(torch.cat([y, x], dim=1), (0, -(rows + columns) % 8))


def relative_positions(table: Tensor) -> Tensor:
    """(2S-1, d) table of offsets -> (S, S, d): the vector of query q and key k is `table[q - k + S - 1]`."""
    size = (table.shape[0] + 1) // 2
    steps = torch.arange(size, device=table.device)
    return table[steps[:, None] - steps[None, :] + size - 1]


def positional_attention(
    q: Tensor, k: Tensor, v: Tensor, tables: tuple[Tensor, Tensor], one_hot: Tensor
) -> Tensor:
    """Attention with decomposed relative position.

    Args:
        q, k, v: (b, n, t, d), t = rows · columns.
        tables: offsets of rows (2·rows-1, d) and of columns (2·columns-1, d).
        one_hot: `one_hot_positions` of the grid.

    Returns:
        (b, n, t, d)

    Source: the function is segment_anything's `add_decomposed_rel_pos`; the form is explained in
    docs/architecture.md.
    """
    b, n, t, d = q.shape
    of_rows, of_columns = relative_positions(tables[0]), relative_positions(tables[1])
    q_bnyxd = q.view(b, n, of_rows.shape[0], of_columns.shape[0], d)
    by_row = torch.einsum("bnyxd,ykd->bnyxk", q_bnyxd, of_rows).reshape(b, n, t, -1)
    by_column = torch.einsum("bnyxd,xkd->bnyxk", q_bnyxd, of_columns).reshape(b, n, t, -1)
    parts = [q * d**-0.5, by_row, by_column]
    filler = one_hot.shape[1] - by_row.shape[-1] - by_column.shape[-1]
    if filler:
        parts.append(q.new_zeros(b, n, t, filler))
    long_q = torch.cat(parts, dim=-1)
    long_k = torch.cat([k, one_hot.to(k.dtype).expand(b, n, -1, -1)], dim=-1)
    if q.device.type == "cuda":
        return fused_attention(long_q, long_k, v, scale=1.0)
    # the CPU's fused kernel wants v as long as q
    long_v = functional.pad(v, (0, one_hot.shape[1]))
    if q.is_meta:  # where nothing is computed PyTorch would choose the unfused form and count its pair matrix
        out: Tensor = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            long_q, long_k, long_v, scale=1.0
        )[0]
        return out[..., :d]
    return fused_attention(long_q, long_k, long_v, scale=1.0)[..., :d]


class Attention(nn.Module):
    """Self-attention within windows (or over the whole grid, with one window as large as it).

    Parameter names are SAM's, so that its checkpoints fit.

    Args:
        width: channels.
        heads: attention heads.
        window: rows and columns of a window in tokens.
    """

    def __init__(self, width: int, heads: int, window: TokenGrid) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * window[0] - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * window[1] - 1, width // heads))
        self.lora: Lora | None = None

    def forward(self, tokens_byxc: Tensor, one_hot: Tensor) -> Tensor:
        """(b, y, x, c) -> (b, y, x, c); `one_hot` is `one_hot_positions(window)`."""
        _, rows, columns, width = tokens_byxc.shape
        qkv_byxc = self._project(tokens_byxc)
        windows = split_windows(qkv_byxc, self.window)
        q, k, v = (
            windows.view(windows.shape[0], -1, 3, self.heads, width // self.heads)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        mixed = positional_attention(q, k, v, (self.rel_pos_h, self.rel_pos_w), one_hot)
        mixed = mixed.transpose(1, 2).reshape(mixed.shape[0], -1, width)
        out: Tensor = self.proj(join_windows(mixed, self.window, (rows, columns)))
        return out

    def _project(self, tokens_byxc: Tensor) -> Tensor:
        """q, k, v of every token, padded to whole windows; padding tokens are zero before the projection, as
        in SAM."""
        pad_y, pad_x = (-size % side for size, side in zip(tokens_byxc.shape[1:3], self.window, strict=True))
        padded = pad_y or pad_x
        qkv_byxc = project(tokens_byxc, self.qkv.weight, None if padded else self.qkv.bias)
        if self.lora is not None:
            qkv_byxc = self.lora(tokens_byxc, qkv_byxc)
        if padded:  # a zero token projects to the bias, so padding costs no projection
            qkv_byxc = functional.pad(qkv_byxc, (0, 0, 0, pad_x, 0, pad_y)) + self.qkv.bias
        return qkv_byxc


def window_of(grid: TokenGrid) -> TokenGrid:
    """SAM's window of 14 tokens, or the whole side where the grid is smaller: then nothing is padded."""
    return min(WINDOW, grid[0]), min(WINDOW, grid[1])


def split_windows(tokens_byxc: Tensor, window: TokenGrid) -> Tensor:
    """(b, y, x, c), whole windows -> (b · windows, tokens per window, c)."""
    b, rows, columns, c = tokens_byxc.shape
    if window == (rows, columns):
        return tokens_byxc.reshape(b, rows * columns, c)
    tiles = tokens_byxc.view(b, rows // window[0], window[0], columns // window[1], window[1], c)
    return tiles.permute(0, 1, 3, 2, 4, 5).reshape(-1, window[0] * window[1], c)


def join_windows(tokens_btc: Tensor, window: TokenGrid, grid: TokenGrid) -> Tensor:
    """The inverse of `split_windows`, without what was padded to reach whole windows: -> (b, y, x, c)."""
    rows, columns = -(-grid[0] // window[0]), -(-grid[1] // window[1])
    c = tokens_btc.shape[-1]
    if rows == columns == 1:
        return tokens_btc.reshape(-1, *window, c)[:, : grid[0], : grid[1]]
    tiles = tokens_btc.view(-1, rows, columns, window[0], window[1], c).permute(0, 1, 3, 2, 4, 5)
    return tiles.reshape(-1, rows * window[0], columns * window[1], c)[:, : grid[0], : grid[1]]
