"""Augmentation: one transform per file; parameters are drawn in one step and applied in another, so that any
sample can be replayed."""

from trainers.augmentation.feature_maps import move_features
from trainers.augmentation.geometry import (
    Geometry2d,
    cut_patch,
    cut_surroundings,
    draw_bend,
    draw_geometry,
    draw_shift,
)
from trainers.augmentation.intensity import augment_intensity, augment_intensity_batch, augment_volume
from trainers.augmentation.own import augment_own
from trainers.augmentation.volume_geometry import ANISOTROPIC, Geometry3d, cut_volume, draw_volume_geometry

__all__ = [
    "ANISOTROPIC",
    "Geometry2d",
    "Geometry3d",
    "augment_intensity",
    "augment_intensity_batch",
    "augment_own",
    "augment_volume",
    "cut_patch",
    "cut_surroundings",
    "cut_volume",
    "draw_bend",
    "draw_geometry",
    "draw_shift",
    "draw_volume_geometry",
    "move_features",
]
