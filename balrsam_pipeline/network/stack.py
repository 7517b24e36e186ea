"""Stacks of neighbouring slices through a network over slices: what mixes them, and folding them to a batch.

A stack goes through encoder, CDEN and decoder as a batch of its slices. Two things carry from slice to slice,
both zero at the start, so that a stack starts as that many times SAM: depthwise convolutions along the slices
(in the adapters and in CDEN), and class tokens that attend to the image tokens of the whole stack.

Suffixes: b stacks, n slices of all stacks (the batch), c channels, t class tokens, s image tokens of a slice,
k classes, z y x voxels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

NEIGHBOURS = 3  # a slice, and one on each side


class AlongSlices(nn.Module):
    """A depthwise convolution over a slice and its two neighbours, added to the slice; zero at the start.

    Beyond the ends of a stack there is nothing: zeros. Three products of whole maps instead of a convolution,
    which would need the slices as its last axis.

    Args:
        channels: c.
        stack: slices of a stack.
        after: axes after the channels: 0 of tokens (n, y, x, c), 2 of maps (n, c, y, x).

    Source: ours; as in ST-Adapter (Pan et al. 2022) and MA-SAM (Chen et al. 2023), in which slices are mixed
    inside the bottlenecks of adapters.
    """

    def __init__(self, channels: int, stack: int, *, after: int = 0) -> None:
        super().__init__()
        self.stack = stack
        self.weight = nn.Parameter(torch.zeros(NEIGHBOURS, channels, *(1,) * after))

    def forward(self, slices: Tensor) -> Tensor:
        """The shape and type of `slices`."""
        x = in_stacks(slices, self.stack)
        before, own, behind = self.weight.to(x.dtype)
        mixed = torch.addcmul(x, x, own)
        mixed[:, 1:] += x[:, :-1] * before
        mixed[:, :-1] += x[:, 1:] * behind
        return mixed.flatten(0, 1)


class AcrossSlices(nn.Module):
    """Class tokens attend to the image tokens of the whole stack at once, beside those of their own slice.

    The same attention looks, with the same weights; it is asked once for a stack, by the mean over its slices
    of each class token. A gate for each channel says how much of the answer every slice's tokens get.

    Source: ours; the gate is that of Flamingo (Alayrac et al. 2022), without its tanh.
    """

    def __init__(self, channels: int, stack: int) -> None:
        super().__init__()
        self.stack = stack
        self.gate = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        attention: Callable[[Tensor, Tensor, Tensor], Tensor],
        queries_ntc: Tensor,
        image_nsc: Tensor,
        position_sc: Tensor,
    ) -> Tensor:
        """What to add to what each slice's tokens read: (n, t, c).

        Args:
            attention: of tokens (b, t, c) to image tokens (b, stack · s, c), whose positions repeat; a
                module's `forward`, since hooks that measure what the module reads see these tokens anyway.
        """
        queries_btc = in_stacks(queries_ntc, self.stack).mean(1)
        image_bsc = in_stacks(image_nsc, self.stack).flatten(1, 2)
        read_btc = self.gate * attention(queries_btc, image_bsc, position_sc)
        return read_btc.repeat_interleave(self.stack, dim=0)


def in_stacks(slices: Tensor, stack: int) -> Tensor:
    """Slices (n, …) one stack after the other, (n / stack, stack, …); a view."""
    return slices.view(-1, stack, *slices.shape[1:])


def as_slices(volume_bczyx: Tensor) -> Tensor:
    """Stacks (b, c, z, y, x) as a batch of their slices, (b · z, c, y, x)."""
    return volume_bczyx.transpose(1, 2).flatten(0, 1)


def as_volumes(slices_nkyx: Tensor, stack: int) -> Tensor:
    """The inverse: (b, k, z, y, x)."""
    return in_stacks(slices_nkyx, stack).transpose(1, 2)
