"""Validation of a finished fold: whole images, predicted in original space with the weights that prediction
will use, and scored."""

from __future__ import annotations

from pathlib import Path

import torch

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.execution import default_workers
from balrsam_pipeline.inference import Predictor, PredictorOptions, predict_files
from balrsam_pipeline.network import load_trained
from evaluation import EvaluationOptions, Summary, evaluate_folders, write_reports
from trainers.data.fold_data import FoldData


def validate_fold(data: FoldData, checkpoint: Path, base: Path | None, device: torch.device) -> Summary:
    """Predict the fold's validation cases into `validation/`, score them there, and return the summary.

    Raises:
        TrainingError: a case could not be predicted.
        EvaluationError: the predictions cannot be scored.
    """
    folder = data.folder / "validation"
    cases = data.raw.training_cases()
    wanted = {case: cases[case] for case in data.fold.val}
    model = load_trained(checkpoint, data.configuration.network, base)
    predictor = Predictor(
        [model], data.plan, data.configuration, data.labels, PredictorOptions(device=str(device))
    )
    report = predict_files(predictor, wanted, folder)
    if report.failed:
        raise TrainingError(
            folder,
            found=f"{len(report.failed)} validation cases not predicted: {next(iter(report.failed.items()))}",
            expected="a prediction of every case",
            fix="check those cases (balrsam verify DATASET), then run the same command again",
        )
    ending = data.raw.description.file_ending
    options = EvaluationOptions(workers=default_workers())
    summary = evaluate_folders(
        folder, data.raw.folder / "labelsTr", data.labels, ending, options, cases=data.fold.val
    )
    write_reports(summary, folder)
    return summary
