from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.network.loss_sums import boundary_target
from trainers import losses
from trainers.config import LossConfig
from trainers.losses import SegmentationLoss, one_hot, region_target

CLASSES = LabelScheme(
    names=("a", "b"), values=((1,), (2,)), has_regions=False, region_order=(), ignore_value=None, largest=2
)
IGNORING = LabelScheme(
    names=("a", "b"), values=((1,), (2,)), has_regions=False, region_order=(), ignore_value=3, largest=2
)
REGIONS = LabelScheme(
    names=("whole", "core"),
    values=((1, 2), (2,)),
    has_regions=True,
    region_order=(1, 2),
    ignore_value=3,
    largest=2,
)


def example(seed=0):
    torch.manual_seed(seed)
    return torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))


def test_cross_entropy_equals_torchs():
    logits, label = example()
    parts = SegmentationLoss(CLASSES, LossConfig())(logits, None, label).parts
    assert parts["cross_entropy"].item() == pytest.approx(
        torch.nn.functional.cross_entropy(logits, label).item(), abs=1e-6
    )


def test_label_smoothing_equals_torchs():
    logits, label = example()
    parts = SegmentationLoss(CLASSES, LossConfig(label_smoothing=0.1))(logits, None, label).parts
    expected = torch.nn.functional.cross_entropy(logits, label, label_smoothing=0.1)
    assert parts["cross_entropy"].item() == pytest.approx(expected.item(), abs=1e-6)


def test_dice_of_hard_probabilities_is_the_overlap_of_sets():
    _, label = example()
    predicted = torch.roll(label, 1, dims=2)
    parts = SegmentationLoss(CLASSES, LossConfig())(one_hot(predicted, 3) * 200 - 100, None, label).parts
    dices = [
        2 * ((predicted == k) & (label == k)).sum() / ((predicted == k).sum() + (label == k).sum())
        for k in (1, 2)
    ]
    assert parts["dice"].item() == pytest.approx(1 - float(sum(dices)) / 2, abs=1e-5)


def test_sums_of_the_boundary_are_never_taken_for_those_of_a_level_of_masks(monkeypatch):
    """With one label a level of masks has five sums: a boundary of five was one more level, silently."""
    one = replace(CLASSES, names=("a",), values=((1,),), largest=1)
    logits, label = torch.randn(2, 2, 8, 8), torch.randint(0, 2, (2, 8, 8))
    monkeypatch.setattr(losses, "boundary_sums", lambda *_: torch.ones(5))
    with pytest.raises(ValueError, match="unpack"):
        SegmentationLoss(one, LossConfig())(logits, torch.randn(2, 1, 2, 2), label)


def test_a_perfect_prediction_costs_nothing():
    _, label = example()
    value = SegmentationLoss(CLASSES, LossConfig())(one_hot(label, 3) * 200 - 100, None, label)
    assert value.total.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("labels", [IGNORING, REGIONS])
def test_ignored_voxels_change_neither_loss_nor_gradient(labels):
    channels = labels.classes
    torch.manual_seed(0)
    logits = torch.randn(2, channels, 8, 8)
    label = torch.randint(0, 3, (2, 8, 8))
    label[:, :3] = 3
    other = logits.clone()
    other[:, :, :3] = torch.randn(2, channels, 3, 8)
    logits.requires_grad_()
    loss = SegmentationLoss(labels, LossConfig())
    value = loss(logits, None, label).total
    assert value.item() == pytest.approx(loss(other, None, label).total.item(), abs=1e-6)
    (gradient,) = torch.autograd.grad(value, logits)
    assert gradient[:, :, :3].abs().max() == 0
    assert gradient[:, :, 3:].abs().max() > 0


def test_region_targets_overlap_as_the_regions_do():
    label = torch.tensor([[[0, 1, 2]]])
    assert region_target(label, REGIONS).tolist() == [[[[0, 1, 1]], [[0, 0, 1]]]]


def test_the_boundary_target_is_the_morphological_gradient():
    label = torch.zeros(1, 12, 12, dtype=torch.long)
    label[0, 3:9, 4:10] = 1
    edge, valid = boundary_target(label, torch.ones(1, 1, 12, 12), (12, 12))
    expected = ndimage.morphological_gradient(label[0].numpy(), size=3, mode="nearest")
    np.testing.assert_array_equal(edge[0, 0].numpy(), expected)
    assert valid.min() == 1
    coarse, _ = boundary_target(label, torch.ones(1, 1, 12, 12), (6, 6))
    np.testing.assert_array_equal(coarse[0, 0].numpy(), expected.reshape(6, 2, 6, 2).max((1, 3)))


def edges_by_hand(label_yx, ignored):
    """Voxels that count, with two labels that count among them and their eight neighbours."""
    edge = np.zeros(label_yx.shape, bool)
    for y, x in np.argwhere(label_yx != ignored):
        around = label_yx[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        edge[y, x] = len(set(around[around != ignored])) > 1
    return edge


def scribbles(shape, seed=0):
    """Labels 0 to 2 in blocks, three quarters of them ignored (3)."""
    rng = np.random.default_rng(seed)
    label = np.kron(rng.integers(0, 3, [size // 2 for size in shape]), np.ones([2] * len(shape), int))
    label[rng.random(shape) < 0.75] = 3
    return label


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_where_voxels_are_ignored_there_is_no_boundary_nor_beside_them(dtype):
    label = scribbles((12, 16))
    edge = edges_by_hand(label, 3)
    assert edge.any()
    assert not edge[label == 3].any()
    given = torch.from_numpy(label)[None].to(dtype)
    found, valid = boundary_target(given, (given != 3).float()[:, None], (12, 16))
    np.testing.assert_array_equal(found[0, 0].numpy(), edge)
    np.testing.assert_array_equal(valid[0, 0].numpy(), label != 3)
    coarse, counted = boundary_target(given, (given != 3).float()[:, None], (3, 4))
    np.testing.assert_array_equal(coarse[0, 0].numpy(), edge.reshape(3, 4, 4, 4).max((1, 3)))
    np.testing.assert_array_equal(counted[0, 0].numpy(), (label != 3).reshape(3, 4, 4, 4).max((1, 3)))


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 4, 8, 8)])
def test_the_boundary_loss_of_scribbles_alone_asks_for_no_boundary(shape):
    """One label here, another there, all between them ignored; in slices and in stacks of them."""
    label = torch.full(shape, 3)
    label[..., 1:3, 1:7], label[..., 5:7, 1:7] = 0, 1
    boundary = torch.zeros(shape[0], 1, *shape[1:], requires_grad=True)
    logits = torch.zeros(shape[0], 3, *shape[1:])
    (gradient,) = torch.autograd.grad(
        SegmentationLoss(IGNORING, LossConfig())(logits, boundary, label).total, boundary
    )
    assert (gradient[:, 0][label != 3] > 0).all()
    assert (gradient[:, 0][label == 3] == 0).all()


def test_sums_over_two_halves_give_the_loss_and_gradient_of_the_whole_batch():
    logits, label = example()
    boundary = torch.randn(2, 1, 4, 4)
    label[1, :5] = 3  # an uneven share of ignored voxels
    logits.requires_grad_()
    whole = SegmentationLoss(IGNORING, LossConfig())(logits, boundary, label).total
    (expected,) = torch.autograd.grad(whole, logits)
    sums = []
    for half in (0, 1):
        SegmentationLoss(IGNORING, LossConfig(), lambda s: sums.append(s) or s)(
            logits[half : half + 1], boundary[half : half + 1], label[half : half + 1]
        )
    both = SegmentationLoss(IGNORING, LossConfig(), lambda s: sums[0] + sums[1])(
        logits[:1], boundary[:1], label[:1]
    ).total
    (gradient,) = torch.autograd.grad(both, logits)
    assert both.item() == pytest.approx(whole.item(), abs=1e-6)
    torch.testing.assert_close(gradient, expected)


def test_coarser_logits_add_the_loss_against_thinned_labels():
    logits, label = example()
    boundary = torch.randn(2, 1, 4, 4)
    coarser = [torch.randn(2, 3, size, size) for size in (4, 2)]
    loss = SegmentationLoss(CLASSES, LossConfig())
    fine = loss(logits, boundary, label).total
    thinned = [label[:, step // 2 :: step, step // 2 :: step] for step in (2, 4)]
    expected = fine + sum(
        0.4**level * loss(each, None, own).total
        for level, (each, own) in enumerate(zip(coarser, thinned, strict=True), start=1)
    )
    torch.testing.assert_close(loss(logits, boundary, label, coarser).total, expected)


def test_the_loss_of_a_volume_is_that_of_its_slices_side_by_side():
    logits, label = torch.randn(2, 3, 4, 6, 5), torch.randint(0, 3, (2, 4, 6, 5))
    loss = SegmentationLoss(CLASSES, LossConfig())
    tall = loss(logits.flatten(2, 3), None, label.flatten(1, 2)).total
    torch.testing.assert_close(loss(logits, None, label).total, tall)


def test_coarser_logits_of_a_volume_are_compared_with_thinned_labels():
    logits, label = torch.randn(2, 3, 4, 8, 8), torch.randint(0, 3, (2, 4, 8, 8))
    coarser = torch.randn(2, 3, 4, 4, 4)  # slices far apart are not pooled
    loss = SegmentationLoss(CLASSES, LossConfig())
    expected = loss(logits, None, label).total + 0.4 * loss(coarser, None, label[:, :, 1::2, 1::2]).total
    torch.testing.assert_close(loss(logits, None, label, [coarser]).total, expected)
