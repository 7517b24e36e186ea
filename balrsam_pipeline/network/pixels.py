"""Pixels as the encoder saw them: from our normalisation to what it was shown in its own training.

First each channel is brought to 0–1 (black to white), clipped, then channels other than three are combined to
three, then they get the statistics of the encoder. The rule is planned once
(`planners/rules/value_range.py`, in the plan's `input_ranges`), the network holds it as constants.

Suffixes: b batch, c channels, y x pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from balrsam_pipeline.plan import NetworkPlan

# Source: segment_anything/build_sam.py, of RGB from 0 to 255. Here in units of 0 to 1.
SAM_MEAN = (123.675 / 255, 116.28 / 255, 103.53 / 255)
SAM_STD = (58.395 / 255, 57.12 / 255, 57.375 / 255)


class ToUnitRange(nn.Module):
    """(value - low) / (high - low) of each channel, clipped to 0–1; nothing where no ranges are planned."""

    def __init__(self, network: NetworkPlan) -> None:
        super().__init__()
        lows = [low for low, _ in network.input_ranges]
        spans = [high - low for low, high in network.input_ranges]
        self.register_buffer("low_c11", torch.tensor(lows).view(-1, 1, 1), persistent=False)
        self.register_buffer("span_c11", torch.tensor(spans).view(-1, 1, 1), persistent=False)
        self.low_c11: Tensor
        self.span_c11: Tensor

    def forward(self, image_bcyx: Tensor) -> Tensor:
        """(b, c, y, x) -> (b, c, y, x)."""
        if self.low_c11.numel() == 0:
            return image_bcyx
        return ((image_bcyx - self.low_c11) / self.span_c11).clamp(0, 1)


class ToEncoderStatistics(nn.Module):
    """Three channels from 0–1 to the mean and std of SAM's training; as they are for other encoders."""

    def __init__(self, network: NetworkPlan) -> None:
        super().__init__()
        self.standardise = network.pixels == "sam"
        self.register_buffer("mean_c11", torch.tensor(SAM_MEAN).view(-1, 1, 1), persistent=False)
        self.register_buffer("std_c11", torch.tensor(SAM_STD).view(-1, 1, 1), persistent=False)
        self.mean_c11: Tensor
        self.std_c11: Tensor

    def forward(self, image_bcyx: Tensor) -> Tensor:
        """(b, 3, y, x) -> (b, 3, y, x)."""
        return (image_bcyx - self.mean_c11) / self.std_c11 if self.standardise else image_bcyx
