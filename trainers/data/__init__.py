"""What a fold is trained on: its cases, what each sample shows, and batches made here or by workers."""

from trainers.data.device_batches import CopyStream, DeviceBatch, DeviceBatches, copy_stream
from trainers.data.fold_data import FoldData, open_fold
from trainers.data.keeping import keep_features
from trainers.data.kept_features import Filling, KeptFeatures
from trainers.data.loader import Batch, BatchLoader
from trainers.data.loader_size import workers_beside_gpu
from trainers.data.patches import PatchReader
from trainers.data.sampling import Sample, fixed_samples
from trainers.data.workers import loader_of, open_loader

__all__ = [
    "Batch",
    "BatchLoader",
    "CopyStream",
    "DeviceBatch",
    "DeviceBatches",
    "Filling",
    "FoldData",
    "KeptFeatures",
    "PatchReader",
    "Sample",
    "copy_stream",
    "fixed_samples",
    "keep_features",
    "loader_of",
    "open_fold",
    "open_loader",
    "workers_beside_gpu",
]
