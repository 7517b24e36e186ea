"""Foreground Dice on a few fixed validation patches: cheap enough for every epoch, it chooses the best
checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from balrsam_pipeline.dataset.labels import LabelScheme
from trainers.data.patches import PatchReader
from trainers.data.sampling import Sample
from trainers.losses import one_hot, region_target
from trainers.precision import Precision


@dataclass(frozen=True, slots=True)
class QuickValidation:
    """Scores a model on fixed patches of validation cases.

    Dice is taken over all patches of a class or region at once and averaged over those that occur (nnU-Net's
    pseudo Dice).
    """

    reader: PatchReader
    samples: Sequence[Sample]
    labels: LabelScheme
    precision: Precision
    batch_size: int

    @torch.no_grad()
    def dice(self, model: nn.Module) -> float:
        """Mean foreground Dice, 0 to 1; 0 where the patches hold no foreground at all."""
        sums = torch.zeros(3, len(self.labels.names), dtype=torch.float64)
        training = model.training
        model.train(False)
        for first in range(0, len(self.samples), self.batch_size):
            patches = [self.reader.read(sample) for sample in self.samples[first : first + self.batch_size]]
            image_bchw = torch.from_numpy(np.stack([image for image, _ in patches])).to(self.precision.device)
            label_bhw = (
                torch.from_numpy(np.stack([label for _, label in patches])).to(self.precision.device).long()
            )
            with self.precision.autocast():
                logits_bkhw = model(image_bchw)
            sums += self._sums(logits_bkhw.float(), label_bhw).cpu()
        model.train(training)
        both, predicted, wanted = sums
        occurring = wanted > 0
        return float((2 * both / (predicted + wanted))[occurring].mean()) if bool(occurring.any()) else 0.0

    def _sums(self, logits_bkhw: Tensor, label_bhw: Tensor) -> Tensor:
        valid_b1hw = torch.ones_like(label_bhw)[:, None].float()
        if self.labels.ignore_value is not None:
            valid_b1hw = (label_bhw != self.labels.ignore_value).float()[:, None]
            label_bhw = label_bhw * valid_b1hw[:, 0].long()
        if self.labels.has_regions:
            predicted, wanted = (logits_bkhw > 0).float(), region_target(label_bhw, self.labels)
        else:
            channels = [values[0] for values in self.labels.values]
            predicted = one_hot(logits_bkhw.argmax(1), self.labels.classes)[:, channels]
            wanted = one_hot(label_bhw, self.labels.classes)[:, channels]
        predicted, wanted = predicted * valid_b1hw, wanted * valid_b1hw
        axes = (0, 2, 3)
        return torch.stack([(predicted * wanted).sum(axes), predicted.sum(axes), wanted.sum(axes)]).double()
