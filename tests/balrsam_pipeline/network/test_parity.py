"""At initialisation the network is SAM: stock segment_anything is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.network import build
from balrsam_pipeline.network.stock_sam import sam_modeling, stock_sam
from balrsam_pipeline.plan import Backbone, NetworkPlan

MakeCheckpoint = Callable[[Backbone], tuple[nn.Module, Path]]


def stock_masks(sam: nn.Module, embedding: Tensor) -> Tensor:
    """All four masks of stock SAM with no prompt at all."""
    sparse, dense = sam.prompt_encoder(None, None, None)
    masks, _ = sam.mask_decoder.predict_masks(
        image_embeddings=embedding,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )
    return masks


@pytest.mark.parametrize(
    "backbone",
    [
        "vit_mini",
        pytest.param("vit_b", marks=pytest.mark.slow),
        pytest.param("vit_l", marks=pytest.mark.slow),
        pytest.param("vit_h", marks=pytest.mark.slow),
    ],
)
def test_embedding_and_masks_equal_stock_sam_at_1024(
    backbone: Backbone, make_checkpoint: MakeCheckpoint, make_plan: Callable[..., NetworkPlan]
) -> None:
    sam, path = make_checkpoint(backbone)
    model = build(make_plan(backbone=backbone, input_size=(1024, 1024)), path).eval()
    image = torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = sam.image_encoder(image)
        embedding, details, _ = model.embed(image)
        torch.testing.assert_close(embedding, expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(
            model.mask_decoder(embedding, details), stock_masks(sam, expected), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize(("backbone", "side"), [("vit_mini", 448), ("vit_b", 320)])
def test_embedding_and_masks_at_other_sizes_equal_stock_with_interpolated_tables(
    backbone: Backbone, side: int, make_checkpoint: MakeCheckpoint, make_plan: Callable[..., NetworkPlan]
) -> None:
    """20 tokens a side, which windows of 14 do not divide, with the real widths, depth and heads of vit_b."""
    sam, path = make_checkpoint(backbone)
    small, grid = stock_sam(backbone, image_size=side), side // 16
    tensors = {}
    for name, tensor in sam.state_dict().items():
        if name.endswith("pos_embed"):
            tensor = functional.interpolate(tensor.movedim(-1, 1), size=(grid, grid), mode="bicubic").movedim(
                1, -1
            )
        elif "rel_pos_" in name and tensor.shape[0] == 127:
            tensor = functional.interpolate(tensor.T[None], size=2 * grid - 1, mode="linear")[0].T
        tensors[name] = tensor
    small.load_state_dict(tensors)
    model = build(make_plan(backbone=backbone, input_size=(side, side)), path).eval()
    image = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = small.image_encoder(image)
        embedding, details, _ = model.embed(image)
        torch.testing.assert_close(embedding, expected, atol=1e-4, rtol=0)
        masks = model.mask_decoder(embedding, details)
        torch.testing.assert_close(masks[:1], stock_masks(small, expected[:1]), atol=1e-4, rtol=0)


def test_masks_of_a_grid_that_pads_equal_stock(make_plan: Callable[..., NetworkPlan], tmp_path: Path) -> None:
    sam = stock_sam("vit_mini")
    path = tmp_path / "sam.pth"
    torch.save(
        sam.state_dict(), path
    )  # tables are zero here, so stock at another size needs no interpolation but of pos_embed
    small = stock_sam("vit_mini", image_size=320)
    tensors = {
        name: small.state_dict()[name] if "rel_pos_" in name or name.endswith("pos_embed") else tensor
        for name, tensor in sam.state_dict().items()
    }
    small.load_state_dict(tensors)
    image = torch.randn(1, 3, 320, 320)
    for form in ("per_class", "shared"):
        model = build(make_plan(input_size=(320, 320), hypernetworks=form), path).eval()
        with torch.no_grad():
            expected = stock_masks(small, small.image_encoder(image))
            embedding, details, _ = model.embed(image)
            torch.testing.assert_close(model.mask_decoder(embedding, details), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("classes", [2, 4, 6, 13])
def test_shared_hypernetworks_start_as_those_of_each_class(
    classes: int, make_checkpoint: MakeCheckpoint, make_plan: Callable[..., NetworkPlan]
) -> None:
    path, image = make_checkpoint("vit_mini")[1], torch.randn(1, 3, 64, 64)
    masks = []
    for form in ("per_class", "shared"):
        model = build(make_plan(input_size=(64, 64), classes=classes, hypernetworks=form), path).eval()
        with torch.no_grad():
            masks.append(model(image))
    torch.testing.assert_close(masks[1], masks[0], atol=1e-5, rtol=1e-5)


def test_gradients_of_the_augmented_attention_equal_stock() -> None:
    from balrsam_pipeline.network.attention import Attention, one_hot_positions

    torch.manual_seed(0)
    sam_modeling()
    from segment_anything.modeling.image_encoder import Attention as StockAttention

    stock = StockAttention(96, num_heads=3, use_rel_pos=True, input_size=(14, 9))
    nn.init.normal_(stock.rel_pos_h, std=0.3)
    nn.init.normal_(stock.rel_pos_w, std=0.3)
    ours = Attention(96, 3, (14, 9))
    ours.load_state_dict(stock.state_dict())
    inputs = [torch.randn(2, 14, 9, 96).requires_grad_() for _ in range(1)] * 2
    weight = torch.randn(2, 14, 9, 96)
    results = []
    for module, call in ((stock, lambda x: stock(x)), (ours, lambda x: ours(x, one_hot_positions((14, 9))))):
        inputs[0].grad = None
        out = call(inputs[0])
        (out * weight).sum().backward()
        results.append(
            {
                "out": out.detach(),
                "input": inputs[0].grad,
                **{name: p.grad for name, p in module.named_parameters()},
            }
        )
    assert results[0].keys() == results[1].keys()
    for name in results[0]:
        torch.testing.assert_close(results[1][name], results[0][name], atol=1e-4, rtol=1e-4, msg=name)


def test_importing_the_network_leaves_the_whole_segment_anything_package_alone() -> None:
    import sys

    sam_modeling()
    assert "segment_anything.modeling" in sys.modules
    assert getattr(sys.modules.get("segment_anything"), "__file__", "real") is not None, (
        "an empty parent package was left behind"
    )
