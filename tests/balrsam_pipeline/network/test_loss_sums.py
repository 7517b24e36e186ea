"""Sums of the loss against the same written down plainly, with autograd's own gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.apple import OnApple, PlayedApple
from torch import Tensor
from torch.nn import functional

from balrsam_pipeline.network import loss_sums as module
from balrsam_pipeline.network.loss_sums import TargetScheme, boundary_target, class_sums, largest_gathered

MEMBER = torch.tensor([[False, True, True], [False, False, True]])
SCHEMES = {
    "two classes": TargetScheme(classes=2),
    "many classes": TargetScheme(classes=118),
    "ignored voxels": TargetScheme(classes=4, ignore_value=4),
    "smoothed": TargetScheme(classes=3, smoothing=0.1, ignore_value=3),
    "regions": TargetScheme(classes=2, member_kv=MEMBER),
    "smoothed regions": TargetScheme(classes=2, member_kv=MEMBER, smoothing=0.2, ignore_value=3),
}


def plain(logits: Tensor, label: Tensor, scheme: TargetScheme) -> Tensor:
    """One-hot targets, softmax or sigmoid, products and sums."""
    valid = torch.ones_like(label, dtype=torch.float64)[:, None]
    if scheme.ignore_value is not None:
        valid = (label != scheme.ignore_value).double()[:, None]
        label = torch.where(label != scheme.ignore_value, label, 0)
    if scheme.member_kv is None:
        target = functional.one_hot(label.long(), scheme.classes).movedim(-1, 1).double()
        soft = target * (1 - scheme.smoothing) + scheme.smoothing / scheme.classes
        entropy = -(soft * logits.log_softmax(1)).sum(1, keepdim=True)
        probability, target = logits.softmax(1)[:, 1:], target[:, 1:]
    else:
        target = scheme.member_kv[:, label.long()].movedim(0, 1).double()
        soft = target * (1 - scheme.smoothing) + scheme.smoothing / 2
        entropy = functional.binary_cross_entropy_with_logits(logits, soft, reduction="none")
        entropy = entropy.mean(1, keepdim=True)
        probability = logits.sigmoid()
    axes = (0, 2, 3)
    sums = [
        (probability * target * valid).sum(axes),
        (probability * valid).sum(axes),
        (target * valid).sum(axes),
    ]
    return torch.cat([*sums, torch.stack([(entropy * valid).sum(), valid.sum()])])


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("band_voxels", [2**22, 100])
def test_values_and_gradients_are_those_of_the_plain_form(
    name: str, band_voxels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BAND_VOXELS", band_voxels)
    scheme, generator = SCHEMES[name], torch.Generator().manual_seed(0)
    values = scheme.classes if scheme.member_kv is None else 3
    values += scheme.ignore_value is not None
    label = torch.randint(values, (2, 7, 5), generator=generator).short()
    logits = torch.randn(2, scheme.classes, 7, 5, generator=generator, dtype=torch.float64).requires_grad_()
    ours, expected = class_sums(logits, label, scheme), plain(logits, label, scheme)
    torch.testing.assert_close(ours, expected)
    weights = torch.randn(len(expected), generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((ours * weights).sum(), logits)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), logits)
    torch.testing.assert_close(gradient, wanted)


def test_half_precision_logits_are_summed_in_float32_and_get_their_own_type_of_gradient() -> None:
    logits = torch.randn(1, 2, 8, 8).bfloat16().requires_grad_()
    sums = class_sums(logits, torch.zeros(1, 8, 8, dtype=torch.int16), SCHEMES["two classes"])
    sums.sum().backward()
    assert sums.dtype == torch.float32
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16


def test_nothing_of_the_size_of_all_classes_is_kept_but_the_logits() -> None:
    logits, kept = torch.randn(1, 118, 32, 32, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        class_sums(logits, torch.zeros(1, 32, 32, dtype=torch.int16), SCHEMES["many classes"])
    large = {x.untyped_storage().data_ptr() for x in kept if x.numel() >= logits.numel()}
    assert large == {logits.untyped_storage().data_ptr()}


@given(
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    cells=st.tuples(st.integers(1, 45), st.integers(1, 45)),
    seed=st.integers(0, 99),
)
def test_cells_of_any_size_hold_the_largest_of_their_voxels(
    sides: tuple[int, int], cells: tuple[int, int], seed: int
) -> None:
    maps = torch.randn(2, 1, *sides, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(largest_gathered(maps, cells), functional.adaptive_max_pool2d(maps, cells))


def test_the_pooling_that_is_wrong_on_mps_is_not_asked_for_where_sizes_do_not_divide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """pytorch#190064"""
    label, valid = torch.randint(3, (2, 8, 12)), torch.ones(2, 1, 8, 12)
    sizes, pool, asked = ((4, 6), (5, 6), (4, 5)), functional.adaptive_max_pool2d, set()
    expected = [boundary_target(label, valid, cells)[0] for cells in sizes]

    def noted(maps: Tensor, size_yx: tuple[int, int], **options: bool) -> Tensor:
        asked.add(size_yx)
        return pool(maps, size_yx, **options)

    monkeypatch.setattr(functional, "adaptive_max_pool2d", noted)
    with PlayedApple():
        found = [boundary_target(label, valid.as_subclass(OnApple), cells)[0] for cells in sizes]
    assert asked == {(4, 6)}
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.as_subclass(Tensor), other)
