"""Patch and input size, mask stride, batch size."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fingerprints import make_fingerprint

from balrsam_pipeline.hardware import USABLE_SHARE
from planners.hardware import GiB, Hardware
from planners.rules.batch_size import LARGEST, cpu_batch_size, gpu_batch_size
from planners.rules.checkpoint import encoder_shrink
from planners.rules.input_size import Size, given_input_size, given_tiles, input_size, largest_side
from planners.rules.mask_stride import COARSEST, label_thickness, mask_stride, pyramid_stride, pyramid_width
from planners.rules.slices import Slices, slices_of


@pytest.mark.parametrize(
    ("slice_yx", "largest", "patch", "pixels"),
    [
        ((51, 35), 224, (56, 40), (112, 80)),  # hippocampus: every voxel is 2 × 2 pixels
        ((70, 60), 224, (70, 60), (112, 96)),  # twice would be too large, once too few tokens
        ((100, 91), 224, (112, 96), (112, 96)),
        ((150, 220), 224, (160, 224), (160, 224)),
        ((300, 400), 896, (300, 400), (336, 448)),
        # 448 costs a third of 672 and loses an eighth of the resolution: preprocessed that much coarser
        ((512, 512), 896, (448, 448), (448, 448)),
    ],
)
def test_slices_are_seen_whole_where_the_hardware_allows(
    slice_yx: tuple[int, int], largest: int, patch: tuple[int, int], pixels: tuple[int, int]
) -> None:
    size = input_size(Slices(yx=slice_yx), 20.0, largest).value
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
    size = input_size(Slices(yx=slice_yx), 20.0, 224, cpu=True).value
    assert size.patch == size.input == side


def test_small_slices_are_enlarged_for_a_frozen_encoder_up_to_half_a_token_per_voxel() -> None:
    heart = input_size(Slices(yx=(210, 230)), 10.0, 896, adapted=True).value
    assert max(heart.input) == 896
    hippocampus = input_size(Slices(yx=(36, 51)), 10.0, 896, adapted=True).value
    assert max(hippocampus.input) == 448
    assert hippocampus.scale <= 448 / 51 + 0.5


@pytest.mark.parametrize("pixels", [64, 300, 540, 1024, 3000, 8000])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 1.0])
@pytest.mark.parametrize(("largest", "cpu"), [(224, True), (448, False), (896, False)])
def test_pictures_are_whole_unless_the_thinnest_label_would_be_under_four_pixels(
    pixels: int, share: float, largest: int, cpu: bool
) -> None:
    """Objects from 2 % to 100 % of pictures from 64 to 8,000 pixels."""
    thickness = share * pixels * 2 / 3  # of a disk, as the fingerprint measures it
    size = input_size(Slices(yx=(pixels * 3 // 4, pixels), pictures=True), thickness, largest, cpu=cpu).value
    whole = max(size.patch) * size.shrink >= pixels - 1e-6
    survives = share * 2 / 3 * largest >= 4
    assert whole == (survives or pixels <= largest / 0.85)
    if whole and size.shrink > 1:
        assert max(size.input) <= largest
        assert size.fitted


def test_a_photograph_with_a_thick_lesion_is_not_cut_into_tiles() -> None:
    size = input_size(Slices(yx=(2016, 3024), frame_yx=(0.67, 1.0), pictures=True), 700.0, 896).value
    assert size == Size(patch=(608, 896), input=(608, 896), shrink=pytest.approx(3024 / 896), fitted=True)


def test_fetal_heads_are_seen_whole_on_a_cpu() -> None:
    size = input_size(Slices(yx=(540, 800), frame_yx=(0.68, 1.0), pictures=True), 248.0, 224, cpu=True).value
    # 50 input pixels across the head: more steps in the same time
    assert size.patch == size.input == (112, 160)


def test_patches_hold_the_largest_slice_too_where_an_encoder_sees_each_once() -> None:
    slices = Slices(yx=(36, 51), largest_yx=(47, 62))
    patch = input_size(slices, 8.0, 224, cpu=True, once=True).value.patch
    assert patch == (48, 64)
    outlier = Slices(yx=(36, 51), largest_yx=(47, 200))
    assert input_size(outlier, 8.0, 224, cpu=True, once=True).value.patch == (48, 64)
    assert input_size(outlier, 8.0, 224, cpu=True).value.patch == (32, 64)  # in two tiles


@pytest.mark.parametrize("yx", [(100, 120), (500, 600)])
def test_one_large_picture_is_resized_where_an_encoder_sees_each_once(yx: tuple[int, int]) -> None:
    """It would be cut into tiles otherwise, for which the encoder runs in every step."""
    pictures = Slices(yx=yx, largest_yx=(4 * yx[0], 4 * yx[1]), frame_yx=(0.9, 1.0), pictures=True)
    beside = input_size(pictures, 20.0, 224, cpu=True, once=True).value
    assert beside.whole and beside.fitted


def test_thick_labels_keep_their_resolution_for_an_encoder_that_sees_each_slice_once() -> None:
    lesions = Slices(yx=(540, 800), pictures=True, frame_yx=(540 / 800, 1.0))
    assert input_size(lesions, 248.0, 224, cpu=True, once=True).value.input == (160, 224)
    assert input_size(lesions, 248.0, 224, cpu=True).value.input == (112, 160)


def test_vessels_are_tiled_beside_an_encoder_as_well() -> None:
    vessels = Slices(yx=(584, 565), pictures=True)
    assert input_size(vessels, 3.0, 224, cpu=True, once=True).value.patch == (128, 128)


def test_thin_labels_are_tiled_and_thick_ones_shrunk() -> None:
    square = Slices(yx=(400, 400))
    tiles, shrunk = input_size(square, 3.0, 224).value, input_size(square, 40.0, 224).value
    assert (tiles.patch, tiles.input, tiles.shrink) == ((224, 224), (224, 224), 1.0)
    assert (shrunk.patch, shrunk.input) == ((224, 224), (224, 224))
    assert shrunk.shrink == pytest.approx(400 / 224)
    assert input_size(square, 3.0, 224, cpu=True).value.patch == (128, 128)


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.floats(0.5, 100),
    st.sampled_from([224, 448, 672, 896]),
    st.sampled_from([(True, False), (False, False), (False, True)]),
    st.booleans(),
)
def test_any_slice_gets_a_size_within_the_hardware(
    slice_yx: tuple[int, int], thickness: float, largest: int, kind: tuple[bool, bool], pictures: bool
) -> None:
    cpu, adapted = kind
    slices = Slices(yx=slice_yx, pictures=pictures, frame_yx=tuple(side / max(slice_yx) for side in slice_yx))
    size = input_size(slices, thickness, largest, cpu=cpu, adapted=adapted).value
    assert max(size.input) <= largest
    assert all(side % 16 == 0 and side > 0 for side in size.input)
    assert all(side > 0 for side in size.patch)
    assert size.shrink >= 1
    scales = [pixels / voxels for pixels, voxels in zip(size.input, size.patch, strict=True)]
    assert min(size.patch) < 16 or max(scales) / min(scales) < 1.2  # round shapes stay nearly round


def test_a_given_side_means_whole_slices_and_tiles_are_the_other_option() -> None:
    assert given_input_size(1024, Slices(yx=(512, 512))).value.input == (1024, 1024)
    small = given_input_size(112, Slices(yx=(512, 512))).value
    assert (small.patch, small.shrink) == ((112, 112), pytest.approx(512 / 112))
    tiles = given_tiles(112, Slices(yx=(512, 512))).value
    assert tiles == Size(patch=(112, 112), input=(112, 112), whole=False)


def test_pictures_of_mixed_sizes_and_orientations_have_a_square_frame() -> None:
    sizes = [(1, 400, 600), (1, 600, 400), (1, 800, 1200), (1, 3000, 2000)]
    fingerprint = make_fingerprint([(999.0, 1.0, 1.0)] * 4, shapes=sizes)
    slices = slices_of(fingerprint, (0, 1, 2), (999.0, 1.0, 1.0), (0,))
    assert slices.mixed
    assert slices.frame_yx == (1.0, 1.0)
    assert slices.picture_scale(fingerprint.cases[3]) == slices.longest / 3000


@pytest.mark.parametrize(("largest", "stored"), [(300, (240, 300)), (896, (720, 896)), (2000, (720, 896))])
def test_pictures_of_mixed_sizes_are_stored_no_larger_than_the_largest(
    largest: int, stored: tuple[int, int]
) -> None:
    """The network enlarges them; 27 times as many pixels on disk held no more."""
    mixed = Slices(
        yx=(100, 125), frame_yx=(0.8, 1.0), pictures=True, spread=2.0, largest_yx=(largest // 2, largest)
    )
    size = input_size(mixed, 9.0, 896, adapted=True).value
    assert size.input == (720, 896)
    assert size.patch == pytest.approx(stored, abs=1)
    assert size.fitted
    assert size.scale == pytest.approx(896 / 125)
    assert size.shrink == pytest.approx(125 / max(stored))


@pytest.mark.parametrize(
    ("thickness", "scale", "stride"),
    [(30.0, 1.0, 4), (10.0, 1.0, 2), (4.4, 1.0, 1), (2.0, 1.0, 1), (2.0, 2.0, 2), (2.0, 4.0, 4)],
)
def test_masks_are_as_fine_as_the_thinnest_label_asks_but_no_finer_than_voxels(
    thickness: float, scale: float, stride: int
) -> None:
    assert mask_stride("vessel", thickness, scale).value == stride


def test_a_mask_pixel_of_a_shrunk_slice_spans_few_voxels() -> None:
    assert mask_stride("head", 248.0, 224 / 800).value == 2
    assert COARSEST * 224 / 800 >= 2


@pytest.mark.parametrize(
    ("thickness", "scale", "spanned", "limited"),
    [
        (30.0, 1.0, "stride 4 it still spans 7.5", False),
        (30.0, 0.6, "spans 4.5", False),
        (180.0, 0.18, "stride 1 it still spans 32.4", True),
        (20.0, 0.3, "stride 1 it still spans 6.0", False),  # at 2 it would span 3, and these 6.7 voxels
    ],
)
def test_the_reason_for_a_mask_stride_says_what_the_label_spans_and_what_limits_it(
    thickness: float, scale: float, spanned: str, limited: bool
) -> None:
    reason = mask_stride("mass", thickness, scale).reason
    assert spanned in reason
    assert ("more than 8 voxels" in reason) == limited


def test_labels_are_measured_in_target_voxels() -> None:
    fingerprint = make_fingerprint([(3.0, 0.5, 0.5)], thickness={"organ": 40.0, "duct": 6.0})
    assert label_thickness(fingerprint, (1, 2), (1.0, 1.0)) == pytest.approx({"organ": 20.0, "duct": 3.0})


@pytest.mark.parametrize(("shown", "decides"), [(1, False), (2, True)])
def test_labels_that_next_to_no_case_shows_decide_nothing(shown: int, decides: bool) -> None:
    fingerprint = make_fingerprint([(1.0, 1.0, 1.0)] * 40, thickness={"polyp": 110.0, "instrument": 6.0})
    cases = [
        case if index < shown else dataclasses.replace(case, label_thickness_px={"polyp": 110.0})
        for index, case in enumerate(fingerprint.cases)
    ]
    thickness = label_thickness(dataclasses.replace(fingerprint, cases=tuple(cases)), (1, 2), (1.0, 1.0))
    assert ("instrument" in thickness) == decides
    assert thickness["polyp"] == 110.0


def test_slices_of_a_large_label_are_seen_whole_though_another_gets_thin() -> None:
    """Adrenals beside a liver in CT: a tile of 128 pixels would show neither edge of the liver."""
    abdomen = Slices(yx=(512, 512), pictures=True)
    assert input_size(abdomen, 5.5, 224, thickest_px=110.0, cpu=True).value.shrink == pytest.approx(512 / 224)
    vessels = input_size(abdomen, 5.5, 224, thickest_px=20.0, cpu=True)
    assert vessels.value == Size(patch=(128, 128), input=(128, 128), whole=False)
    assert "under 4" in vessels.reason and "full resolution" in vessels.reason
    capillaries = input_size(abdomen, 4.0, 224, thickest_px=110.0, cpu=True)
    assert not capillaries.value.whole and "under 2" in capillaries.reason


def test_volumes_are_seen_whole_down_to_two_pixels() -> None:
    assert input_size(Slices(yx=(512, 512)), 5.0, 224, thickest_px=5.0, cpu=True).value.whole
    assert not input_size(Slices(yx=(512, 512)), 4.0, 224, thickest_px=4.0, cpu=True).value.whole


def test_tiles_are_no_finer_than_their_thinnest_label_needs() -> None:
    cells = Slices(yx=(1944, 2592), pictures=True)
    size = input_size(cells, 42.0, 224, thickest_px=80.0, cpu=True)
    assert size.value == Size(patch=(128, 128), input=(128, 128), shrink=42 / 8, whole=False)
    assert size.value.scale * 42 == pytest.approx(8.0), "pixels across the thinnest label"
    assert "5.2 times smaller" in size.reason and "672" in size.reason
    assert "tiles need no more" in size.value.coarser_reason
    mixed = dataclasses.replace(cells, spread=2.0)
    assert input_size(mixed, 42.0, 224, thickest_px=42.0, cpu=True).value.shrink == 1.0


def test_a_cpu_batch_shrinks_with_the_input() -> None:
    assert cpu_batch_size((48, 32)).value == 8
    assert cpu_batch_size((128, 128)).value == 8
    assert cpu_batch_size((896, 896)).value == 2


@given(st.floats(0.1, 5), st.floats(0.01, 3), st.floats(4, 80))
def test_a_gpu_batch_is_the_largest_that_fits(fixed_gb: float, each_gb: float, card_gb: float) -> None:
    def memory_of(batch: int) -> int:
        return int((fixed_gb + each_gb * batch) * GiB)

    size = gpu_batch_size(memory_of, int(card_gb * GiB)).value
    limit = USABLE_SHARE * card_gb * GiB
    assert size == 1 or memory_of(size) <= limit * 1.001
    assert size == LARGEST or memory_of(size + 1) > limit * 0.999


def test_more_memory_allows_longer_sides() -> None:
    sides = [largest_side(Hardware(gpu_memory_gb=memory)) for memory in (None, 6.0, 11.0, 24.0)]
    assert sides == [224, 448, 672, 896]


@pytest.mark.parametrize(
    ("sold", "reported"), [(8.0, (7.7, 7.9)), (16.0, (14.6, 15.7)), (11.0, (10.6, 10.8))]
)
def test_a_card_gets_the_side_of_the_size_it_is_sold_as_though_torch_reports_less(
    sold: float, reported: tuple[float, ...]
) -> None:
    named = largest_side(Hardware(gpu_memory_gb=sold))
    assert [largest_side(Hardware(gpu_memory_gb=memory)) for memory in reported] == [named] * len(reported)
    assert largest_side(Hardware(gpu_memory_gb=6.0)) == 448, "and not of the next larger one"


@pytest.mark.parametrize(
    ("thickness", "scale", "expected"), [(6.6, 0.9, 2), (5.0, 1.0, 2), (4.9, 1.0, 1), (60, 0.2, 2)]
)
def test_a_pyramids_masks_have_half_the_inputs_resolution_unless_labels_are_thin(
    thickness: float, scale: float, expected: int
) -> None:
    assert pyramid_stride("wall", thickness, scale, (224, 160)).value == expected


def test_small_slices_are_looked_at_in_full() -> None:
    assert pyramid_stride("hippocampus", 12.0, 1.0, (48, 48)).value == 1
    assert (pyramid_width(16, (48, 48)), pyramid_width(16, (224, 48))) == (24, 16)


@pytest.mark.parametrize(
    ("slices", "input_yx", "thickness", "expected"),
    [
        (60, (224, 224), 20.0, 1),  # 100 core-seconds; at half the size ten pixels across are few
        (300, (224, 224), 20.0, 2),  # 497 at the input's size, 124 at half of it
        (5000, (224, 224), 20.0, 2),  # 56 pixels would be too few
        (5000, (48, 48), 20.0, 1),
        (20, (224, 224), 60.0, 1),  # 199 for six views of each
        (60, (224, 224), 60.0, 2),  # 596 for six views, 149 at half the size
    ],
)
def test_an_encoder_sees_smaller_slices_where_there_are_many_or_labels_are_thick(
    slices: int, input_yx: tuple[int, int], thickness: float, expected: int
) -> None:
    assert encoder_shrink(slices, input_yx, thickness).value == expected
