"""Patch and input size, mask stride, batch size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fingerprints import make_fingerprint

from planners.hardware import GiB, Hardware
from planners.rules.batch_size import HEADROOM, LARGEST, cpu_batch_size, gpu_batch_size
from planners.rules.input_size import given_input_size, input_size, largest_side
from planners.rules.mask_stride import mask_stride, thinnest_label


@pytest.mark.parametrize(
    ("slice_yx", "largest", "patch", "pixels"),
    [
        ((51, 35), 224, (56, 40), (112, 80)),  # hippocampus: every voxel is 2 × 2 pixels
        ((70, 60), 224, (70, 60), (112, 96)),  # twice would be too large, once too few tokens
        ((100, 91), 224, (112, 96), (112, 96)),
        ((150, 220), 224, (160, 224), (160, 224)),
        ((300, 400), 896, (300, 400), (336, 448)),
        (
            (512, 512),
            896,
            (512, 512),
            (448, 448),
        ),  # 448 costs a third of 672 and loses an eighth of the resolution
    ],
)
def test_slices_are_seen_whole_where_the_budget_allows(
    slice_yx: tuple[int, int], largest: int, patch: tuple[int, int], pixels: tuple[int, int]
) -> None:
    size = input_size(slice_yx, 20.0, largest).value
    assert (size.patch, size.input) == (patch, pixels)


@pytest.mark.parametrize(
    ("slice_yx", "side"),
    [
        ((36, 51), (32, 64)),
        ((36, 35), (48, 48)),
        ((58, 50), (64, 64)),
        ((20, 16), (32, 16)),
        ((150, 220), (160, 224)),
    ],
)
def test_on_a_cpu_small_slices_are_neither_enlarged_nor_padded_by_a_row_of_tokens(
    slice_yx: tuple[int, int], side: tuple[int, int]
) -> None:
    size = input_size(slice_yx, 20.0, 224, cpu=True).value
    assert size.patch == size.input == side


def test_thin_labels_are_tiled_and_thick_ones_shrunk() -> None:
    tiles, shrunk = input_size((400, 400), 3.0, 224).value, input_size((400, 400), 40.0, 224).value
    assert (tiles.patch, tiles.input) == ((224, 224), (224, 224))
    assert (shrunk.patch, shrunk.input) == ((400, 400), (224, 224))
    assert input_size((400, 400), 3.0, 224, cpu=True).value.patch == (128, 128)


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.floats(0.5, 100),
    st.sampled_from([224, 448, 672, 896]),
    st.booleans(),
)
def test_any_slice_gets_a_size_within_the_budget(
    slice_yx: tuple[int, int], thickness: float, largest: int, cpu: bool
) -> None:
    size = input_size(slice_yx, thickness, largest, cpu=cpu).value
    assert max(size.input) <= largest
    assert all(side % 16 == 0 and side > 0 for side in size.input)
    assert all(side > 0 for side in size.patch)
    scales = [pixels / voxels for pixels, voxels in zip(size.input, size.patch, strict=True)]
    assert min(size.patch) < 16 or max(scales) / min(scales) < 1.2  # round shapes stay nearly round


def test_a_given_side_is_taken() -> None:
    assert given_input_size(1024, (512, 512)).value.input == (1024, 1024)
    assert given_input_size(112, (512, 512)).value.patch == (112, 112)


@pytest.mark.parametrize(
    ("thickness", "scale", "stride"),
    [(30.0, 1.0, 4), (10.0, 1.0, 2), (4.4, 1.0, 1), (2.0, 1.0, 1), (2.0, 2.0, 2), (2.0, 4.0, 4)],
)
def test_masks_are_as_fine_as_the_thinnest_label_asks_but_no_finer_than_voxels(
    thickness: float, scale: float, stride: int
) -> None:
    assert mask_stride("vessel", thickness, scale).value == stride


def test_the_thinnest_label_is_measured_in_target_voxels() -> None:
    fingerprint = make_fingerprint([(3.0, 0.5, 0.5)], thickness={"organ": 40.0, "duct": 6.0})
    name, thickness = thinnest_label(fingerprint, (1, 2), (1.0, 1.0))
    assert (name, thickness) == ("duct", pytest.approx(3.0))


def test_a_cpu_batch_shrinks_with_the_input() -> None:
    assert cpu_batch_size((48, 32)).value == 16
    assert cpu_batch_size((128, 128)).value == 4
    assert cpu_batch_size((896, 896)).value == 2


@given(st.floats(0.1, 5), st.floats(0.01, 3), st.floats(4, 80))
def test_a_gpu_batch_is_the_largest_that_fits(fixed_gb: float, each_gb: float, card_gb: float) -> None:
    def memory_of(batch: int) -> int:
        return int((fixed_gb + each_gb * batch) * GiB)

    size = gpu_batch_size(memory_of, int(card_gb * GiB)).value
    limit = HEADROOM * card_gb * GiB
    assert size == 1 or memory_of(size) <= limit * 1.001
    assert size == LARGEST or memory_of(size + 1) > limit * 0.999


def test_more_memory_allows_longer_sides() -> None:
    sides = [largest_side(Hardware(gpu_memory_gb=memory)) for memory in (None, 6.0, 11.0, 24.0)]
    assert sides == [224, 448, 672, 896]
