"""Soft Dice, cross-entropy (regions: binary) and a boundary loss, computed from sums so that several
processes share one loss.

Every loss here is a function of a few sums over the batch. Adding those sums over ranks before the division
gives exactly the loss of one process with the whole batch, whatever share each rank holds.

What those sums are, and how little memory they take, is in `balrsam_pipeline/network/loss_sums.py`.

Suffixes: `logits_bkyx` one channel per class or region, `label_byx` integer labels. Batches of volumes have
an axis z before y, throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from balrsam_pipeline.dataset import LabelScheme
from balrsam_pipeline.network import ENTROPY_SUMS, TargetScheme, boundary_sums, class_sums
from trainers.config import LossConfig
from trainers.own_loss import SUMS as OWN_SUMS
from trainers.own_loss import load_own_loss, of_own_sums, own_sums

COARSER_WEIGHT = 0.4  # of each level of masks against the next finer one
SMOOTH = 1e-5  # nnU-Net's; keeps a class absent from the batch from dividing by 0
Reduce = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class LossValue:
    """The loss to minimise and its parts, unweighted, for the log."""

    total: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class LossSums:
    """What the loss of some samples is a function of.

    Attributes:
        vector: sums of each level of masks, finest first, of the boundary, and of a loss of the user's own;
            those of several batches or ranks add up.
        levels: of masks.
        boundary: how many of the sums are the boundary's; 0 without one.
    """

    vector: Tensor
    levels: int
    boundary: int


class SegmentationLoss:
    """The training loss of one label scheme.

    Args:
        labels: decides between exclusive classes (softmax) and regions (sigmoid), and which voxels are
            ignored.
        reduce: adds a vector of sums over ranks, differentiably; None in a single process.
    """

    def __init__(self, labels: LabelScheme, config: LossConfig, reduce: Reduce | None = None) -> None:
        self._labels, self._config, self._reduce = labels, config, reduce
        self._scheme: TargetScheme | None = None
        self._own = load_own_loss(config.extension)

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
    ) -> LossSums:
        """The sums that the loss of these samples is a function of."""
        scheme = self._scheme_on(logits_bkyx.device)
        sums = [class_sums(logits_bkyx, label_byx, scheme)]
        for coarser_bkyx in coarser_logits:
            sums.append(class_sums(coarser_bkyx, _thinned(label_byx, coarser_bkyx), scheme))
        levels, boundary = len(sums), 0
        if boundary_logits_b1yx is not None:
            sums.append(boundary_sums(boundary_logits_b1yx, label_byx, scheme))
            boundary = len(sums[-1])
        if self._own is not None:
            name = self._config.extension
            sums.append(own_sums(self._own, name, logits_bkyx, label_byx, self._labels))
        return LossSums(torch.cat(sums), levels, boundary)

    def of_sums(self, sums: LossSums) -> LossValue:
        """The loss whose sums (added over ranks where there are several) these are."""
        vector = sums.vector if self._reduce is None else self._reduce(sums.vector)
        labels = len(self._labels.names) if self._labels.has_regions else self._labels.classes - 1
        per_level = 3 * labels + ENTROPY_SUMS
        sizes = [*[per_level] * sums.levels, sums.boundary, OWN_SUMS if self._own is not None else 0]
        *levels, boundary, own = torch.split(vector, sizes)
        parts = self._parts(levels[0], labels)
        total = self._weighted(parts)
        for level, coarser in enumerate(levels[1:], start=1):
            total = total + COARSER_WEIGHT**level * self._weighted(self._parts(coarser, labels))
        if sums.boundary:
            entropy_sum, count, both, either = boundary
            parts["boundary"] = entropy_sum / count.clamp_min(1) + 1 - (2 * both + SMOOTH) / (either + SMOOTH)
            total = total + self._config.boundary * parts["boundary"]
        if self._own is not None:
            parts["extension"] = of_own_sums(own)
            total = total + self._config.extension_weight * parts["extension"]
        return LossValue(total, {name: value.detach() for name, value in parts.items()})

    def _parts(self, sums: Tensor, labels: int) -> dict[str, Tensor]:
        intersection, predicted, wanted, entropy = torch.split(sums, [labels, labels, labels, ENTROPY_SUMS])
        return {
            "dice": 1 - ((2 * intersection + SMOOTH) / (predicted + wanted + SMOOTH)).mean(),
            "cross_entropy": entropy[0] / entropy[1].clamp_min(1),
        }

    def _weighted(self, parts: dict[str, Tensor]) -> Tensor:
        return self._config.dice * parts["dice"] + self._config.cross_entropy * parts["cross_entropy"]

    def _scheme_on(self, device: torch.device) -> TargetScheme:
        """The scheme with its table on a device: it is carried there once, since a step waits for a copy."""
        if self._scheme is None or (
            self._scheme.member_kv is not None and self._scheme.member_kv.device != device
        ):
            self._scheme = TargetScheme(
                classes=self._labels.classes,
                member_kv=membership(self._labels).to(device) if self._labels.has_regions else None,
                ignore_value=self._labels.ignore_value,
                smoothing=self._config.label_smoothing,
            )
        return self._scheme


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
    member_kv = membership(labels).to(label_byx.device)
    return member_kv[:, label_byx].movedim(0, 1).float().contiguous()


def membership(labels: LabelScheme) -> Tensor:
    """Which label values (v) each region (k) holds: (k, v), bool."""
    member_kv = torch.zeros(len(labels.names), labels.largest + 1, dtype=torch.bool)
    for channel, values in enumerate(labels.values):
        member_kv[channel, list(values)] = True
    return member_kv
