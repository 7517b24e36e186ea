"""Stock SAM with random weights, position tables included, and plans of small networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from balrsam_pipeline.network.stock_sam import stock_sam
from balrsam_pipeline.plan import Backbone, NetworkPlan

Checkpoint = tuple[nn.Module, Path]


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., NetworkPlan]:
    """A network plan; vit_mini adapted at 112 pixels unless told otherwise."""

    def make(**changes: Any) -> NetworkPlan:
        values: dict[str, Any] = {
            "backbone": "vit_mini",
            "from_scratch": False,
            "input_channels": 3,
            "classes": 4,
            "input_size": (112, 112),
            "lora_rank": 4,
            "lora_alpha": 4.0,
            "adapter_rank": 8,
            "decoder_attention": "exact",
            "decoder_rank": 64,
            "cden_width": 8,
            "mask_stride": 4,
        }
        return NetworkPlan(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Backbone], Checkpoint]:
    """Stock SAM with random weights and its checkpoint file, one a backbone."""
    made: dict[str, Checkpoint] = {}

    def make(backbone: Backbone) -> Checkpoint:
        if backbone not in made:
            generator = torch.Generator().manual_seed(3)
            sam = stock_sam(backbone)
            with torch.no_grad():
                for name, parameter in sam.named_parameters():
                    if (
                        "rel_pos" in name or "pos_embed" in name
                    ):  # SAM starts these at zero, which would test nothing
                        parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
                    elif parameter.dim() == 1:
                        parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
            path = tmp_path_factory.mktemp("sam") / f"{backbone}.pth"
            torch.save(sam.state_dict(), path)
            made[backbone] = sam, path
        return made[backbone]

    return make
