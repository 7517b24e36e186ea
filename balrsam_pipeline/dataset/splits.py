"""Cross-validation folds: those of the dataset, those that keep patients together, or the five that nnU-Net
makes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from balrsam_pipeline.dataset.raw import RawDataset
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.files import read_json, read_text, write_json, write_text
from balrsam_pipeline.layout import GROUPS, SPLITS_FINAL
from balrsam_pipeline.printable import as_text, plural, taken_back

FOLDS = 5
SHOWN = 5  # cases that a message names
SEED = 12345  # nnU-Net's, so that numbers compare fold by fold


@dataclass(frozen=True, slots=True)
class Fold:
    """One division into training and validation cases, each sorted."""

    train: tuple[str, ...]
    val: tuple[str, ...]

    def sha256(self) -> str:
        """Of the names of the cases, in hexadecimal: what tells whether weights have seen the same ones."""
        return hashlib.sha256(json.dumps([self.train, self.val]).encode()).hexdigest()


def make_folds(cases: Sequence[str], groups: Mapping[str, str] | None = None) -> tuple[Fold, ...]:
    """Divide cases into five folds (fewer where there are fewer cases or groups).

    Without groups this equals `sklearn.model_selection.KFold(5, shuffle=True, random_state=12345)` over the
    sorted names, which is what nnU-Net uses. With groups the same division is made of the groups, and a
    group's cases stay together.

    Args:
        groups: case -> group (patient, scanner, site); cases without one are groups of their own.

    Raises:
        DatasetError: fewer than two cases or groups.

    Example:
        >>> folds = make_folds([f"case_{number}" for number in range(10)])
        >>> len(folds), len(folds[0].train), folds[0].val
        (5, 8, ('case_0', 'case_7'))
    """
    names = sorted(cases)
    group_of = {case: (groups or {}).get(case, case) for case in names}
    units = sorted(set(group_of.values()))
    if len(units) < 2:
        raise DatasetError(
            "cross-validation folds",
            found=f"{len(units)} {'group' if groups else 'case'}(s)",
            expected="at least 2",
            fix="add training cases" + (", or correct groups.csv" if groups else ""),
        )
    order = np.arange(len(units))
    np.random.RandomState(SEED).shuffle(order)  # the generator that nnU-Net's folds come from
    folds = []
    for chosen in np.array_split(order, min(FOLDS, len(units))):
        held_out = {units[index] for index in chosen}
        folds.append(
            Fold(
                train=tuple(case for case in names if group_of[case] not in held_out),
                val=tuple(case for case in names if group_of[case] in held_out),
            )
        )
    return tuple(folds)


def blocks_advice(file_ending: str) -> str:
    """How one volume becomes several cases, in the words of a fix.

    Example:
        >>> "tifffile.imread" in blocks_advice(".tif"), "sitk.ReadImage" in blocks_advice(".nii.gz")
        (True, True)
    """
    loop = (
        "for n, block in enumerate(numpy.array_split(tifffile.imread('FILE.tif'), 5)): "
        "tifffile.imwrite(f'blocks/images/block{n}.tif', block, photometric='minisblack')"
        if file_ending in (".tif", ".tiff")
        else "image = sitk.ReadImage('FILE'); depth = image.GetDepth(); "
        "[sitk.WriteImage(image[:, :, n * depth // 5 : (n + 1) * depth // 5], "
        f"f'blocks/images/block{{n}}{file_ending}') for n in range(5)]"
    )
    return (
        "add training cases, or cut the volume into blocks of slices (or single slices), each a case. Make "
        f"the folders blocks/images and blocks/masks; then, in Python: {loop}, and the same of the mask into "
        "blocks/masks; then: balrsam convert blocks DATASET --from pairs"
    )


def folds_of(dataset: RawDataset) -> tuple[Fold, ...]:
    """The folds of a dataset: its splits_final.json, else made from its groups.csv, else as nnU-Net makes
    them.

    Raises:
        DatasetError: a splits or groups file is malformed or names unknown cases, or there are fewer than two
            cases.
    """
    cases = tuple(dataset.training_cases())
    splits = dataset.folder / SPLITS_FINAL
    if splits.is_file():
        folds = read_folds(splits)
        _require_known(splits, (case for fold in folds for case in (*fold.train, *fold.val)), cases)
        return folds
    groups = dataset.folder / GROUPS
    if groups.is_file():
        group_of = read_groups(groups)
        _require_known(groups, group_of, cases)
        return make_folds(cases, group_of)
    return make_folds(cases)


def validated_twice(folds: Mapping[int, Sequence[str]]) -> dict[str, tuple[int, ...]]:
    """The cases that several folds validate, as random splits do: case -> those folds, ascending.

    Args:
        folds: number of a fold -> its validation cases.

    Example:
        >>> validated_twice({0: ("a", "b"), 1: ("c",), 3: ("b",)})
        {'b': (0, 3)}
    """
    found: dict[str, list[int]] = {}
    for number, cases in sorted(folds.items()):
        for case in cases:
            found.setdefault(case, []).append(number)
    return {case: tuple(numbers) for case, numbers in sorted(found.items()) if len(numbers) > 1}


def in_which_folds(twice: Mapping[str, Sequence[int]]) -> str:
    """What `validated_twice` found, for a message.

    Example:
        >>> in_which_folds({"b": (0, 3)})
        'b in folds 0 3'
    """
    found = [f"{case} in folds {' '.join(map(str, numbers))}" for case, numbers in twice.items()]
    return "; ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")


def folds_apart(folds: Mapping[int, Sequence[str]]) -> tuple[int, ...]:
    """Folds that validate no case twice: the first, and each that shares none with those before.

    Example:
        >>> folds_apart({0: ("a", "b"), 1: ("b", "c"), 2: ("c",)})
        (0, 2)
    """
    taken: set[str] = set()
    apart = []
    for number, cases in sorted(folds.items()):
        if taken.isdisjoint(cases):
            taken |= set(cases)
            apart.append(number)
    return tuple(apart)


def require_validated_once(path: Path, folds: Sequence[Fold], chosen: Sequence[int]) -> None:
    """Check that the scores of folds can be pooled: no case is validated by two of them.

    Args:
        path: where the folds are from.
        folds: all of them.
        chosen: the numbers of those that are pooled.

    Raises:
        DatasetError: a case is validated twice; the message names it, its folds, and folds that are apart.
    """
    cases = {number: folds[number].val for number in chosen if 0 <= number < len(folds)}
    twice = validated_twice(cases)
    if twice:
        raise DatasetError(
            path,
            found=f"{plural(len(twice), 'case')} validated by several folds: {in_which_folds(twice)}",
            expected="a case in the validation of one fold, since scores of folds are pooled",
            fix=f"pool folds that share none (--folds {' '.join(map(str, folds_apart(cases)))}), train the "
            f"others alone (balrsam train DATASET --fold N), or correct {SPLITS_FINAL} and plan again",
        )


def read_groups(path: Path) -> dict[str, str]:
    """Read groups.csv (columns case, group; the heading may be left out).

    Raises:
        DatasetError: missing, a line without two columns, or a case with two groups.
    """
    groups: dict[str, str] = {}
    lines = read_text(path).splitlines(keepends=True)
    try:
        stripped = ([cell.strip() for cell in row] for row in csv.reader(lines))
        rows = [[taken_back(cell) for cell in row] for row in stripped if any(row)]
    except csv.Error as problem:
        raise _wrong(
            path, f"cannot be read: {problem}", "a CSV file in UTF-8 with the columns case, group"
        ) from None
    for number, row in enumerate(rows, 1):
        if number == 1 and [cell.lower() for cell in row] == ["case", "group"]:
            continue
        if len(row) != 2 or not all(row):
            raise _wrong(path, f"line {number}: {','.join(row)!r}", "case,group")
        if groups.setdefault(row[0], row[1]) != row[1]:
            raise _wrong(
                path,
                f"line {number}: case {row[0]} in group {row[1]} and in group {groups[row[0]]}",
                "one group per case",
            )
    return groups


def write_groups(path: Path, groups: Mapping[str, str]) -> None:
    """Write case -> group as `read_groups` reads it, atomically; no name is a formula to a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("case", "group"))
    writer.writerows((as_text(case), as_text(group)) for case, group in sorted(groups.items()))
    write_text(path, text.getvalue())


def read_folds(path: Path) -> tuple[Fold, ...]:
    """Read a list of {"train": […], "val": […]}, the form of nnU-Net's splits_final.json.

    Raises:
        DatasetError: missing or malformed, an empty part, or a case in both parts of a fold.
    """
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise _wrong(path, f"{str(content)[:60]!r}", 'a list of {"train": […], "val": […]}')
    return tuple(_fold(path, index, entry) for index, entry in enumerate(content))


def write_folds(path: Path, folds: Sequence[Fold]) -> None:
    """Write folds in the form of nnU-Net's splits_final.json, atomically."""
    write_json(path, [{"train": list(fold.train), "val": list(fold.val)} for fold in folds])


def _fold(path: Path, index: int, entry: Any) -> Fold:
    parts = [entry.get(part) if isinstance(entry, dict) else None for part in ("train", "val")]
    if not all(isinstance(part, list) and part and set(map(type, part)) == {str} for part in parts):
        raise _wrong(
            path, f"fold {index}: {str(entry)[:60]!r}", '{"train": […], "val": […]}, neither of them empty'
        )
    train, val = (tuple(sorted(set(part))) for part in parts if part is not None)
    both = sorted(set(train) & set(val))
    if both:
        raise _wrong(path, f"fold {index}: {', '.join(both[:5])} in train and in val", "no case in both")
    return Fold(train, val)


def _require_known(path: Path, named: Any, cases: Sequence[str]) -> None:
    unknown = sorted(set(named) - set(cases))
    if unknown:
        raise _wrong(
            path, f"{len(unknown)} unknown case(s): {', '.join(unknown[:5])}", "names of training cases"
        )


def _wrong(path: Path, found: str, expected: str) -> DatasetError:
    return DatasetError(
        path, found=found, expected=expected, fix=f"correct {path.name}, or remove it to have folds made"
    )
