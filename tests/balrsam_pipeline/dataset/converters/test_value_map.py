"""Advice about values of masks: a threshold where they are blurred, else a label value for each."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from balrsam_pipeline.dataset.converters.value_map import choose_value_map, parse_value_map
from balrsam_pipeline.dataset.grey_values import is_blurred
from balrsam_pipeline.errors import DatasetError


def advice(counts: dict[int, int], given: str = "") -> str:
    with pytest.raises(DatasetError) as refused:
        choose_value_map({(grey,): count for grey, count in counts.items()}, parse_value_map(given), "masks")
    return refused.value.fix


@pytest.mark.parametrize(
    ("greys", "offered"),
    [
        ((0, 128, 255), "128=1,255=2"),
        ((0, 85, 170, 255), "85=1,170=2,255=3"),
        ((0, 1, 2, 5), "1=1,2=2,5=3"),
        (tuple(range(0, 250, 25)), ",".join(f"{25 * value}={value}" for value in range(1, 10))),
    ],
)
@pytest.mark.parametrize("rare", [2, 400])
def test_a_few_greys_are_offered_a_label_each(greys: tuple[int, ...], offered: str, rare: int) -> None:
    fix = advice({grey: 100_000 if grey == 0 else rare for grey in greys})
    assert f"--value-map '{offered}'" in fix
    assert "threshold" not in fix
    choose_value_map({(grey,): 1 for grey in greys}, parse_value_map(offered), "masks")


@pytest.mark.parametrize("numbers", [(0, 1), (0, 1, 2), (0, 1, 7, 15), tuple(range(21))])
def test_255_beside_numbers_of_labels_is_offered_as_ignore(numbers: tuple[int, ...]) -> None:
    fix = advice(dict.fromkeys((*numbers, 255), 100))
    labels = len(numbers) - 1
    assert "void" in fix and f"ignore={labels + 1}" in fix and "threshold" not in fix
    offered = re.search(r"--value-map '([^']+)'", fix)
    assert offered is not None
    assert parse_value_map(offered[1])[(255,)] == labels + 1


def test_what_was_named_is_kept_in_the_advice() -> None:
    assert "--value-map '128=4,255=5'" in advice({0: 90, 128: 5, 255: 5}, "128=4")


def test_rare_labels_among_many_are_not_taken_for_blur() -> None:
    """Twenty labels, 10 greys apart, each a hundredth of the picture."""
    assert not is_blurred({0: 10_000} | dict.fromkeys(range(10, 210, 10), 100))


@pytest.mark.parametrize("inverted", [False, True])
def test_the_fringe_of_a_small_lesion_saved_as_jpeg_is_blur(inverted: bool) -> None:
    counts = {0: 50_000, 1: 300, 3: 90, 254: 60, 255: 140}
    counts |= {int(grey): 4 for grey in np.arange(9, 250, 7)}
    assert is_blurred({255 - grey if inverted else grey: count for grey, count in counts.items()})


@pytest.mark.parametrize("quality", [100, 98, 95, 90, 75, 50])
@pytest.mark.parametrize("radius", [8, 20, 40])
def test_two_values_saved_as_jpeg_are_blur_at_any_quality(quality: int, radius: int) -> None:
    rows, columns = np.mgrid[:200, :300]
    disc = ((rows - 100) ** 2 + (columns - 150) ** 2 < radius**2).astype(np.uint8) * 255
    file = io.BytesIO()
    Image.fromarray(disc).save(file, "JPEG", quality=quality)
    greys, counts = np.unique(np.asarray(Image.open(file)), return_counts=True)
    assert is_blurred(dict(zip(greys.tolist(), counts.tolist(), strict=True)))


def discs(greys: tuple[int, ...], quality: int) -> np.ndarray:
    """A disc of each grey, saved as JPEG."""
    rows, columns = np.mgrid[:200, :300]
    mask = np.zeros((200, 300), np.uint8)
    for index, grey in enumerate(greys):
        mask[(rows - 60 - 25 * index) ** 2 + (columns - 60 - 70 * index) ** 2 < 30**2] = grey
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("quality", [98, 90, 75, 50])
@pytest.mark.parametrize(
    ("greys", "offered"),
    [((255, 128), "64-191=1,192-255=2"), ((85, 255, 170), "43-127=1,128-212=2,213-255=3")],
)
def test_several_labels_saved_as_jpeg_are_offered_a_range_each(
    greys: tuple[int, ...], offered: str, quality: int
) -> None:
    mask = discs(greys, quality)
    values, counts = np.unique(mask, return_counts=True)
    fix = advice(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    found = re.search(r"--value-map '([^']+)'", fix)
    assert found is not None and "PNG" in fix
    given, wanted = parse_value_map(found[1]), parse_value_map(offered)
    assert list(given.values()) == list(wanted.values())
    for (_, *limits), (_, *expected) in zip(given, wanted, strict=True):
        assert limits == pytest.approx(expected, abs=2)


@pytest.mark.parametrize("frequent", [{255: 9_000}, {128: 8_000, 255: 9_000}])
def test_all_greys_of_a_byte_about_a_few_frequent_ones_are_no_numbers_of_labels(
    frequent: dict[int, int],
) -> None:
    fix = advice(dict.fromkeys(range(256), 2) | {0: 60_000} | frequent)
    assert "JPEG" in fix and "void" not in fix
    many = {(grey,): 100 for grey in range(256)}
    assert choose_value_map(many, {}, "masks") == {(grey,): grey for grey in range(256)}


def test_eight_labels_with_a_rim_of_void_are_no_blur() -> None:
    assert not is_blurred({0: 50_000, 255: 2_000} | dict.fromkeys(range(1, 9), 375))
