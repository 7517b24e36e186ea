"""Both validations of a fold: patches after every epoch, which choose the best checkpoint; at the end whole
images, predicted in original space with the weights that prediction will use, and scored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from balrsam_pipeline.dataset import CaseFiles, LabelScheme, prediction_name
from balrsam_pipeline.errors import BalrsamError, PredictionError, TrainingError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.inference import (
    FileOptions,
    PredictionReport,
    Predictor,
    PredictorOptions,
    count_patches,
    hash_weights,
    predict_files,
)
from balrsam_pipeline.layout import CheckpointKind, FoldFolder, ModelFolder, PredictionFolder, ScoredFolder
from balrsam_pipeline.network import VOLUME_LABELS, Features, load_trained
from balrsam_pipeline.paths import shown
from balrsam_pipeline.pooled import pooled_folds
from evaluation import EvaluationOptions, Pair, Summary, evaluate_pairs, write_reports
from trainers.checkpoints import CheckpointFolder
from trainers.data import FoldData, KeptFeatures, PatchReader, Sample
from trainers.losses import one_hot, region_target
from trainers.optimisation import Precision

LOG = logging.getLogger(__name__)


def expected_validation_s(data: FoldData, patch_s: float) -> float:
    """Seconds that `validate_fold` is expected to take, judged by what a network takes for a patch."""
    patches = (count_patches(data.configuration, data.store.shape(case)) for case in data.fold.val)
    return sum(patches) * patch_s


def was_interrupted(folder: ScoredFolder) -> bool:
    """Whether a validation was begun in a folder and has not come to its end."""
    return PredictionFolder(folder.path).manifest.is_file() and not folder.summary.is_file()


def forget_scores(folder: Path) -> None:
    """Before a fold is trained: remove its scores, and what was pooled and chosen with them. They are of
    other weights.

    Args:
        folder: the fold's.
    """
    own, pooled = FoldFolder(folder).validation.summary, ModelFolder(folder.parent).crossval
    if own.is_file() or _is_pooled(folder):
        pooled.summary.unlink(missing_ok=True)
        pooled.postprocessing.unlink(missing_ok=True)
    own.unlink(missing_ok=True)


def _is_pooled(folder: Path) -> bool:
    """Whether the model's pooled scores say that they are of this fold too, though its own may be gone."""
    model = ModelFolder(folder.parent)
    if not model.crossval.summary.is_file():
        return False
    try:
        folds = pooled_folds(read_json(model.crossval.summary))
    except BalrsamError:
        return True  # of nobody knows what
    return folder in (model.fold(fold).path for fold in folds)


def validate_fold(
    data: FoldData, weights: CheckpointKind, base: Path | None, device: torch.device, workers: int
) -> Summary:
    """Predict the fold's validation cases, score them there, and return the summary.

    In 32 bits where training computed in those alone (setting `amp`). One that was interrupted goes on where
    it stopped; one that came to its end is made again.

    Args:
        weights: the checkpoint; "final" is validated in `validation/`, others beside it.
        workers: processes that score.

    Raises:
        TrainingError: a case could not be predicted.
        EvaluationError: the predictions cannot be scored.
    """
    files = FoldFolder(data.folder)
    scored, checkpoint = files.validation_with(weights), files.checkpoint(weights)
    folder, goes_on = scored.path, was_interrupted(scored)
    cases = data.raw.training_cases()
    wanted = {case: cases[case] for case in data.fold.val}
    model = load_trained(checkpoint, data.configuration.network, base)
    settings = (CheckpointFolder(data.folder).header(weights) or {}).get("settings") or {}
    options = PredictorOptions(device=str(device), amp=settings.get("amp", True))
    predictor = Predictor(
        [model], data.plan, data.configuration, data.labels, options, hash_weights([checkpoint])
    )
    scored.summary.unlink(missing_ok=True)  # its presence says that the predictions beside it are scored
    report = _predict(predictor, wanted, folder, goes_on)
    if report.failed:
        raise TrainingError(
            folder,
            found=f"{len(report.failed)} validation cases not predicted: {next(iter(report.failed.items()))}",
            expected="a prediction of every case",
            fix="check those cases (balrsam verify DATASET), then run the same command again",
        )
    pairs = [
        Pair(case=case, prediction=folder / prediction_name(files), reference=files.label, by_index=True)
        for case, files in wanted.items()
        if files.label is not None
    ]
    summary = evaluate_pairs(pairs, data.labels, EvaluationOptions(workers=workers))
    write_reports(summary, folder)
    return summary


def _predict(
    predictor: Predictor, wanted: Mapping[str, CaseFiles], folder: Path, goes_on: bool
) -> PredictionReport:
    """Predict the cases; when going on, those that the same weights, plan and options have not predicted."""
    if goes_on:
        try:
            return predict_files(predictor, wanted, folder, FileOptions(skip_existing=True))
        except PredictionError as problem:
            LOG.info("%s: all cases are predicted again: %s", shown(folder), problem.found)
    return predict_files(predictor, wanted, folder)


@dataclass(frozen=True, slots=True)
class QuickValidation:
    """Foreground Dice of a model on fixed patches of validation cases: cheap enough for every epoch.

    Dice is taken over all patches of a case at once and averaged over the cases that show a class or region,
    then over those: as whole images are scored, but that what is predicted in a case without the class or
    region counts there, and not here. (nnU-Net's pseudo Dice is taken over the patches of all cases at once,
    where large objects outweigh small ones.)
    """

    reader: PatchReader
    samples: Sequence[Sample]
    labels: LabelScheme
    precision: Precision
    batch_size: int
    features: KeptFeatures | None = None

    @torch.no_grad()
    def dice(self, model: nn.Module, enough: Callable[[], bool] = lambda: False) -> float:
        """Mean foreground Dice, 0 to 1; 0 where the patches hold no foreground at all.

        Args:
            enough: asked after every batch but the last whether to leave it at that.
        """
        sums: dict[str, Tensor] = {}
        training = model.training
        model.train(False)
        for first in range(0, len(self.samples), self.batch_size):
            samples = self.samples[first : first + self.batch_size]
            patches = [self.reader.read(sample) for sample in samples]
            image_bchw = torch.from_numpy(np.stack([image for image, _ in patches])).to(self.precision.device)
            label_bhw = (
                torch.from_numpy(np.stack([label for _, label in patches])).to(self.precision.device).long()
            )
            with self.precision.autocast():
                logits_bkhw = model(image_bchw, self._features(samples))
            if label_bhw.ndim == VOLUME_LABELS:
                logits_bkhw, label_bhw = logits_bkhw.flatten(2, 3), label_bhw.flatten(1, 2)
            for one in range(
                len(label_bhw)
            ):  # so that maps of all classes are there for one sample at a time
                own = self._sums(logits_bkhw[one : one + 1].float(), label_bhw[one : one + 1])
                case = samples[one].case
                sums[case] = sums[case] + own if case in sums else own
            if first + self.batch_size < len(self.samples) and enough():
                break
        model.train(training)
        if not sums:
            return 0.0
        both, predicted, wanted = torch.stack(list(sums.values()), dim=1)
        dice = 2 * both / (predicted + wanted).where(wanted > 0, torch.nan)
        mean = dice.nanmean(0).nanmean()  # of cases, then of labels
        return float(mean.nan_to_num())

    def _features(self, samples: Sequence[Sample]) -> Features | None:
        """What is kept of these samples; computed and kept at the first validation."""
        if self.features is None:
            return None
        return Features(*(map_byxc.to(self.precision.device) for map_byxc in self.features.stacked(samples)))

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
        sums = torch.stack([(predicted * wanted).sum(axes), predicted.sum(axes), wanted.sum(axes)])
        return sums.cpu().double()  # Apple's GPU has no float64
