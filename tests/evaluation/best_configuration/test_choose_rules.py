"""Postprocessing is chosen where it raises Dice, and refused where it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from balrsam_pipeline.dataset import LabelScheme
from balrsam_pipeline.imageio import Geometry, write_label
from evaluation.best_configuration.choose_rules import choose_postprocessing
from evaluation.best_configuration.dice import score_rules

LABELS = LabelScheme(
    names=("organ", "lesion"),
    values=((1,), (2,)),
    has_regions=False,
    region_order=(),
    ignore_value=None,
    largest=2,
)
GEOMETRY = Geometry(dimension=3, shape_zyx=(8, 24, 24), spacing_mm=(2.0, 1.0, 1.0))


def reference() -> np.ndarray:
    """An organ in one piece with two separate lesions inside."""
    label = np.zeros(GEOMETRY.shape_zyx, dtype=np.uint8)
    label[2:6, 4:18, 4:18] = 1
    label[3:5, 6:9, 6:9] = 2
    label[3:5, 12:16, 12:16] = 2
    return label


def write(folder: Path, prediction: np.ndarray, cases: int = 3) -> dict[str, tuple[Path, Path]]:
    pairs = {}
    for index in range(cases):
        pairs[f"c{index}"] = (folder / "p" / f"c{index}.nii.gz", folder / "r" / f"c{index}.nii.gz")
        write_label(pairs[f"c{index}"][0], prediction, GEOMETRY)
        write_label(pairs[f"c{index}"][1], reference(), GEOMETRY)
    return pairs


def test_islands_of_the_foreground_are_removed(tmp_path: Path) -> None:
    prediction = reference()
    prediction[0, 21:23, 21:23] = 1
    rules = choose_postprocessing(write(tmp_path, prediction), LABELS, workers=1)
    assert [(step.kind, step.names) for step in rules.steps] == [("largest_component", ("organ", "lesion"))]
    assert any("kept" in reason for reason in rules.reasons)


def test_a_perfect_prediction_is_left_alone(tmp_path: Path) -> None:
    assert choose_postprocessing(write(tmp_path, reference()), LABELS, workers=1).steps == ()


def test_a_second_true_lesion_is_kept_and_specks_are_dropped_by_size(tmp_path: Path) -> None:
    prediction = reference()
    prediction[5, 5, 16] = 2  # a speck inside the organ: no component rule may drop the second lesion
    rules = choose_postprocessing(write(tmp_path, prediction), LABELS, workers=1)
    assert [(step.kind, step.names) for step in rules.steps] == [("minimum_size", ("lesion",))]


def test_dice_is_that_of_a_set_definition(tmp_path: Path) -> None:
    prediction = np.roll(reference(), 2, axis=1)
    dice = score_rules(write(tmp_path, prediction, 1), LABELS, [()], workers=1).dice_rcl[0, 0]
    for index, value in enumerate((1, 2)):
        ours = set(zip(*np.nonzero(prediction == value), strict=True))
        truth = set(zip(*np.nonzero(reference() == value), strict=True))
        assert dice[index] == pytest.approx(2 * len(ours & truth) / (len(ours) + len(truth)))


def test_a_rule_that_empties_what_is_empty_in_truth_raises_dice(tmp_path: Path) -> None:
    """In half of the cases there is no lesion, and the prediction has a speck of one."""
    pairs = write(tmp_path, reference(), cases=4)
    for case in ("c0", "c1"):
        truth, speck = np.where(reference() == 2, 1, reference()), np.where(reference() == 2, 1, reference())
        speck[3, 10, 10] = 2
        write_label(pairs[case][1], truth.astype(np.uint8), GEOMETRY)
        write_label(pairs[case][0], speck.astype(np.uint8), GEOMETRY)
    rules = choose_postprocessing(pairs, LABELS, workers=1)
    assert [(step.kind, step.names) for step in rules.steps] == [("minimum_size", ("lesion",))]
    assert any("its Dice 0.5000 -> 1.0000, kept" in reason for reason in rules.reasons)
