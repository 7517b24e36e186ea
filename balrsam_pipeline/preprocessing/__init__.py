"""Preprocessing of one case, the same for training and prediction: crop, normalise, resample, store."""

from balrsam_pipeline.preprocessing.case import (
    CaseProperties,
    PreprocessedCase,
    preprocess_image,
    target_spacing,
)
from balrsam_pipeline.preprocessing.label_resampling import resample_label
from balrsam_pipeline.preprocessing.resampling import (
    Resampling,
    plan_resampling,
    resample,
    resampled_shape,
)
from balrsam_pipeline.preprocessing.store import CaseStore, StoredCase, read_stored, store_folder, write_case

__all__ = [
    "CaseProperties",
    "CaseStore",
    "PreprocessedCase",
    "Resampling",
    "StoredCase",
    "plan_resampling",
    "preprocess_image",
    "read_stored",
    "resample",
    "resample_label",
    "resampled_shape",
    "store_folder",
    "target_spacing",
    "write_case",
]
