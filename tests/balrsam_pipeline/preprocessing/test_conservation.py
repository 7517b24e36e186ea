"""Labels are conserved through preprocessing: no labelled voxel is cropped off, and what resampling loses is
counted, and put back where a whole label would be gone."""

from __future__ import annotations

import numpy as np
import pytest
from support.plans import example_plan

from balrsam_pipeline.imageio import Geometry, Image
from balrsam_pipeline.preprocessing import preprocess_image
from balrsam_pipeline.preprocessing.conservation import conserve_labels
from balrsam_pipeline.voxels import foreground_box, nonzero_box

SHAPE = (6, 48, 40)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("side", [slice(0, 2), slice(-2, None)])
def test_the_crop_never_cuts_off_labelled_voxels(axis: int, side: slice) -> None:
    image = np.zeros((1, *SHAPE), np.int16)
    image[:, 2:4, 10:30, 10:30] = 100
    label = np.zeros(SHAPE, np.uint8)
    where = [slice(2, 4), slice(12, 20), slice(12, 20)]
    where[axis] = side
    label[tuple(where)] = 2
    (z, y, x) = (slice(*limits) for limits in foreground_box(image, label))
    assert np.count_nonzero(label[z, y, x]) == np.count_nonzero(label)
    assert np.count_nonzero(image[:, z, y, x]) == np.count_nonzero(image)


def test_ignored_voxels_do_not_widen_the_crop() -> None:
    image = np.zeros((1, *SHAPE), np.int16)
    image[:, 2:4, 10:30, 10:30] = 100
    assert foreground_box(image, np.full(SHAPE, 3), ignore_value=3) == nonzero_box(image)


def test_one_voxel_lesions_are_put_back_where_a_label_would_be_gone() -> None:
    label = np.zeros((2, 50, 50), np.uint8)
    label[:, 5:25, 5:25], label[1, 30:50:5, 40] = 1, 2
    resampled = np.zeros((2, 10, 10), np.int16)
    resampled[:, 1:5, 1:5] = 1
    found = conserve_labels(label, resampled, None)
    assert (found[2].raw, found[2].lost, found[2].stored, found[2].restored) == (4, 4, 4, True)
    assert (found[1].raw, found[1].lost, found[1].restored) == (800, 0, False)
    assert np.argwhere(resampled == 2).tolist() == [[1, y, 8] for y in (6, 7, 8, 9)]


def test_small_lesions_beside_a_large_one_are_counted_and_left_to_the_vote() -> None:
    label = np.zeros((2, 50, 50), np.uint8)
    label[:, 5:25, 5:25], label[1, 40, 40] = 1, 1
    resampled = np.zeros((2, 10, 10), np.int16)
    resampled[:, 1:5, 1:5] = 1
    found = conserve_labels(label, resampled, None)
    assert (found[1].lost, found[1].stored, found[1].restored) == (1, 32, False)


def test_every_label_of_the_image_is_in_the_preprocessed_case() -> None:
    plan = example_plan()
    configuration = next(iter(plan.configurations.values()))
    generator = np.random.default_rng(0)
    label = np.where(generator.random(SHAPE) < 0.001, 2, 0).astype(np.uint8)
    label[2:4, 4:20, 4:20] = 1
    channels = len(configuration.normalization)
    image = Image(
        generator.normal(100, 10, (channels, *SHAPE)).astype(np.float32),
        Geometry(dimension=3, shape_zyx=SHAPE, spacing_mm=(2.0, 0.05, 0.05)),
    )
    fine = Image(label[None], image.geometry)
    case = preprocess_image(image, fine, plan, configuration)
    assert case.label_zyx is not None
    assert set(np.unique(case.label_zyx)) == {0, 1, 2}
    assert {value: voxels.raw for value, voxels in case.label_voxels.items()} == {
        value: int((label == value).sum()) for value in (1, 2)
    }
