"""Sums of the loss against the same written down plainly, with autograd's own gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from balrsam_pipeline.network import loss_sums as module
from balrsam_pipeline.network.loss_sums import TargetScheme, class_sums

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
