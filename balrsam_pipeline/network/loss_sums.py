"""The sums over voxels that the training loss is a function of, without a map of all classes beside the
logits.

Written down plainly, soft Dice and cross-entropy keep eight float32 maps of all classes for backward; with
118 classes that is more than the network keeps. Gradients are known in closed form, so here only logits and
labels are kept, and both passes go through the image in bands of rows. It lies with the network because what
it takes is part of the memory of a training step, which planners count and trainers use.

Suffixes: b batch, k classes or regions, y x voxels, n foreground classes (all regions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from balrsam_pipeline.hardware import sent

BAND_VOXELS = (
    2**22
)  # logits of a sample's band: 16 MiB for each of the few float32 maps that are made of them
VOLUME_LABELS = 4  # axes of a batch of volumes' labels
BEYOND_LABELS = 2**30  # more than any label; beyond this some kernels of MPS count in doubles
ENTROPY_SUMS = 2  # of the entropy itself and of voxels that count


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetScheme:
    """How labels become targets.

    Attributes:
        classes: logit channels.
        member_kv: for regions, whether each (k) holds each label value (v), bool; None for exclusive classes.
        ignore_value: voxels of this label do not count; None where all do.
        smoothing: share of the entropy's target spread over all classes.
    """

    classes: int
    member_kv: Tensor | None = None
    ignore_value: int | None = None
    smoothing: float = 0.0


@dataclass(frozen=True, slots=True)
class _Band:
    """Some rows of a batch: float logits, bool targets, and which voxels count (None: all)."""

    logits_bkyx: Tensor
    target_bkyx: Tensor
    label_b1yx: Tensor
    valid_b1yx: Tensor | None

    def counted(self, map_bkyx: Tensor) -> Tensor:
        """A map with zeros where voxels do not count."""
        return map_bkyx if self.valid_b1yx is None else map_bkyx * self.valid_b1yx


def class_sums(logits_bkyx: Tensor, label_byx: Tensor, scheme: TargetScheme) -> Tensor:
    """Intersection, predicted and wanted volume of each foreground class (all regions), entropy, voxels that
    count; one vector, float32.

    Differentiable in the logits; nothing here waits for the device. Volumes have an axis z before y.
    """
    if label_byx.ndim == VOLUME_LABELS:  # voxels are counted whatever their order: as one tall slice
        logits_bkyx, label_byx = logits_bkyx.flatten(2, 3), label_byx.flatten(1, 2)
    sums: Tensor = _VoxelSums.apply(logits_bkyx, label_byx, scheme)  # type: ignore[no-untyped-call]
    return sums


def boundary_sums(logits_b1yx: Tensor, label_byx: Tensor, scheme: TargetScheme) -> Tensor:
    """Entropy of boundary logits, cells that count, intersection, and both sizes; one vector, float32. Of
    volumes (an axis z before y) those of their slices."""
    if label_byx.ndim == VOLUME_LABELS:
        logits_b1yx, label_byx = logits_b1yx.transpose(1, 2).flatten(0, 1), label_byx.flatten(0, 1)
    logits_b1yx = logits_b1yx.float()
    valid_b1yx = torch.ones_like(label_byx, dtype=torch.float32)[:, None]
    if scheme.ignore_value is not None:
        valid_b1yx = (label_byx != scheme.ignore_value).float()[:, None]
    target, valid = boundary_target(label_byx, valid_b1yx, (logits_b1yx.shape[-2], logits_b1yx.shape[-1]))
    entropy = functional.binary_cross_entropy_with_logits(logits_b1yx, target, reduction="none")
    probability = logits_b1yx.sigmoid() * valid
    return torch.stack(
        [
            (entropy * valid).sum(),
            valid.sum(),
            (probability * target * valid).sum(),
            probability.sum() + (target * valid).sum(),
        ]
    )


def boundary_target(label_byx: Tensor, valid_b1yx: Tensor, size_yx: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where labels change (a morphological gradient, 3 x 3), brought to `size_yx`; and which of its cells
    count.

    A cell of the coarser map is boundary where any of its voxels is. Voxels that do not count (`valid` 0) are
    no boundary, nor do they make one of their neighbours: what they are is not known.
    """
    counts_byx = valid_b1yx[:, 0] > 0
    label_byx = label_byx.int()
    largest = torch.where(counts_byx, label_byx, -1)
    smallest = torch.where(counts_byx, label_byx, BEYOND_LABELS)
    for axis in (1, 2):
        largest = _over_neighbours(largest, axis, torch.maximum)
        smallest = _over_neighbours(smallest, axis, torch.minimum)
    edge_b1yx = (largest > smallest)[:, None] * valid_b1yx
    return largest_in_cells(edge_b1yx, size_yx), largest_in_cells(valid_b1yx, size_yx)


def largest_in_cells(map_b1yx: Tensor, size_yx: tuple[int, int]) -> Tensor:
    """The largest of each cell: `adaptive_max_pool2d`, which is wrong on MPS where sizes do not divide
    (pytorch#190064)."""
    divide = all(side % cells == 0 for side, cells in zip(map_b1yx.shape[-2:], size_yx, strict=True))
    if divide or map_b1yx.device.type != "mps":
        return functional.adaptive_max_pool2d(map_b1yx, size_yx)
    return largest_gathered(map_b1yx, size_yx)


def largest_gathered(map_b1yx: Tensor, size_yx: tuple[int, int]) -> Tensor:
    """The same with voxels gathered along one axis after the other.

    Example:
        >>> largest_gathered(torch.arange(5.0).view(1, 1, 1, 5), (1, 2))
        tensor([[[[2., 4.]]]])
    """
    for axis, cells in zip((-2, -1), size_yx, strict=True):
        places = voxels_of_cells(map_b1yx.shape[axis], cells)
        gathered = map_b1yx.index_select(axis, sent(torch.from_numpy(places.ravel()), map_b1yx.device))
        map_b1yx = torch.unflatten(gathered, axis, places.shape).amax(axis)
    return map_b1yx


def voxels_of_cells(side: int, cells: int) -> npt.NDArray[np.int64]:
    """Which voxels of a side each cell covers, (cells, most of any cell), its last one repeated where it has
    fewer: cells that do not divide share voxels.

    Example:
        >>> voxels_of_cells(5, 2)
        array([[0, 1, 2],
               [2, 3, 4]])
    """
    number = np.arange(cells)
    first, last = number * side // cells, ((number + 1) * side - 1) // cells
    return np.minimum(first[:, None] + np.arange((last - first).max() + 1), last[:, None])


def _over_neighbours(map_byx: Tensor, axis: int, larger: Callable[..., Tensor]) -> Tensor:
    """The larger (or smaller) of each voxel and both its neighbours along an axis."""
    found, last = map_byx.clone(), map_byx.shape[axis] - 1
    for to, source in ((0, 1), (1, 0)):
        part = found.narrow(axis, to, last)
        larger(part, map_byx.narrow(axis, source, last), out=part)
    return found


class _VoxelSums(torch.autograd.Function):
    """The sums of the class logits. Gradients: dI/dp = t, dP/dp = 1, dE/dz = p - t, through softmax or
    sigmoid."""

    @staticmethod
    def forward(ctx: Any, logits_bkyx: Tensor, label_byx: Tensor, scheme: TargetScheme) -> Tensor:
        ctx.scheme = scheme
        ctx.save_for_backward(logits_bkyx, label_byx)
        total: Tensor | None = None
        for _, band in _bands(logits_bkyx, label_byx, scheme):
            sums = _sums_of_regions(band, scheme) if scheme.member_kv is not None else _sums(band, scheme)
            total = sums if total is None else total + sums
        if total is None:
            raise ValueError("logits without rows")
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        logits_bkyx, label_byx = ctx.saved_tensors
        scheme: TargetScheme = ctx.scheme
        of_class = _gradients_by_class(gradients[0], scheme)
        out_bkyx = torch.empty_like(logits_bkyx)
        for rows, band in _bands(logits_bkyx, label_byx, scheme):
            slope = _slope_of_regions if scheme.member_kv is not None else _slope
            out_bkyx[:, :, rows] = band.counted(slope(band, *of_class, scheme.smoothing))
        return out_bkyx, None, None


def _bands(logits_bkyx: Tensor, label_byx: Tensor, scheme: TargetScheme) -> Iterator[tuple[slice, _Band]]:
    _, k, height, width = logits_bkyx.shape
    step = max(1, BAND_VOXELS // (k * width))
    values_k11 = torch.arange(k, device=logits_bkyx.device)[:, None, None]
    for first in range(0, height, step):
        rows = slice(first, min(first + step, height))
        label_b1yx, valid_b1yx = label_byx[:, None, rows].long(), None
        if scheme.ignore_value is not None:
            valid_b1yx = label_b1yx != scheme.ignore_value
            label_b1yx = torch.where(valid_b1yx, label_b1yx, 0)
        if scheme.member_kv is None:
            target_bkyx = label_b1yx == values_k11
        else:
            target_bkyx = scheme.member_kv[:, label_b1yx[:, 0]].movedim(0, 1)
        logits = logits_bkyx[:, :, rows]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        yield rows, _Band(logits, target_bkyx, label_b1yx, valid_b1yx)


def _sums(band: _Band, scheme: TargetScheme) -> Tensor:
    """Of exclusive classes, background left out of the volumes."""
    log_bkyx = band.logits_bkyx.log_softmax(1)
    entropy_b1yx = log_bkyx.gather(1, band.label_b1yx) * (scheme.smoothing - 1)
    if scheme.smoothing:
        entropy_b1yx -= log_bkyx.sum(1, keepdim=True) * (scheme.smoothing / scheme.classes)
    return _joined(band, log_bkyx.exp_()[:, 1:], band.target_bkyx[:, 1:], entropy_b1yx)


def _sums_of_regions(band: _Band, scheme: TargetScheme) -> Tensor:
    """Of regions, which may overlap; their binary entropies are averaged."""
    logits = band.logits_bkyx
    soft = torch.where(band.target_bkyx, 1 - scheme.smoothing / 2, scheme.smoothing / 2)
    entropy_b1yx = (functional.softplus(logits) - logits * soft).mean(1, keepdim=True)
    return _joined(band, logits.sigmoid(), band.target_bkyx, entropy_b1yx)


def _joined(band: _Band, probability_bnyx: Tensor, target_bnyx: Tensor, entropy_b1yx: Tensor) -> Tensor:
    axes = (0, 2, 3)
    probability_bnyx = band.counted(probability_bnyx)
    predicted, wanted = probability_bnyx.sum(axes), band.counted(target_bnyx).to(probability_bnyx.dtype)
    valid = torch.ones_like(entropy_b1yx)
    return torch.cat(
        [
            probability_bnyx.mul_(wanted).sum(axes),
            predicted,
            wanted.sum(axes),
            torch.stack([band.counted(entropy_b1yx).sum(), band.counted(valid).sum()]),
        ]
    )


def _gradients_by_class(gradient: Tensor, scheme: TargetScheme) -> tuple[Tensor, Tensor, Tensor]:
    """What the loss gains from each class's intersection and predicted volume, (k, 1, 1), 0 for background,
    and from the entropy."""
    background = int(scheme.member_kv is None)
    foreground = scheme.classes - background
    intersection, predicted = (
        functional.pad(part, (background, 0))[:, None, None] for part in gradient[: 2 * foreground].chunk(2)
    )
    return intersection, predicted, gradient[3 * foreground]


def _slope(
    band: _Band, intersection_k11: Tensor, predicted_k11: Tensor, entropy: Tensor, smoothing: float
) -> Tensor:
    probability, target = band.logits_bkyx.softmax(1), band.target_bkyx
    of_probability = torch.where(target, predicted_k11 + intersection_k11, predicted_k11)
    mean = (of_probability * probability).sum(1, keepdim=True)
    slope = probability.mul_(of_probability.sub_(mean - entropy))
    slope -= torch.where(target, entropy * (1 - smoothing), 0)
    if smoothing:
        slope -= entropy * smoothing / target.shape[1]
    return slope


def _slope_of_regions(
    band: _Band, intersection_k11: Tensor, predicted_k11: Tensor, entropy: Tensor, smoothing: float
) -> Tensor:
    probability, target = band.logits_bkyx.sigmoid(), band.target_bkyx
    of_probability = torch.where(target, predicted_k11 + intersection_k11, predicted_k11)
    of_probability = of_probability * probability * (1 - probability)
    soft = torch.where(target, 1 - smoothing / 2, smoothing / 2)
    return of_probability + (probability - soft) * (entropy / target.shape[1])
