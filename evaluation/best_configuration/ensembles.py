"""Cross-validation predictions of an ensemble, straight from its models: each fold's models predict that
fold's cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.layout import ResultsFolder


def ensemble_folder(results: Path, configurations: Sequence[str], fold: int) -> Path:
    """Where the validation predictions of an ensemble lie, below a dataset's results."""
    return ResultsFolder(results).ensemble(configurations, fold)


def predict_ensemble_fold(
    models: Sequence[Path], fold: int, cases: Mapping[str, CaseFiles], output: Path, device: str | None
) -> None:
    """Average the probabilities of several configurations' models of one fold.

    Cases that these very models predicted before are kept; where a model was trained again, all are predicted
    again.

    Raises:
        PredictionError: a case could not be predicted.
    """
    from balrsam_pipeline.inference import (  # loads torch
        FileOptions,
        Member,
        PredictorOptions,
        load_predictor,
        predict_cases,
    )
    from balrsam_pipeline.inference.prediction_json import MadeOtherwiseError

    options = PredictorOptions(device=device)
    members = [Member(load_predictor(folder, [fold], options)) for folder in models]
    try:
        report = predict_cases(members, cases, output, FileOptions(skip_existing=True))
    except MadeOtherwiseError:
        report = predict_cases(members, cases, output, FileOptions())
    if report.failed:
        case, problem = next(iter(report.failed.items()))
        raise PredictionError(
            output,
            found=f"{len(report.failed)} case(s) that failed, first {case}: {problem.found}",
            expected="every validation case predicted",
            fix=problem.fix,
        )
