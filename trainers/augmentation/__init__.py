"""Augmentation: one transform per file; parameters are drawn in one step and applied in another, so that any
sample can be replayed."""

from trainers.augmentation.feature_maps import move_features
from trainers.augmentation.geometry import Geometry2d, cut_patch, draw_geometry
from trainers.augmentation.intensity import augment_intensity, augment_intensity_batch

__all__ = [
    "Geometry2d",
    "augment_intensity",
    "augment_intensity_batch",
    "cut_patch",
    "draw_geometry",
    "move_features",
]
