"""Prediction: sliding window, mirroring, export in bounded memory, ensembles, postprocessing, sharing models."""

from typing import TYPE_CHECKING

from balrsam_pipeline.lazy import lazy_face

if TYPE_CHECKING:
    from balrsam_pipeline.inference.batch import FileOptions, PredictionReport
    from balrsam_pipeline.inference.best import BestConfiguration, CandidateScore, read_best, write_best
    from balrsam_pipeline.inference.cases import Member, predict_cases
    from balrsam_pipeline.inference.postprocessing import (
        Postprocessing,
        PostprocessingStep,
        apply_postprocessing,
        read_postprocessing,
        write_postprocessing,
    )
    from balrsam_pipeline.inference.predictor import Predictor, PredictorOptions

__all__ = [
    "BestConfiguration",
    "CandidateScore",
    "FileOptions",
    "Member",
    "Postprocessing",
    "PostprocessingStep",
    "PredictionReport",
    "Predictor",
    "PredictorOptions",
    "apply_postprocessing",
    "predict_cases",
    "read_best",
    "read_postprocessing",
    "write_best",
    "write_postprocessing",
]
__getattr__ = lazy_face(
    __name__,
    {
        "BestConfiguration": ".best",
        "CandidateScore": ".best",
        "FileOptions": ".batch",
        "Member": ".cases",
        "Postprocessing": ".postprocessing",
        "PostprocessingStep": ".postprocessing",
        "PredictionReport": ".batch",
        "Predictor": ".predictor",
        "PredictorOptions": ".predictor",
        "apply_postprocessing": ".postprocessing",
        "predict_cases": ".cases",
        "read_best": ".best",
        "read_postprocessing": ".postprocessing",
        "write_best": ".best",
        "write_postprocessing": ".postprocessing",
    },
)
