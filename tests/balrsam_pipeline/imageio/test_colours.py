"""Grey is Pillow's grey, and what is no picture keeps its channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from balrsam_pipeline.imageio import Geometry, Image, picture_geometry
from balrsam_pipeline.imageio.colours import as_colours, as_grey, without_transparency


def picture(channels: int) -> Image:
    data: npt.NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (channels, 1, 30, 20), np.uint8)
    return Image(data, picture_geometry(30, 20))


def test_grey_is_the_grey_of_pillow() -> None:
    given = picture(3)
    expected = Pillow.fromarray(np.ascontiguousarray(np.moveaxis(given.data[:, 0], 0, -1))).convert("L")
    np.testing.assert_allclose(as_grey(given).data[0, 0], np.asarray(expected), atol=1)


def test_what_has_no_colours_is_no_grey_of_them() -> None:
    given = picture(2)
    assert as_grey(given) is given


def test_a_volume_is_no_grey_picture() -> None:
    geometry = Geometry(dimension=3, shape_zyx=(4, 5, 6), spacing_mm=(1.0, 1.0, 1.0))
    volume = Image(np.zeros((1, 4, 5, 6), np.uint8), geometry)
    assert as_colours(volume) is volume
    assert as_colours(picture(1)).data.shape == (3, 1, 30, 20)


def test_transparency_stays_where_as_many_channels_are_wanted() -> None:
    given = picture(4)
    assert without_transparency(given, Path("a.png"), 4) is given
    np.testing.assert_array_equal(without_transparency(given, Path("a.png"), 3).data, given.data[:3])
