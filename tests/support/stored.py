"""Preprocessed cases of any shape, to store and read again."""

from __future__ import annotations

import numpy as np

from balrsam_pipeline.dataset import LabelScheme
from balrsam_pipeline.imageio import Geometry
from balrsam_pipeline.preprocessing import CaseProperties, PreprocessedCase

LABELS = LabelScheme(
    names=("whole", "core"),
    values=((1, 2), (2,)),
    has_regions=True,
    region_order=(1, 2),
    ignore_value=None,
    largest=2,
)


def make_case(shape: tuple[int, int, int], channels: int = 2) -> PreprocessedCase:
    generator = np.random.default_rng(0)
    spacing = (1.0, 1.0, 1.0)
    properties = CaseProperties(
        geometry=Geometry(dimension=3, shape_zyx=shape, spacing_mm=spacing),
        transpose=(0, 1, 2),
        crop_box=((0, shape[0]), (0, shape[1]), (0, shape[2])),
        cropped_shape=shape,
        shape=shape,
        spacing_mm=spacing,
        target_spacing_mm=spacing,
    )
    image = generator.normal(size=(channels, *shape)).astype(np.float32)
    label = generator.integers(0, 3, shape).astype(np.int16)
    return PreprocessedCase(image_czyx=image, label_zyx=label, properties=properties)
