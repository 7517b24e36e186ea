"""What the voxels of an image show, as functions of arrays: where they are not zero, and how much contrast is
left. For preprocessing and for the integrity check alike."""

from balrsam_pipeline.voxels.contrast import (
    LEAST_CONTRAST,
    LEAST_OF_RANGE,
    LITTLE_CONTRAST,
    LITTLE_OF_RANGE,
    contrast,
    mean_and_std,
)
from balrsam_pipeline.voxels.cropping import Box, crop, foreground_box, nonzero_box, nonzero_mask

__all__ = [
    "LEAST_CONTRAST",
    "LEAST_OF_RANGE",
    "LITTLE_CONTRAST",
    "LITTLE_OF_RANGE",
    "Box",
    "contrast",
    "crop",
    "foreground_box",
    "mean_and_std",
    "nonzero_box",
    "nonzero_mask",
]
