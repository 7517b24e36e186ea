"""Target spacing, slice axis, configurations and mirroring."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.fingerprints import make_fingerprint

from balrsam_pipeline.plan import Fingerprint
from planners.rules.configurations import (
    companions,
    configurations,
    context_slices,
    default_configuration,
    flat_axis,
)
from planners.rules.mirroring import mirror_axes
from planners.rules.slices import transpose
from planners.rules.target_spacing import target_spacing


def test_target_spacing_is_the_median() -> None:
    fingerprint = make_fingerprint([(1.0, 0.5, 0.5), (2.0, 0.7, 0.6), (3.0, 0.9, 0.9)], (100, 100, 100))
    assert target_spacing(fingerprint).value == (2.0, 0.7, 0.6)


def test_few_thick_slices_take_the_tenth_percentile() -> None:
    spacings = [(thick, 0.7, 0.7) for thick in (3.0, 4.0, 5.0, 5.0, 6.0)]
    found = target_spacing(make_fingerprint(spacings, (20, 300, 300)))
    assert found.value == pytest.approx((np.percentile([3, 4, 5, 5, 6], 10), 0.7, 0.7))
    assert "10th percentile" in found.reason


def test_the_tenth_percentile_is_never_finer_than_the_slices() -> None:
    spacings = [(0.5, 1.0, 1.0)] * 2 + [(5.0, 1.0, 1.0)] * 5
    assert target_spacing(make_fingerprint(spacings, (20, 300, 300))).value[0] == pytest.approx(1.0 + 1e-5)


def test_many_thick_slices_keep_the_median() -> None:
    spacings = [(thick, 0.7, 0.7) for thick in (3.0, 4.0, 5.0, 5.0, 6.0)]
    assert target_spacing(make_fingerprint(spacings, (200, 300, 300))).value[0] == 5.0


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [((1, 1, 1), (0, 1, 2)), ((5, 1, 1), (0, 1, 2)), ((1, 4, 1), (1, 0, 2)), ((1, 1, 4), (2, 0, 1))],
)
def test_slices_are_cut_across_the_coarsest_axis(
    spacing: tuple[float, float, float], expected: tuple[int, int, int]
) -> None:
    assert (
        transpose(spacing, (100.0, 90.0, 80.0) if min(spacing) < max(spacing) else (80.0, 100.0, 100.0)).value
        == expected
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((36.0, 51.0, 35.0), (1, 0, 2)),  # along y: slices of 36 × 35
        ((600.0, 300.0, 320.0), (0, 1, 2)),  # a body: axial
        ((155.0, 240.0, 240.0), (0, 1, 2)),  # a flat head
        ((256.0, 256.0, 176.0), (2, 0, 1)),
        ((10.0, 40.0, 36.0), (0, 1, 2)),  # a slab: its face
        ((50.0, 50.0, 50.0), (0, 1, 2)),
    ],
)
def test_where_all_axes_are_alike_slices_are_nearest_to_squares(
    size: tuple[float, float, float], expected: tuple[int, int, int]
) -> None:
    assert transpose((1.0, 1.0, 1.0), size).value == expected


@pytest.mark.parametrize("last", [1.0, 1.0000001, 1.02])
def test_spacings_that_differ_by_rounding_are_equally_fine(last: float) -> None:
    assert transpose((1.0, 1.0, last), (100.0, 320.0, 300.0)).value == (0, 1, 2)
    assert transpose((1.0, 1.0, 1.2), (100.0, 320.0, 300.0)).value == (2, 0, 1)


@pytest.mark.parametrize(("axis", "order"), [(0, (0, 1, 2)), (1, (1, 0, 2)), (2, (2, 0, 1))])
def test_single_slices_are_single_slices_whatever_thickness_their_headers_say(
    axis: int, order: tuple[int, int, int]
) -> None:
    """NIfTI has 1 mm where nobody gave a thickness, which beside pixels of 1.5 mm is no coarse axis."""
    spacing, shape = ([1.5] * 3, [128, 124, 120])
    spacing[axis], shape[axis] = 1.0, 1
    fingerprint = make_fingerprint([(spacing[0], spacing[1], spacing[2])] * 3, (shape[0], shape[1], shape[2]))
    assert flat_axis(fingerprint) == axis
    target = target_spacing(fingerprint).value
    assert sorted(target) == [1.5, 1.5, 999.0] and target[axis] == 999.0
    assert transpose((1.0, 1.5, 1.5), (192.0, 180.0, 1.0), flat_axis(fingerprint)).value == order


def test_isotropic_volumes_take_all_configurations() -> None:
    found = configurations(make_fingerprint(), (1.0, 1.0, 1.0), 0, from_scratch=True)
    assert tuple(found) == ("2d", "2.5d", "triplanar", "3d")
    assert default_configuration(tuple(found)) == "2.5d"
    assert companions(tuple(found), from_scratch=True, whole_volumes=True) == ("3d",)
    assert companions(tuple(found), from_scratch=True, whole_volumes=False) == ("2d",)


def test_thick_slices_are_no_triplanar() -> None:
    planned = configurations(make_fingerprint(), (5.0, 1.0, 1.0), 0, from_scratch=True)
    assert tuple(planned) == ("2d", "2.5d", "3d")
    assert companions(tuple(planned), from_scratch=True, whole_volumes=False) == ("2d",)
    assert companions(tuple(planned), from_scratch=False, whole_volumes=False) == ()


def test_two_dimensional_images_take_2d_alone() -> None:
    found = configurations(
        make_fingerprint([(999.0, 1.0, 1.0)], (1, 500, 500)), (999.0, 1.0, 1.0), 0, from_scratch=True
    )
    assert tuple(found) == ("2d",)
    assert default_configuration(tuple(found)) == "2d"
    assert companions(tuple(found), from_scratch=True, whole_volumes=False) == ()


WIDE = (160, 170, 180)


@pytest.mark.parametrize(
    ("names", "orientation", "expected"),
    [
        (("liver", "spleen"), "LPS", (2,)),
        (("kidney_left", "kidney_right"), "LPS", ()),
        (("LeftKidney", "rightKidney"), "LPS", ()),
        (("liver", "spleen"), "PIR", ()),  # left–right is z, which slices are cut across
        (("anterior", "posterior"), "RAS", (2,)),
        (("left_ventricle",), "LPS", (2,)),  # no right one: nothing to be mistaken for
        (("liver", "spleen"), "2D", (1, 2)),
        (("kidney_left", "kidney_right"), "2D", (1,)),
        (("upper jaw", "lower jaw"), "2D", (2,)),
        (("anterior", "posterior"), "2D", (1, 2)),
    ],
)
def test_volumes_are_mirrored_left_to_right_unless_labels_are_named_by_it_and_pictures_anyhow(
    names: tuple[str, ...], orientation: str, expected: tuple[int, ...]
) -> None:
    assert (
        mirror_axes(make_fingerprint(shape=WIDE, orientation=orientation), names, (0, 1, 2), (0,)).value
        == expected
    )


Places = list[dict[str, float]]


def lying(places: Places, axis: int, orientation: str = "LPS") -> Fingerprint:
    """Wide images whose labels lie so far along an axis (z, y, x), case by case; else in the middle."""
    fingerprint = make_fingerprint([(1.0, 1.0, 1.0)] * len(places), shape=WIDE, orientation=orientation)
    cases = []
    for case, own in zip(fingerprint.cases, places, strict=True):
        centres = {name: tuple(own[name] if other == axis else 0.5 for other in range(3)) for name in own}
        cases.append(replace(case, label_centres=centres))
    return replace(fingerprint, cases=tuple(cases))


SIDED: list[tuple[Places, str]] = [
    ([{"a": 0.3}] * 8, "a lies RIGHT the middle"),
    ([{"a": 0.7}] * 19 + [{"a": 0.4}], "a lies LEFT the middle"),
    ([{"a": 0.7}] * 18 + [{"a": 0.4}] * 2, ""),  # 90 %
    ([{"a": 0.3}] * 7, ""),  # too few to tell
    ([{"a": 0.55}] * 8, ""),  # about the middle
    ([{"a": 0.45, "b": 0.55}, {"a": 0.55, "b": 0.62}] * 4, "a lies RIGHT b"),
    ([{"a": 0.45, "b": 0.55}, {"a": 0.55, "b": 0.45}] * 8, ""),  # tumours: on either side
    ([{"a": 0.5}, {"b": 0.6}] * 4, ""),  # never seen beside each other
    ([{}] * 20, ""),  # measured by an earlier version
]


@pytest.mark.parametrize(("places", "told"), SIDED)
@pytest.mark.parametrize(("orientation", "axis"), [("LPS", 2), ("RAS", 2), ("PLS", 1)])
def test_labels_of_one_side_forbid_mirroring(places: Places, told: str, orientation: str, axis: int) -> None:
    towards = [
        {name: 1 - place if "R" in orientation else place for name, place in own.items()} for own in places
    ]
    found = mirror_axes(lying(towards, axis, orientation), ("a", "b"), (0, 1, 2), (0,))
    words = told.replace("LEFT", "to the patient's left of").replace("RIGHT", "to the patient's right of")
    assert found.value == (() if told else (axis,))
    assert words in found.reason and ("never be seen" in found.reason) == bool(told)


@pytest.mark.parametrize(("places", "told"), SIDED)
@pytest.mark.parametrize(
    ("axis", "further", "less"), [(1, "below", "above"), (2, "to the right of", "to the left of")]
)
def test_pictures_are_not_mirrored_along_axes_that_labels_tell_the_ends_of(
    places: Places, told: str, axis: int, further: str, less: str
) -> None:
    found = mirror_axes(lying(places, axis, "2D"), ("a", "b"), (0, 1, 2), (0,))
    assert found.value == tuple(other for other in (1, 2) if not told or other != axis)
    assert told.replace("LEFT", further).replace("RIGHT", less) in found.reason


@pytest.mark.parametrize("spacing", [1.0, 5e-6])
@pytest.mark.parametrize(("slicing_axes", "expected"), [((0,), (1, 2)), ((0, 1, 2), (0, 1, 2))])
def test_stacks_of_a_microscope_lie_any_way_whatever_their_files_say(
    spacing: float, slicing_axes: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    stack = make_fingerprint([(spacing,) * 3], shape=WIDE, orientation="LPS")
    found = mirror_axes(stack, ("mitochondria",), (0, 1, 2), slicing_axes, specimens=True)
    assert found.value == expected
    assert "no anatomical orientation" in found.reason


def test_reasons_say_where_places_of_labels_were_not_measured() -> None:
    earlier = make_fingerprint([(1.0, 1.0, 1.0)] * 8, shape=WIDE)
    assert "was not measured" in mirror_axes(earlier, ("liver",), (0, 1, 2), (0,)).reason
    measured = lying([{"a": 0.5}] * 8, 2)
    assert "was not measured" not in mirror_axes(measured, ("a",), (0, 1, 2), (0,)).reason


def test_mirroring_follows_the_transposed_axes() -> None:
    found = mirror_axes(make_fingerprint(shape=WIDE, orientation="LPS"), ("liver",), (2, 0, 1), (0, 1, 2))
    assert found.value == (0,)  # left–right is x, which now comes first


@pytest.mark.parametrize(
    ("spacing", "orientation", "expected"),
    [((1, 1, 3.0), "LPS", (2,)), ((1, 1, 2.5), "LPS", ()), ((1, 2.5, 1), "PLS", (1,))],
)
def test_volumes_too_narrow_for_both_sides_of_a_body_are_not_mirrored(
    spacing: tuple[float, float, float], orientation: str, expected: tuple[int, ...]
) -> None:
    fingerprint = make_fingerprint(
        [spacing], (36, 50, 35), orientation=orientation
    )  # 105, 87.5 and 125 mm from left to right
    assert mirror_axes(fingerprint, ("organ",), (0, 1, 2), (0,)).value == expected


@pytest.mark.parametrize(
    ("spacing_mm", "from_scratch", "expected"),
    [(1.0, True, 4), (0.5, True, 4), (2.0, True, 2), (5.0, True, 1), (1.0, False, 1)],
)
def test_neighbouring_slices_reach_four_millimetres_where_sam_does_not_set_their_number(
    spacing_mm: float, from_scratch: bool, expected: int
) -> None:
    assert context_slices(spacing_mm, from_scratch=from_scratch).value == expected


def test_neighbouring_slices_are_counted_by_the_distance_that_they_keep() -> None:
    """The target of 1.5 mm is for volumes that are resampled across slices, which 2.5d never does."""
    mixed = make_fingerprint([(thick, 0.8, 0.8) for thick in (5.0, 1.5, 5.0, 5.0, 7.5)], (90, 512, 512))
    planned = configurations(mixed, (1.5, 0.8, 0.8), 0, from_scratch=True)["2.5d"]
    assert planned.value.context_slices == 1
    assert "one neighbour on each side is fed along, 5 mm" in planned.reason


def test_every_other_case_being_a_left_eye_does_not_hide_the_right_ones() -> None:
    pictures = lying([{"disc": 0.3}, {"disc": 0.7}] * 600, 2, "2D")
    assert mirror_axes(pictures, ("disc",), (0, 1, 2), (0,)).value == (1, 2)


@pytest.mark.parametrize(
    "channel", ["X-ray", "chest_xray", "CXR", "OCT b-scan", "mammography", "fluoroscopy"]
)
def test_pictures_of_patients_who_stand_upright_are_not_turned_over(channel: str) -> None:
    pictures = make_fingerprint([(999.0, 1.0, 1.0)] * 3, (1, 64, 64), orientation="2D")
    decision = mirror_axes(pictures, ("lung",), (0, 1, 2), (0,), channel_names=(channel,))
    assert decision.value == (2,)
    assert "upright" in decision.reason
    other = mirror_axes(pictures, ("lung",), (0, 1, 2), (0,), channel_names=("dermoscopy",))
    assert other.value == (1, 2)


@pytest.mark.parametrize(
    ("channels", "names", "expected"),
    [
        (("CT",), ("lung",), (2,)),
        (("T1", "FLAIR"), ("lesion",), (2,)),
        (("MRI",), ("kidney_left", "kidney_right"), ()),
        (("ultrasound",), ("head",), (1, 2)),
        (("micro-CT",), ("bone",), (1, 2)),  # specimens lie any way
        (("µCT",), ("bone",), (1, 2)),
        (("fMRI",), ("bone",), (2,)),
        (("Octane",), ("spot",), (1, 2)),
    ],
)
def test_pictures_of_a_scanners_slices_are_mirrored_as_volumes_are(
    channels: tuple[str, ...], names: tuple[str, ...], expected: tuple[int, ...]
) -> None:
    pictures = make_fingerprint([(999.0, 1.0, 1.0)] * 3, (1, 256, 256), orientation="2D")
    decision = mirror_axes(pictures, names, (0, 1, 2), (0,), channel_names=channels)
    assert decision.value == expected
    assert ("in one way" in decision.reason) == (1 not in expected)


def test_stacks_of_tiff_lie_any_way_whatever_scanner_their_channel_names() -> None:
    stack = make_fingerprint([(1.0, 1.0, 1.0)], shape=WIDE)
    found = mirror_axes(stack, ("bone",), (0, 1, 2), (0,), channel_names=("CT",), specimens=True)
    assert found.value == (1, 2)
