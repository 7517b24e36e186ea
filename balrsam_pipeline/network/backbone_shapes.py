"""Sizes of every plain ViT that a plan can name, and what TinyViT costs on a CPU; without torch."""

from __future__ import annotations

from dataclasses import dataclass

from balrsam_pipeline.plan import Backbone

PATCH = 16  # pixels per side of a token
DECODER_MLP = 2048  # hidden width of the mask decoder's MLPs, in every file of SAM's family
# TinyViT without a stride on a CPU, in float32: core-seconds for a million pixels (one Intel Xeon; an
# older measurement on a busy machine gave twice as many)
ENCODER_S_PER_MEGAPIXEL = 16.0
# share of that before the first trained block, by how many stages are adapted (docs/network.md)
PREFIX_SHARE = (1.0, 0.69, 0.5, 0.28)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneShape:
    """Sizes of a SAM ViT (TinyViT's are in tiny_vit.py). vit_b/l/h: segment_anything/build_sam.py; vit_mini
    is ours, for training from scratch on a CPU."""

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    decoder_mlp: int = DECODER_MLP


BACKBONES: dict[Backbone, BackboneShape] = {
    "vit_mini": BackboneShape(width=192, depth=6, heads=3, global_blocks=(2, 5), decoder_mlp=512),
    "vit_b": BackboneShape(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)),
    "vit_l": BackboneShape(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)),
    "vit_h": BackboneShape(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)),
}


def decoder_mlp(backbone: Backbone) -> int:
    """Hidden width of the mask decoder's MLPs."""
    return BACKBONES[backbone].decoder_mlp if backbone in BACKBONES else DECODER_MLP
