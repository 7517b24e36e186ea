"""Images that are unlike those of the training are told; those that are like them are not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image as Pillow
from support.plans import example_plan

from balrsam_pipeline.imageio import Geometry, Image
from balrsam_pipeline.inference.doubts import as_grey, find_doubts
from balrsam_pipeline.plan import ChannelStatistics

CT = ChannelStatistics(
    mean=60, median=60, std=30, min=-100, max=250, percentile_00_5=-50, percentile_99_5=200
)


def image(shape: tuple[int, int, int], low: float = 0, high: float = 255, channels: int = 1) -> Image:
    data = np.random.default_rng(0).uniform(low, high, (channels, *shape)).astype(np.float32)
    flat = shape[0] == 1
    spacing = (999.0 if flat else 3.0, 1.0, 1.0)
    return Image(data, Geometry(dimension=2 if flat else 3, shape_zyx=shape, spacing_mm=spacing))


def doubts(of: Image, flat: bool, normalization: str = "z_score") -> list[str]:
    plan = dataclasses.replace(example_plan(), channel_statistics=(CT,))
    configuration = dataclasses.replace(
        plan.configuration("2d"),
        spacing_mm=(999.0 if flat else 3.0, 1.0, 1.0),
        normalization=(normalization,),  # type: ignore[arg-type]
    )
    return list(find_doubts(of, plan, configuration))


@pytest.mark.parametrize(
    ("given", "flat", "normalization"),
    [
        (image((1, 60, 50)), True, "z_score"),
        (image((20, 60, 50)), False, "z_score"),
        (image((20, 60, 50), -1000, 900), False, "ct"),
        (image((20, 60, 50), 0, 4000), False, "z_score"),
    ],
)
def test_images_like_those_of_the_training_raise_no_doubt(
    given: Image, flat: bool, normalization: str
) -> None:
    assert doubts(given, flat, normalization) == []


def test_a_2d_image_with_a_pixel_size_is_one() -> None:
    plan = dataclasses.replace(example_plan(), channel_statistics=(CT,))
    configuration = dataclasses.replace(plan.configuration("2d"), spacing_mm=(149.85, 0.6, 0.6))
    of = image((1, 60, 50))
    of = Image(of.data, dataclasses.replace(of.geometry, spacing_mm=(149.85, 0.15, 0.15)))
    assert list(find_doubts(of, plan, configuration)) == []


@pytest.mark.parametrize(
    ("given", "flat", "normalization", "told"),
    [
        (image((20, 60, 50)), True, "z_score", "20 slices"),
        (image((1, 60, 50)), False, "z_score", "2D image"),
        (image((1, 4, 4)), True, "z_score", "4 x 4 pixels"),
        (image((1, 2000, 2000)), True, "z_score", "2000 x 2000 pixels"),
        (image((20, 60, 50), 3000, 4000), False, "ct", "intensities from 30"),
        (image((20, 60, 50), -1000, -900), False, "ct", "intensities from -99"),
    ],
)
def test_others_are_told_with_what_is_odd(given: Image, flat: bool, normalization: str, told: str) -> None:
    (doubt,) = doubts(given, flat, normalization)
    assert told in doubt


def test_grey_is_the_grey_of_pillow() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    ours = as_grey(
        Image(
            np.moveaxis(colours, -1, 0)[:, None],
            Geometry(dimension=2, shape_zyx=(1, 30, 20), spacing_mm=(999.0, 1.0, 1.0)),
        ),
        channels=1,
    )
    np.testing.assert_allclose(ours.data[0, 0], np.asarray(Pillow.fromarray(colours).convert("L")), atol=1)


def test_models_of_colours_keep_them() -> None:
    given = image((1, 30, 20), channels=3)
    assert as_grey(given, channels=3) is given
