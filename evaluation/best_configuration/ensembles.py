"""Cross-validation predictions of an ensemble, straight from its models: each fold's models predict that fold's cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.errors import PredictionError


def predict_ensemble_fold(models: Sequence[Path], fold: int, cases: Mapping[str, CaseFiles], output: Path, device: str | None) -> None:
    """Average the probabilities of several configurations' models of one fold; cases that are there already are kept.

    Raises:
        PredictionError: a case could not be predicted, or `output` was predicted by other models.
    """
    from balrsam_pipeline.inference import FileOptions, Member, Predictor, PredictorOptions, predict_cases  # loads torch

    options = PredictorOptions(device=device)
    members = [Member(Predictor.from_results(folder, [fold], options)) for folder in models]
    report = predict_cases(members, cases, output, FileOptions(skip_existing=True))
    if report.failed:
        case, problem = next(iter(report.failed.items()))
        raise PredictionError(
            output,
            found=f"{len(report.failed)} case(s) that failed, first {case}: {problem.found}",
            expected="every validation case predicted",
            mend=problem.mend,
        )
