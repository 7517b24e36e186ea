"""Which page says most about a dataset's results."""

from __future__ import annotations

from pathlib import Path

from balrsam_pipeline.layout import ResultsFolder


def first_page(results: ResultsFolder) -> Path | None:
    """The page to look at first, of those that are there: the whole run, predictions, cross-validation, a
    fold's validation."""
    models = results.models()
    pages = (
        results.index,
        results.predictions.evaluation.report,
        *(model.crossval.report for model in models),
        *(model.fold(number).validation.report for model in models for number in model.folds()),
    )
    return next((page for page in pages if page.is_file()), None)
