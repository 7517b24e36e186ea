"""Lesion-wise detection on a drawing small enough to count by eye."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evaluation.metrics.lesions import add, detect, nothing

PICTURE = {
    "reference": ["##....#...", "##........", ".........#", "...#......", "..#......."],
    "prediction": [".#........", "....#.....", ".........#", "...#.....#", "........#."],
}


def mask(name: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in line] for line in PICTURE[name]])[None]


def test_components_are_matched_by_overlap_and_counted_by_volume() -> None:
    found = detect(mask("prediction"), mask("reference"), voxel_mm3=60.0)
    assert sum(found.references) == 4 and sum(found.found) == 3
    assert sum(found.predictions) == 4 and sum(found.real) == 3
    assert found.references == (2, 2, 0, 0), "two dots of 0.06 ml; a pair of 0.12 ml and a square of 0.24 ml"
    assert found.metrics() == {"lesion_precision": 0.75, "lesion_recall": 0.75, "lesion_f1": 0.75}


def test_empty_masks_leave_undefined_what_cannot_be_said() -> None:
    empty, full = mask("reference") & False, mask("reference")
    assert detect(empty, empty, 1.0).metrics() == {
        "lesion_precision": None,
        "lesion_recall": None,
        "lesion_f1": None,
    }
    assert detect(empty, full, 1.0).metrics() == {
        "lesion_precision": None,
        "lesion_recall": 0.0,
        "lesion_f1": 0.0,
    }
    assert detect(full, empty, 1.0).metrics() == {
        "lesion_precision": 0.0,
        "lesion_recall": None,
        "lesion_f1": 0.0,
    }


def test_cases_add_up() -> None:
    once = detect(mask("prediction"), mask("reference"), 60.0)
    assert add(add(nothing(), once), once).references == (4, 4, 0, 0)


def test_components_of_pictures_are_not_told_apart_by_volume() -> None:
    picture, volume = (detect(mask("prediction"), mask("reference"), size) for size in (None, 60.0))
    assert (picture.references, picture.found, picture.predictions, picture.real) == ((4,), (3,), (4,), (3,))
    assert picture.metrics() == volume.metrics() and picture.bin_names == ("any size",)
    assert add(nothing(has_volume=False), picture) == picture
    assert add(picture, volume).found == (6,), "what has no volume makes all of it so"


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3, 1), (3, 1, 1), (1, 64, 3), (5, 5, 5), (1, 1, 1)])
def test_masks_full_of_isolated_voxels_are_counted(shape: tuple[int, int, int]) -> None:
    isolated = np.zeros(shape, dtype=np.bool_)
    isolated[::2, ::2, ::2] = True
    found = detect(isolated, isolated, 1.0)
    assert sum(found.references) == sum(found.found) == math.prod((length + 1) // 2 for length in shape)
