"""One case through crop, normalisation and resampling, against the steps written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from skimage.transform import resize

from balrsam_pipeline.errors import PreprocessingError
from balrsam_pipeline.imageio import Geometry, Image
from balrsam_pipeline.plan import ChannelStatistics, Configuration, NetworkPlan, Normalization, Plan
from balrsam_pipeline.preprocessing import preprocess_image

NETWORK = NetworkPlan(
    backbone="vit_mini",
    from_scratch=True,
    input_channels=1,
    classes=2,
    input_size=(64, 64),
    lora_rank=0,
    lora_alpha=1.0,
    adapter_rank=0,
    decoder_attention="exact",
    decoder_rank=1,
    cden_width=8,
    mask_stride=4,
)
STATISTICS = ChannelStatistics(
    mean=40.0, median=40.0, std=20.0, min=-1000.0, max=900.0, percentile_00_5=-60.0, percentile_99_5=160.0
)


def make_plan(
    schemes: tuple[Normalization, ...] = ("z_score",),
    transpose: tuple[int, int, int] = (0, 1, 2),
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    axes: tuple[int, ...] = (0,),
    inside: bool = False,
) -> tuple[Plan, Configuration]:
    configuration = Configuration(
        name="2d",
        transpose=transpose,
        spacing_mm=spacing,
        slicing_axes=axes,
        context_slices=0,
        normalization=schemes,
        normalize_inside_mask=(inside,) * len(schemes),
        patch_size=(64, 64),
        batch_size=2,
        mirror_axes=(1, 2),
        network=NETWORK,
    )
    plan = Plan(
        dataset="Dataset001_X",
        fingerprint_sha256="",
        channel_statistics=(STATISTICS,) * len(schemes),
        configurations={"2d": configuration},
        default_configuration="2d",
    )
    return plan, configuration


def make_image(
    shape: tuple[int, int, int], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), channels: int = 1
) -> Image:
    data = np.random.default_rng(3).integers(-100, 1000, (channels, *shape)).astype(np.int16)
    return Image(data, Geometry(dimension=3, shape_zyx=shape, spacing_mm=spacing))


def test_the_crop_is_the_nonzero_box_of_all_channels() -> None:
    image = make_image((8, 9, 10), channels=2)
    image.data[:] = 0
    image.data[0, 2:4, 3:7, 5:6] = 5
    image.data[1, 3:6, 4:5, 2:4] = 7
    case = preprocess_image(image, None, *make_plan(("none", "none")))
    assert case.properties.crop_box == ((2, 6), (3, 7), (2, 6))
    np.testing.assert_array_equal(case.image_czyx, image.data[:, 2:6, 3:7, 2:6])


def test_an_image_of_zeros_is_kept_whole() -> None:
    image = make_image((3, 4, 5))
    image.data[:] = 0
    assert preprocess_image(image, None, *make_plan()).image_czyx.shape == (1, 3, 4, 5)


def test_z_score_inside_the_mask_leaves_zeros_outside() -> None:
    image = make_image((4, 6, 6))
    image.data[:, :, :3, :3] = 0
    mask = np.asarray(image.data[0] != 0)
    case = preprocess_image(image, None, *make_plan(inside=True))
    inside = image.data[0][mask].astype(float)
    np.testing.assert_allclose(case.image_czyx[0][mask], (inside - inside.mean()) / inside.std(), atol=1e-5)
    assert (case.image_czyx[0, :, :3, :3] == 0).all()


def test_ct_is_clipped_to_the_percentiles_and_scaled_by_the_dataset() -> None:
    image = make_image((4, 6, 6))
    case = preprocess_image(image, None, *make_plan(("ct",)))
    np.testing.assert_allclose(case.image_czyx, (np.clip(image.data, -60, 160) - 40.0) / 20.0, rtol=1e-5)


def test_slices_keep_their_distance_unless_all_axes_are_cut() -> None:
    image = make_image((5, 12, 12), spacing=(2.0, 1.0, 1.0))
    target = (1.0, 1.5, 0.8)
    for axes, depth in (((0,), 5), ((0, 1, 2), 10)):
        case = preprocess_image(image, None, *make_plan(("none",), spacing=target, axes=axes))
        expected = resize(image.data[0].astype(float), (depth, 8, 15), 3, mode="edge", anti_aliasing=False)
        np.testing.assert_allclose(case.image_czyx[0], expected, atol=2e-2)  # of a range of 1100
        assert case.properties.shape == (depth, 8, 15)


def test_axes_are_put_in_the_planned_order() -> None:
    image = make_image((12, 5, 10), spacing=(1.0, 5.0, 1.0))
    label = Image((image.data > 500).astype(np.uint8), image.geometry)
    case = preprocess_image(image, label, *make_plan(("none",), transpose=(1, 0, 2), spacing=(5.0, 1.0, 1.0)))
    np.testing.assert_array_equal(case.image_czyx, image.data.transpose(0, 2, 1, 3))
    np.testing.assert_array_equal(case.label_zyx, label.data[0].transpose(1, 0, 2))
    assert case.properties.spacing_mm == (5.0, 1.0, 1.0)


@pytest.mark.parametrize("scheme", ["z_score", "ct", "none", "rescale_to_0_1"])
def test_nan_is_refused(scheme: Normalization) -> None:
    image = make_image((3, 4, 5))
    broken = Image(image.data.astype(np.float32), image.geometry)
    broken.data[0, 1, 2, 3] = np.nan
    with pytest.raises(PreprocessingError, match="NaN"):
        preprocess_image(broken, None, *make_plan((scheme,)))


def test_colours_beyond_255_are_refused() -> None:
    with pytest.raises(PreprocessingError, match="0 to 255"):
        preprocess_image(make_image((3, 4, 5)), None, *make_plan(("rgb_to_0_1",)))


def test_a_missing_channel_is_refused() -> None:
    with pytest.raises(PreprocessingError, match="1 channels"):
        preprocess_image(make_image((3, 4, 5)), None, *make_plan(("none", "none")))


@pytest.mark.parametrize("shape", [(1, 200, 300), (1, 300, 200), (1, 90, 40), (1, 641, 640)])
def test_fitted_pictures_just_fill_the_patch_and_keep_their_proportions(shape: tuple[int, int, int]) -> None:
    plan, configuration = make_plan(spacing=(999.0, 3.0, 3.0))
    configuration = replace(configuration, fit_patch=True, antialias=True)
    tiled = replace(configuration, patch_size=(16, 16), fit_size=(64, 64))  # of what is fitted to as much
    image = make_image(shape, spacing=(999.0, 1.0, 1.0))
    label = Image((image.data > 400).astype(np.uint8), image.geometry)
    case = preprocess_image(image, label, plan, configuration)
    scale = 64 / max(shape)
    assert case.image_czyx.shape == (1, 1, round(shape[1] * scale), round(shape[2] * scale))
    assert case.label_zyx is not None
    assert case.label_zyx.shape == case.image_czyx.shape[1:]
    assert case.properties.target_spacing_mm == pytest.approx((999.0, 1 / scale, 1 / scale))
    np.testing.assert_array_equal(preprocess_image(image, label, plan, tiled).image_czyx, case.image_czyx)
