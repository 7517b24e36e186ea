"""What a fold is trained on: its cases, what each sample shows, and batches made here or by workers."""

from trainers.data.fold_data import FoldData, open_fold
from trainers.data.keeping import keep_features
from trainers.data.kept_features import Filling, KeptFeatures
from trainers.data.loader import Batch, BatchLoader
from trainers.data.patches import PatchReader
from trainers.data.sampling import Sample, fixed_samples
from trainers.data.workers import open_loader

__all__ = [
    "Batch",
    "BatchLoader",
    "Filling",
    "FoldData",
    "KeptFeatures",
    "PatchReader",
    "Sample",
    "fixed_samples",
    "keep_features",
    "open_fold",
    "open_loader",
]
