"""Preprocessing of one case, the same for training and prediction: crop, normalise, resample, store."""

from balrsam_pipeline.preprocessing.array_files import file_crc32
from balrsam_pipeline.preprocessing.case import (
    CaseProperties,
    PreprocessedCase,
    preprocess_image,
    target_spacing,
)
from balrsam_pipeline.preprocessing.label_resampling import resample_label
from balrsam_pipeline.preprocessing.pack_index import PackedCase, read_index
from balrsam_pipeline.preprocessing.packs import (
    MANY,
    PackEntry,
    is_small,
    pack_of,
    read_entry,
    write_pack,
)
from balrsam_pipeline.preprocessing.resampling import (
    Resampling,
    plan_resampling,
    resample,
    resampled_shape,
)
from balrsam_pipeline.preprocessing.store import (
    CaseStore,
    pack_case,
    read_stored,
    store_folder,
    write_case,
)
from balrsam_pipeline.preprocessing.stored_case import StoredCase

__all__ = [
    "MANY",
    "CaseProperties",
    "CaseStore",
    "PackEntry",
    "PackedCase",
    "PreprocessedCase",
    "Resampling",
    "StoredCase",
    "file_crc32",
    "is_small",
    "pack_case",
    "pack_of",
    "plan_resampling",
    "preprocess_image",
    "read_entry",
    "read_index",
    "read_stored",
    "resample",
    "resample_label",
    "resampled_shape",
    "store_folder",
    "target_spacing",
    "write_case",
    "write_pack",
]
