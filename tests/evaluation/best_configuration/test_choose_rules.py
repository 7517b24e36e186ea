"""Postprocessing is chosen where it helps, and refused where it does not, or might not on other cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import wilcoxon

from balrsam_pipeline.dataset import LabelScheme
from balrsam_pipeline.errors import EvaluationError
from balrsam_pipeline.imageio import Geometry, picture_geometry, read_label, write_label
from balrsam_pipeline.inference.postprocessing import Postprocessing, apply_postprocessing
from evaluation.best_configuration.choose_rules import choose_postprocessing
from evaluation.best_configuration.gains import gain, rank_test
from evaluation.best_configuration.one_piece import in_one_piece
from evaluation.best_configuration.rule_scores import RuleScores, ScoreBoard

LABELS = LabelScheme(
    names=("organ", "lesion"),
    values=((1,), (2,)),
    has_regions=False,
    region_order=(),
    ignore_value=None,
    largest=2,
)
ONE_LABEL = LabelScheme(
    names=("vessel",), values=((1,),), has_regions=False, region_order=(), ignore_value=None, largest=1
)
GEOMETRY = Geometry(dimension=3, shape_zyx=(8, 24, 24), spacing_mm=(2.0, 1.0, 1.0))
CASES = 8
FOLDS = {f"c{index}": index % 4 for index in range(CASES)}
Maps = Callable[[int], tuple[np.ndarray, np.ndarray]]


def reference() -> np.ndarray:
    """An organ in one piece with two separate lesions inside."""
    label = np.zeros(GEOMETRY.shape_zyx, dtype=np.uint8)
    label[2:6, 4:18, 4:18] = 1
    label[3:5, 6:9, 6:9] = 2
    label[3:5, 12:16, 12:16] = 2
    return label


def write(folder: Path, maps: Maps, cases: int = CASES) -> dict[str, tuple[Path, Path]]:
    """Cases c0, c1, … of (prediction, reference); each case is a little different, as cases are."""
    pairs = {}
    for index in range(cases):
        files = (folder / "p" / f"c{index}.nii.gz", folder / "r" / f"c{index}.nii.gz")
        for path, label in zip(files, maps(index), strict=True):
            write_label(path, label, GEOMETRY)
        pairs[f"c{index}"] = files
    return pairs


def with_island(index: int) -> tuple[np.ndarray, np.ndarray]:
    prediction = reference()
    prediction[0, 18 : 21 + index % 3, 21:23] = 1
    return prediction, reference()


def test_islands_of_the_foreground_are_removed(tmp_path: Path) -> None:
    rules = choose_postprocessing(write(tmp_path, with_island), LABELS, workers=1, folds=FOLDS)
    assert [(step.kind, step.names) for step in rules.steps] == [("largest_component", ("organ", "lesion"))]
    assert any(reason.endswith("kept") for reason in rules.reasons)


def test_four_cases_are_too_few_to_tell_a_gain_from_noise(tmp_path: Path) -> None:
    rules = choose_postprocessing(write(tmp_path, with_island, 4), LABELS, workers=1)
    assert rules.steps == ()
    assert any("within noise" in reason for reason in rules.reasons)


def test_references_whose_header_was_lost_are_compared_by_index_where_that_is_asked_for(
    tmp_path: Path,
) -> None:
    pairs = write(tmp_path, with_island)
    expected = choose_postprocessing(pairs, LABELS, workers=1, folds=FOLDS)
    write_label(pairs["c3"][1], reference(), dataclasses.replace(GEOMETRY, origin_mm=(90.0, 0.0, 0.0)))
    assert choose_postprocessing(pairs, LABELS, workers=1, folds=FOLDS, by_index=True) == expected
    with pytest.raises(EvaluationError, match="origin"):
        choose_postprocessing(pairs, LABELS, workers=1, folds=FOLDS)


def references(folder: Path, maps: Callable[[int], np.ndarray], cases: int = 8) -> list[Path]:
    paths = [folder / "all" / f"r{index}.nii.gz" for index in range(cases)]
    for index, path in enumerate(paths):
        write_label(path, maps(index), GEOMETRY)
    return paths


def test_what_every_reference_shows_in_one_piece_is_kept_so_on_three_cases(tmp_path: Path) -> None:
    pairs, every = write(tmp_path, with_island, 3), references(tmp_path, lambda _: reference())
    rules = choose_postprocessing(pairs, LABELS, workers=1, references=every)
    assert [(step.kind, step.names) for step in rules.steps] == [("largest_component", ("organ", "lesion"))]
    assert any("every reference shows it in one piece" in reason for reason in rules.reasons)


def test_one_reference_in_two_pieces_or_too_few_references_take_that_away(tmp_path: Path) -> None:
    def apart(index: int) -> np.ndarray:
        label = reference()
        if index == 5:
            label[0, 20:23, 20:23] = 1
        return label

    pairs = write(tmp_path, with_island, 3)
    in_two = references(tmp_path / "two", apart)
    few = references(tmp_path / "few", lambda _: reference(), 7)
    for every in (in_two, few):
        assert choose_postprocessing(pairs, LABELS, workers=1, references=every).steps == ()


def test_in_one_piece_counts_components_as_scipy_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shape = GEOMETRY.shape_zyx
    maps = [(rng.random(shape) < 0.002).astype(np.uint8) * (1 + index % 2) for index in range(16)]
    for label in maps:
        label[1:7, 4:20, 4:20] = 1  # a large piece; specks of both labels about it
    for kept in (maps, [np.where(label == 2, label, 0) for label in maps]):
        every = references(tmp_path, lambda index, kept=kept: kept[index], len(kept))
        expected = set()
        for value, name in ((1, "organ"), (2, "lesion")):
            sizes = []
            for label in kept:
                pieces, count = ndimage.label(label == value, np.ones((3, 3, 3)))
                sizes += [np.bincount(pieces.ravel())[1:]] if count else []
            if len(sizes) >= 8 and all(size.max() >= 0.995 * size.sum() for size in sizes):
                expected.add((name,))
        found = in_one_piece(every, LABELS, workers=1)
        assert {names for names in found if len(names) == 1} == expected


def test_a_perfect_prediction_is_left_alone(tmp_path: Path) -> None:
    pairs = write(tmp_path, lambda _: (reference(), reference()))
    assert choose_postprocessing(pairs, LABELS, workers=1, folds=FOLDS).steps == ()


def test_a_second_true_lesion_is_kept_and_specks_are_dropped_by_size(tmp_path: Path) -> None:
    def maps(index: int) -> tuple[np.ndarray, np.ndarray]:
        prediction = reference()
        prediction[5, 5, 14 + index % 4] = 2  # inside the organ: no component rule may drop the second lesion
        return prediction, reference()

    rules = choose_postprocessing(write(tmp_path, maps), LABELS, workers=1, folds=FOLDS)
    assert [(step.kind, step.names, step.unit) for step in rules.steps] == [
        ("minimum_size", ("lesion",), "mm3")
    ]
    assert any("mm³ of lesion" in reason for reason in rules.reasons)


def test_a_rule_that_empties_what_is_empty_in_truth_raises_dice(tmp_path: Path) -> None:
    """There is no lesion in three quarters of the cases, and the prediction has a speck of one there."""

    def maps(index: int) -> tuple[np.ndarray, np.ndarray]:
        truth = reference()
        if index % 4:
            truth[truth == 2] = 1
        prediction = truth.copy()
        prediction[3, 10, 10] = 2
        return prediction, truth

    rules = choose_postprocessing(write(tmp_path, maps, 12), LABELS, workers=1)
    assert [(step.kind, step.names) for step in rules.steps] == [("minimum_size", ("lesion",))]


def test_a_gain_in_dice_that_costs_hd95_is_refused(tmp_path: Path) -> None:
    """Two specks go, and with them the end of a vessel: Dice rises, the farthest border is farther away."""
    geometry = picture_geometry(80, 200)
    truth = np.zeros((1, 80, 200), np.uint8)
    truth[0, 20:50, 10:110] = 1
    truth[0, 30:40, 170:195] = 1  # its end, apart
    pairs = {}
    for index in range(CASES):
        prediction = truth.copy()
        prediction[0, 30:40, 170:] = 0
        prediction[0, 32 : 35 + index % 3, 175:195] = 1
        prediction[0, 52:77, 10 : 40 + index] = 1  # false, and near
        pairs[f"c{index}"] = (tmp_path / "p" / f"c{index}.png", tmp_path / "r" / f"c{index}.png")
        write_label(pairs[f"c{index}"][0], prediction, geometry)
        write_label(pairs[f"c{index}"][1], truth, geometry)
    rules = choose_postprocessing(pairs, ONE_LABEL, workers=1, folds=FOLDS)
    largest = next(reason for reason in rules.reasons if reason.startswith("largest component"))
    assert "not kept: HD95" in largest and "px" in largest
    assert all(step.kind != "largest_component" for step in rules.steps)


def test_sizes_of_pictures_are_whole_pixels(tmp_path: Path) -> None:
    truth = np.zeros((1, 40, 40), np.uint8)
    truth[0, 5:25, 5:25] = 1
    pairs = {}
    for index in range(CASES):
        prediction = truth.copy()
        prediction[0, 30:32, 30 : 33 + index % 2] = 1
        prediction[0, 2, 30] = 1
        prediction[0, 10, 20:23] = 0
        other = truth.copy()
        other[0, 30:38, 2:10] = prediction[0, 30:38, 2:10] = 1  # a second true piece: no largest component
        pairs[f"c{index}"] = (tmp_path / "p" / f"c{index}.png", tmp_path / "r" / f"c{index}.png")
        write_label(pairs[f"c{index}"][0], prediction, picture_geometry(40, 40))
        write_label(pairs[f"c{index}"][1], other, picture_geometry(40, 40))
    rules = choose_postprocessing(pairs, ONE_LABEL, workers=1, folds=FOLDS)
    (step,) = rules.steps
    assert (step.kind, step.unit) == ("minimum_size", "pixels") and step.minimum_size == round(
        step.minimum_size
    )
    assert any("pixels of vessel" in reason for reason in rules.reasons)
    assert not any("mm" in reason for reason in rules.reasons)


def test_sizes_in_pictures_that_differ_in_size_are_shares_of_the_picture(tmp_path: Path) -> None:
    """What is a speck in a large picture may be all there is to find in a small one."""
    pairs, shares = {}, []
    for index in range(CASES):
        times = 1 + 3 * (index % 2)
        truth = np.zeros((1, 40 * times, 40 * times), np.uint8)
        truth[0, 5 * times : 9 * times, 5 * times : 9 * times] = 1  # 1 % of the picture
        truth[0, 20 * times : 24 * times, 5 * times : 9 * times] = 1
        prediction = truth.copy()
        prediction[0, 30 * times : 31 * times, 30 * times : 32 * times] = 1  # an eighth of that
        prediction[0, 5 * times, 5 * times : (6 + index % 3) * times] = 0
        shares.append(float(truth.mean()))
        pairs[f"c{index}"] = (tmp_path / "p" / f"c{index}.png", tmp_path / "r" / f"c{index}.png")
        geometry = picture_geometry(*truth.shape[1:])
        write_label(pairs[f"c{index}"][0], prediction, geometry)
        write_label(pairs[f"c{index}"][1], truth, geometry)
    (step,) = choose_postprocessing(pairs, ONE_LABEL, workers=1, folds=FOLDS).steps
    assert (step.kind, step.unit) == ("minimum_size", "share")
    assert 0.00125 < step.minimum_size < 0.01
    for predicted, reference in pairs.values():
        cleaned = apply_postprocessing(
            read_label(predicted).data[0], picture_geometry(40, 40), ONE_LABEL, Postprocessing(steps=(step,))
        )
        truth = read_label(reference).data[0]
        assert not np.any(cleaned[truth == 0]) and np.mean(cleaned[truth == 1]) > 0.8


def test_dice_is_that_of_a_set_definition(tmp_path: Path) -> None:
    prediction = np.roll(reference(), 2, axis=1)
    board = ScoreBoard(
        pairs=write(tmp_path, lambda _: (prediction, reference()), 1), labels=LABELS, workers=1
    )
    dice = board.score([()])[()].dice_cl[0]
    for index, value in enumerate((1, 2)):
        ours = set(zip(*np.nonzero(prediction == value), strict=True))
        truth = set(zip(*np.nonzero(reference() == value), strict=True))
        assert dice[index] == pytest.approx(2 * len(ours & truth) / (len(ours) + len(truth)))


def table(values: list[float]) -> np.ndarray:
    return np.array(values)[:, None]


@pytest.mark.parametrize(
    ("dice", "hd95", "verdict"),
    [
        ([0.05] * 6, [-2.0] * 6, "kept"),
        ([0.05] * 4 + [0.0] * 8, [0.0] * 12, "not kept: within noise"),
        ([0.0005] * 12, [0.0] * 12, "not kept: the gain is too small"),
        ([0.0005] * 12, [-2.0] * 12, "kept"),
        ([0.05] * 12, [-1.0] * 11 + [30.0], "not kept: HD95 of vessel rises"),
        ([0.05] * 10 + [-0.01] * 2, [-1.0] * 12, "not kept: Dice falls in fold 5"),
        ([-0.01] * 6, [-1.0] * 6, "not kept: no gain"),
    ],
)
def test_a_rule_needs_dice_beyond_noise_and_no_loss(
    dice: list[float], hd95: list[float], verdict: str
) -> None:
    count = len(dice)
    before = RuleScores(dice_cl=np.full((count, 1), 0.8), hd95_cl=np.full((count, 1), 10.0))
    change = (table(dice), table(hd95))
    after = RuleScores(dice_cl=before.dice_cl + change[0], hd95_cl=before.hd95_cl + change[1])
    found = gain(before, after, np.arange(count) // 2, ["vessel"], 0)
    assert found.verdict(found.p_value).startswith(verdict)


@pytest.mark.parametrize("seed", range(3))
def test_the_rank_test_agrees_with_scipys_exact_one(seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.3, 1, 15)
    expected = wilcoxon(differences, alternative="greater", method="exact").pvalue
    assert rank_test(differences) == pytest.approx(expected)


def test_the_rank_test_counts_sign_patterns_where_ranks_tie() -> None:
    differences = np.array([1.0, 1.0, -1.0, 2.0, 2.0])
    ranks = np.array([2, 2, 2, 4.5, 4.5])
    patterns = [[bool(number >> bit & 1) for bit in range(5)] for number in range(32)]
    reached = ranks[differences > 0].sum()
    assert rank_test(differences) == np.mean([ranks[signs].sum() >= reached for signs in patterns])
