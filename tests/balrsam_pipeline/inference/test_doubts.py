"""Images that are unlike those of the training are told; those that are like them are not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import nibabel
import numpy as np
import pytest
from support.plans import example_plan

from balrsam_pipeline.imageio import Geometry, Image
from balrsam_pipeline.inference.doubts import find_doubts, find_header_doubts
from balrsam_pipeline.plan import ChannelStatistics

CT = ChannelStatistics(
    mean=60, median=60, std=30, min=-100, max=250, percentile_00_5=-50, percentile_99_5=200
)


def image(shape: tuple[int, int, int], low: float = 0, high: float = 255, channels: int = 1) -> Image:
    data = np.random.default_rng(0).uniform(low, high, (channels, *shape)).astype(np.float32)
    flat = shape[0] == 1
    spacing = (999.0 if flat else 3.0, 1.0, 1.0)
    return Image(data, Geometry(dimension=2 if flat else 3, shape_zyx=shape, spacing_mm=spacing))


def doubts(
    of: Image, flat: bool, normalization: str = "z_score", trained: ChannelStatistics = CT
) -> list[str]:
    plan = dataclasses.replace(example_plan(), channel_statistics=(trained,))
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


VOLUME = (20, 60, 50)
# shares of tissues in scans, each with its mean and deviation in HU
AIR, LUNG, FAT, SOFT = (-1000, 15), (-800, 80), (-100, 20), (50, 40)
SPONGY, DENSE = (400, 150), (1100, 250)
ORGANS = dataclasses.replace(CT, min=-1024, max=1500)  # traced a little beyond their rims
SCANS = {
    "chest": {AIR: 0.4, LUNG: 0.15, FAT: 0.15, SOFT: 0.27, SPONGY: 0.02, DENSE: 0.01},
    "small child in a large circle": {AIR: 0.84, FAT: 0.02, SOFT: 0.12, SPONGY: 0.01, DENSE: 0.01},
    "abdomen without air": {FAT: 0.4, SOFT: 0.55, SPONGY: 0.04, DENSE: 0.01},
    "head and neck without air": {FAT: 0.1, SOFT: 0.7, SPONGY: 0.1, DENSE: 0.1},
    "head without air and fat": {(35, 8): 0.8, SPONGY: 0.1, DENSE: 0.1},
    "brain alone": {(35, 8): 0.9, (10, 5): 0.1},
    "skull base without air": {FAT: 0.05, SOFT: 0.4, SPONGY: 0.25, DENSE: 0.3},
}
CROPS_TOO_DENSE_TO_TELL = ("skull base without air",)


def ct(scan: str, shift: int = 0, padding: int | None = None) -> Image:
    """A CT with the histogram of a scan; outside of a circle it may be padded, as GE's are."""
    chance = np.random.default_rng(0)
    shares = SCANS[scan]
    tissue = chance.choice(len(shares), VOLUME, p=list(shares.values()))
    means, deviations = np.array(list(shares)).T
    values = np.maximum(chance.normal(means[tissue], deviations[tissue]), -1024).round() + shift
    if padding is not None:
        values[:, :8] = padding
    of = image(VOLUME)
    return Image(values[None].astype(np.int16), of.geometry)


@pytest.mark.parametrize("shift", [1000, 1024])
@pytest.mark.parametrize("scan", [scan for scan in SCANS if scan not in CROPS_TOO_DENSE_TO_TELL])
def test_a_ct_that_lost_its_intercept_is_told(scan: str, shift: int) -> None:
    (doubt,) = doubts(ct(scan, shift), flat=False, normalization="ct", trained=ORGANS)
    assert "looks shifted by about 1024 HU" in doubt


def test_a_ct_that_lost_its_intercept_is_told_where_it_is_padded() -> None:
    (doubt,) = doubts(ct("chest", 1024, padding=-2000), flat=False, normalization="ct", trained=ORGANS)
    assert "looks shifted by about 1024 HU" in doubt


@pytest.mark.parametrize("padding", [None, -3024, 0])
@pytest.mark.parametrize("scan", SCANS)
def test_a_ct_in_hounsfield_units_raises_no_doubt(scan: str, padding: int | None) -> None:
    assert doubts(ct(scan, padding=padding), flat=False, normalization="ct", trained=ORGANS) == []


def test_the_voxels_that_are_looked_at_lie_in_all_columns() -> None:
    """Every so-many-th of 196 × 256 × 256 voxels, for 50,000, is one in 256: column 0, which is air."""
    shape = (196, 256, 256)
    body = np.full(shape[1:], -1000, np.int16)
    body[50:200, 50:200] = 60
    given = Image(np.broadcast_to(body, (1, *shape)), image((196, 1, 1)).geometry)
    given = dataclasses.replace(given, geometry=dataclasses.replace(given.geometry, shape_zyx=shape))
    assert doubts(given, flat=False, normalization="ct", trained=ORGANS) == []


def test_a_model_that_was_trained_without_the_intercept_takes_such_images() -> None:
    shifted = ChannelStatistics(
        mean=1084, median=1084, std=30, min=24, max=1274, percentile_00_5=974, percentile_99_5=1224
    )
    assert doubts(ct("chest", 1024), flat=False, normalization="ct", trained=shifted) == []


def spaced(spacing_mm: tuple[float, float, float], shape: tuple[int, int, int] = VOLUME) -> Image:
    """A volume for a model of 3 x 1 x 1 mm."""
    of = image(shape)
    return Image(of.data, dataclasses.replace(of.geometry, dimension=3, spacing_mm=spacing_mm))


@pytest.mark.parametrize(
    ("spacing_mm", "shape"),
    [
        ((3.0, 0.3, 0.3), VOLUME),
        ((3.0, 3.5, 3.5), VOLUME),
        ((0.5, 1.0, 1.0), VOLUME),
        ((20.0, 1.0, 1.0), VOLUME),  # slices far apart
        ((100.0, 1.0, 1.0), (1, 60, 50)),  # of a single slice z means nothing
    ],
)
def test_spacings_that_scanners_have_raise_no_doubt(
    spacing_mm: tuple[float, float, float], shape: tuple[int, int, int]
) -> None:
    assert doubts(spaced(spacing_mm, shape), flat=False) == []


@pytest.mark.parametrize(
    ("spacing_mm", "told"),
    [
        (
            (0.003, 0.001, 0.001),
            "voxels of 0.003 x 0.001 x 0.001 mm (slices first), for a model of about 3 x 1 x 1",
        ),
        ((30.0, 10.0, 10.0), "30 x 10 x 10 mm"),
        ((3.0, 5.0, 1.0), "3 x 5 x 1 mm"),
        ((30.0, 1.0, 1.0), "30 x 1 x 1 mm"),
    ],
)
def test_a_spacing_far_from_the_planned_one_is_told(
    spacing_mm: tuple[float, float, float], told: str
) -> None:
    (doubt,) = doubts(spaced(spacing_mm), flat=False)
    assert told in doubt


def test_spacing_is_compared_as_the_volume_is_turned_for_the_model() -> None:
    plan = dataclasses.replace(example_plan(), channel_statistics=(CT,), orientations=("LPS",))
    configuration = dataclasses.replace(plan.configuration("2d"), spacing_mm=(10.0, 1.0, 1.0))
    geometry = Geometry(  # x grows to the feet, so that the slices lie along it
        dimension=3,
        shape_zyx=(50, 60, 20),
        spacing_mm=(1.0, 1.0, 10.0),
        direction=(0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0),
    )
    assert list(find_doubts(Image(image((50, 60, 20)).data, geometry), plan, configuration)) == []


def test_spacing_means_nothing_where_each_image_is_fitted() -> None:
    plan = dataclasses.replace(example_plan(), channel_statistics=(CT,))
    configuration = dataclasses.replace(plan.configuration("2d"), spacing_mm=(99.9, 0.1, 0.1), fit_patch=True)
    assert list(find_doubts(image((1, 60, 50)), plan, configuration)) == []


def test_large_pictures_of_which_tiles_are_cut_raise_no_doubt() -> None:
    plan = example_plan()
    configuration = dataclasses.replace(
        plan.configuration("2d"), spacing_mm=(999.0, 1.0, 1.0), fit_patch=True, fit_size=(960, 1000)
    )
    assert list(find_doubts(image((1, 2488, 2592)), plan, configuration)) == []
    assert "pixels" in "".join(find_doubts(image((1, 60, 50)), plan, configuration))


def test_slices_that_the_plan_makes_smaller_raise_no_doubt() -> None:
    """Their planned spacing is coarser than that of any image: six times for slices of 1,344 seen at 224."""
    plan = example_plan()
    configuration = dataclasses.replace(plan.configuration("2d"), spacing_mm=(3.0, 1.2, 1.2), antialias=True)
    given = spaced((3.0, 0.2, 0.2), (20, *(6 * side for side in configuration.patch_size)))
    assert list(find_doubts(given, plan, configuration)) == []


def test_a_volume_with_next_to_nothing_in_the_plane_is_told() -> None:
    (doubt,) = doubts(image((20, 4, 4)), flat=False)
    assert "4 x 4 pixels" in doubt


def test_a_header_that_contradicts_itself_is_told(tmp_path: Path) -> None:
    nifti = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([0.8, 0.8, 3.0, 1.0]))
    sound = tmp_path / "a_0000.nii"
    nibabel.save(nifti, sound)
    odd = tmp_path / "a_0001.nii"
    stored = bytearray(sound.read_bytes())
    stored[80:92] = np.ones(3, "<f4").tobytes()  # pixdim[1:4]
    odd.write_bytes(stored)
    picture = tmp_path / "a_0002.png"
    (doubt,) = find_header_doubts([sound, odd, picture])
    assert doubt.startswith("a_0001.nii: voxels of 0.8 × 0.8 × 3 mm by its sform")
