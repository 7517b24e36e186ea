"""SAM as Meta published it: its building functions imported without torchvision.

`segment_anything/__init__.py` imports torchvision for its predictor, which we do not use. Importing
`segment_anything.modeling` alone needs a parent package in `sys.modules`; ours is an empty module with the
right `__path__`, there during the import only.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.network.backbone_shapes import BACKBONES, PATCH
from balrsam_pipeline.plan import Backbone

WINDOW = 14  # tokens per window side
SAM_GRID = 64  # tokens per side at SAM's own input size, 1024
EMBEDDING = 256  # channels of the image embedding and of the mask decoder
MASK_TOKENS = 4  # SAM's own: one single-mask token and three for ambiguity


@contextmanager
def _parent_package() -> Iterator[None]:
    """Let `import segment_anything.modeling` find a parent package that imports nothing."""
    if "segment_anything" in sys.modules:
        yield
        return
    spec = importlib.util.find_spec("segment_anything")
    if spec is None or spec.submodule_search_locations is None:
        raise UsageError(
            "package segment_anything",
            found="not installed",
            expected="segment-anything 1.0, which holds SAM's network",
            fix="pip install segment-anything",
        )
    parent = types.ModuleType("segment_anything")
    parent.__path__ = list(spec.submodule_search_locations)
    parent.__spec__ = spec
    sys.modules["segment_anything"] = parent
    try:
        yield
    finally:
        del sys.modules["segment_anything"]  # whoever imports the whole package later gets the whole package


@cache
def sam_modeling() -> Any:
    """The module `segment_anything.modeling`: Sam, ImageEncoderViT, MaskDecoder, PromptEncoder,
    TwoWayTransformer."""
    with _parent_package():
        return importlib.import_module("segment_anything.modeling")


def stock_sam(backbone: Backbone, image_size: int = SAM_GRID * PATCH) -> nn.Module:
    """Stock SAM, as `segment_anything.build_sam` makes it, with random weights; the oracle of parity tests
    and benchmarks.

    Args:
        image_size: side of the square input in pixels; 1024 is what checkpoints are made for.
    """
    shape, modeling = BACKBONES[backbone], sam_modeling()
    grid = image_size // PATCH
    encoder = modeling.ImageEncoderViT(
        depth=shape.depth,
        embed_dim=shape.width,
        img_size=image_size,
        mlp_ratio=4,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=shape.heads,
        patch_size=PATCH,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=shape.global_blocks,
        window_size=WINDOW,
        out_chans=EMBEDDING,
    )
    prompts = modeling.PromptEncoder(
        embed_dim=EMBEDDING,
        image_embedding_size=(grid, grid),
        input_image_size=(image_size, image_size),
        mask_in_chans=16,
    )
    transformer = modeling.TwoWayTransformer(
        depth=2, embedding_dim=EMBEDDING, mlp_dim=shape.decoder_mlp, num_heads=8
    )
    decoder = modeling.MaskDecoder(
        num_multimask_outputs=MASK_TOKENS - 1,
        transformer=transformer,
        transformer_dim=EMBEDDING,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )
    sam: nn.Module = modeling.Sam(image_encoder=encoder, prompt_encoder=prompts, mask_decoder=decoder)
    return sam.train(False)


@cache
def stock_shapes(backbone: Backbone) -> dict[str, tuple[int, ...]]:
    """Every key of a SAM checkpoint of this backbone and its shape; allocates nothing."""
    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in stock_sam(backbone).state_dict().items()}
