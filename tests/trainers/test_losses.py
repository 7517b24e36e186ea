from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.network.loss_sums import boundary_target
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
