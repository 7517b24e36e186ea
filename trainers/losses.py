"""Soft Dice, cross-entropy (regions: binary) and a boundary loss, computed from sums so that several
processes share one loss.

Every loss here is a function of a few sums over the batch. Adding those sums over ranks before the division
gives exactly the loss of one process with the whole batch, whatever share each rank holds.

Suffixes: `logits_bkyx`, `target_bkyx` one channel per class or region, `label_byx` integer labels,
`valid_b1yx` 1 where a voxel counts. Batches of volumes have an axis z before y, throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from balrsam_pipeline.dataset import LabelScheme
from trainers.config import LossConfig

_ENTROPY_SUMS = 2  # of the entropy itself and of voxels that count
VOLUME_LABELS = 4  # axes of a batch of volumes' labels
COARSER_WEIGHT = 0.4  # of each level of masks against the next finer one
SMOOTH = 1e-5  # nnU-Net's; keeps a class absent from the batch from dividing by 0
Reduce = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class LossValue:
    """The loss to minimise and its parts, unweighted, for the log."""

    total: Tensor
    parts: dict[str, Tensor]


class SegmentationLoss:
    """The training loss of one label scheme.

    Args:
        labels: decides between exclusive classes (softmax) and regions (sigmoid), and which voxels are
            ignored.
        reduce: adds a vector of sums over ranks, differentiably; None in a single process.
    """

    def __init__(self, labels: LabelScheme, config: LossConfig, reduce: Reduce | None = None) -> None:
        self._labels, self._config, self._reduce = labels, config, reduce

    def __call__(
        self,
        logits_bkyx: Tensor,
        boundary_logits_b1yx: Tensor | None,
        label_byx: Tensor,
        coarser_logits: Sequence[Tensor] = (),
    ) -> LossValue:
        """The loss of one batch; sums are taken in fp32 whatever the precision of the logits.

        Args:
            coarser_logits: (b, k, ·, ·) at coarser strides, finest first; compared with every so many-th
                label.
        """
        return self.of_sums(self.sums(logits_bkyx, boundary_logits_b1yx, label_byx, coarser_logits))

    def sums(
        self,
        logits_bkyx: Tensor,
        boundary_logits_b1yx: Tensor | None,
        label_byx: Tensor,
        coarser_logits: Sequence[Tensor] = (),
    ) -> Tensor:
        """The sums that the loss of these samples is a function of, in one vector; those of several batches
        add up."""
        sums = [self._overlap_and_entropy(logits_bkyx, label_byx)]
        for coarser_bkyx in coarser_logits:
            sums.append(self._overlap_and_entropy(coarser_bkyx, _thinned(label_byx, coarser_bkyx)))
        if boundary_logits_b1yx is not None:
            valid_b1yx = self._valid(label_byx)
            label_byx = torch.where(valid_b1yx[:, 0] > 0, label_byx.long(), 0)
            sums.append(_boundary_sums(boundary_logits_b1yx.float(), label_byx, valid_b1yx))
        return torch.cat(sums)

    def _overlap_and_entropy(self, logits_bkyx: Tensor, label_byx: Tensor) -> Tensor:
        """Overlaps of every label, and the entropy's sums, at the size of logits and label."""
        if label_byx.ndim == VOLUME_LABELS:  # voxels are counted whatever their order: as one tall slice
            logits_bkyx, label_byx = logits_bkyx.flatten(2, 3), label_byx.flatten(1, 2)
        valid_b1yx = self._valid(label_byx)
        label_byx = label_byx.long()
        label_byx = torch.where(valid_b1yx[:, 0] > 0, label_byx, torch.zeros_like(label_byx))
        logits_bkyx = logits_bkyx.float()
        regions = self._labels.has_regions
        target_bkyx = (
            region_target(label_byx, self._labels) if regions else one_hot(label_byx, self._labels.classes)
        )
        return torch.cat(
            [
                *_overlap_sums(logits_bkyx, target_bkyx, valid_b1yx, regions),
                self._entropy_sums(logits_bkyx, target_bkyx, valid_b1yx),
            ]
        )

    def of_sums(self, sums: Tensor) -> LossValue:
        """The loss whose sums (added over ranks where there are several) these are."""
        sums = sums if self._reduce is None else self._reduce(sums)
        labels = len(self._labels.names) if self._labels.has_regions else self._labels.classes - 1
        per_level = 3 * labels + _ENTROPY_SUMS  # more than the boundary's sums
        levels, boundary_sums = divmod(len(sums), per_level)
        parts = self._parts(sums[:per_level], labels)
        total = self._weighted(parts)
        for level in range(1, levels):
            coarser = self._parts(sums[level * per_level : (level + 1) * per_level], labels)
            total = total + COARSER_WEIGHT**level * self._weighted(coarser)
        if boundary_sums:
            entropy_sum, count, both, either = sums[-boundary_sums:]
            parts["boundary"] = entropy_sum / count.clamp_min(1) + 1 - (2 * both + SMOOTH) / (either + SMOOTH)
            total = total + self._config.boundary * parts["boundary"]
        return LossValue(total, {name: value.detach() for name, value in parts.items()})

    def _parts(self, sums: Tensor, labels: int) -> dict[str, Tensor]:
        intersection, predicted, wanted, entropy = torch.split(sums, [labels, labels, labels, _ENTROPY_SUMS])
        return {
            "dice": 1 - ((2 * intersection + SMOOTH) / (predicted + wanted + SMOOTH)).mean(),
            "cross_entropy": entropy[0] / entropy[1].clamp_min(1),
        }

    def _weighted(self, parts: dict[str, Tensor]) -> Tensor:
        return self._config.dice * parts["dice"] + self._config.cross_entropy * parts["cross_entropy"]

    def _valid(self, label_byx: Tensor) -> Tensor:
        if self._labels.ignore_value is None:
            return torch.ones_like(label_byx, dtype=torch.float32)[:, None]
        return (label_byx != self._labels.ignore_value).float()[:, None]

    def _entropy_sums(self, logits_bkyx: Tensor, target_bkyx: Tensor, valid_b1yx: Tensor) -> Tensor:
        smoothing = self._config.label_smoothing
        if self._labels.has_regions:
            soft = target_bkyx * (1 - smoothing) + smoothing / 2
            entropy = functional.binary_cross_entropy_with_logits(logits_bkyx, soft, reduction="none").mean(
                1, keepdim=True
            )
        else:
            soft = target_bkyx * (1 - smoothing) + smoothing / target_bkyx.shape[1]
            entropy = -(soft * logits_bkyx.log_softmax(1)).sum(1, keepdim=True)
        return torch.stack([(entropy * valid_b1yx).sum(), valid_b1yx.sum()])


def _thinned(label_byx: Tensor, logits_bkyx: Tensor) -> Tensor:
    """Labels at the size of coarser logits: those in the middle of each cell."""
    size = list(logits_bkyx.shape[2:])
    thinned = functional.interpolate(label_byx[:, None].float(), size=size, mode="nearest-exact")
    return thinned[:, 0].to(label_byx.dtype)


def one_hot(label_byx: Tensor, classes: int) -> Tensor:
    """Labels (B, …) to float channels (B, classes, …), background first."""
    return torch.zeros(label_byx.shape[0], classes, *label_byx.shape[1:], device=label_byx.device).scatter_(
        1, label_byx[:, None], 1.0
    )


def region_target(label_byx: Tensor, labels: LabelScheme) -> Tensor:
    """Labels (B, …) to one float channel per region (B, regions, …); regions may overlap."""
    member = torch.zeros(len(labels.names), labels.largest + 1, device=label_byx.device)
    for channel, values in enumerate(labels.values):
        member[channel, list(values)] = 1.0
    return member[:, label_byx].movedim(0, 1).contiguous()


def boundary_target(label_byx: Tensor, valid_b1yx: Tensor, size_yx: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where labels change (a morphological gradient, 3 x 3), brought to `size_yx`; and which of its cells
    count.

    A cell of the coarser map is boundary where any of its voxels is.
    """
    label = label_byx[:, None].float()
    padded = functional.pad(label, (1, 1, 1, 1), mode="replicate")
    gradient = functional.max_pool2d(padded, 3, 1) + functional.max_pool2d(-padded, 3, 1)
    edge = (gradient > 0).float() * valid_b1yx
    return functional.adaptive_max_pool2d(edge, size_yx), functional.adaptive_max_pool2d(valid_b1yx, size_yx)


def _overlap_sums(
    logits_bkyx: Tensor, target_bkyx: Tensor, valid_b1yx: Tensor, regions: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Soft intersection and the two sizes of every class, over the whole batch (batch Dice), background left
    out."""
    probability = logits_bkyx.sigmoid() if regions else logits_bkyx.softmax(1)[:, 1:]
    target = (target_bkyx if regions else target_bkyx[:, 1:]) * valid_b1yx
    probability = probability * valid_b1yx
    axes = (0, 2, 3)
    return (probability * target).sum(axes), probability.sum(axes), target.sum(axes)


def _boundary_sums(logits_b1yx: Tensor, label_byx: Tensor, valid_b1yx: Tensor) -> Tensor:
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
