"""Cases kept from training: out of imagesTr and labelsTr into imagesTs and labelsTs, patients together."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from balrsam_pipeline.dataset.converters.source_files import ending_of, listed, stem_of
from balrsam_pipeline.errors import DatasetError, UsageError
from balrsam_pipeline.files import read_text
from balrsam_pipeline.layout import RawFolder

LOG = logging.getLogger(__name__)
SEED = 12345  # the same cases in every conversion of the same names
FEWEST_LEFT = 2  # patients for training: one to learn from and one to validate on
_CHANNEL = re.compile(r"_\d{4}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOut:
    """Which of the labelled cases are kept for testing: a share of them, or those named; else none.

    Attributes:
        fraction: of the cases, at least 0 and below 1.
        names: of cases or of their image files.
    """

    fraction: float = 0.0
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.fraction < 1:
            raise UsageError(
                "--test-fraction",
                found=f"{self.fraction:g}",
                expected="a share of the cases, at least 0 and below 1",
                fix="for example: --test-fraction 0.2",
            )

    def __bool__(self) -> bool:
        """Whether any case is to be kept."""
        return bool(self.fraction or self.names)


def read_names(path: Path) -> tuple[str, ...]:
    """The names of a list, one a line; empty lines and what follows a # are passed over.

    Raises:
        DatasetError: the file is missing, or names nothing.
    """
    lines = (line.split("#")[0].strip() for line in read_text(path).splitlines())
    names = tuple(dict.fromkeys(line for line in lines if line))
    if not names:
        raise DatasetError(path, found="no name", expected="one case a line", fix="name the test cases in it")
    return names


def choose_cases(cases: Sequence[str], groups: Mapping[str, str], fraction: float) -> tuple[str, ...]:
    """About this share of the cases, sorted; whole groups, never more than the share unless one group is.

    Args:
        groups: case -> patient; cases without one are patients of their own.

    Raises:
        DatasetError: fewer than two patients would be left for training.

    Example:
        >>> patients = {"p1_a": "p1", "p1_b": "p1", "p2_a": "p2", "p2_b": "p2", "p3_a": "p3", "p3_b": "p3"}
        >>> len(choose_cases(sorted(patients), patients, 0.34))
        2
    """
    sizes = Counter(groups.get(case, case) for case in cases)
    units = sorted(sizes)
    wanted, taken = max(1, int(fraction * len(cases) + 0.5)), 0
    chosen: set[str] = set()
    for index in np.random.default_rng(SEED).permutation(len(units)):
        if taken + sizes[units[index]] <= wanted:
            chosen.add(units[index])
            taken += sizes[units[index]]
    if not chosen:
        chosen = {min(units, key=lambda unit: (sizes[unit], unit))}
    if len(units) - len(chosen) < FEWEST_LEFT:
        raise DatasetError(
            "--test-fraction",
            found=f"{len(chosen)} of {len(units)} patients or cases to be kept for testing",
            expected=f"at least {FEWEST_LEFT} left for training",
            fix="keep a smaller share, or add cases",
        )
    return tuple(case for case in sorted(cases) if groups.get(case, case) in chosen)


def hold_out(
    folder: Path,
    wish: HoldOut,
    groups: Mapping[str, str],
    stated: bool,
    aliases: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Move the images and labels of the cases wished for to imagesTs and labelsTs; returns their names.

    Test images that have no labels are left out of the dataset then, with a warning, so that all test cases
    can be scored.

    Args:
        folder: a converted dataset, still under its temporary name.
        groups: case -> patient.
        stated: somebody says so; otherwise it is what names such as patient012_frame01 look like.
        aliases: other names of cases, such as those of their image files.

    Raises:
        DatasetError: a name is unknown, a stated group lies on both sides, or too few are left.
    """
    if not wish:
        return ()
    raw = RawFolder(folder)
    cases = sorted({stem_of(path) for path in raw.labels_tr.iterdir() if ending_of(path)})
    if wish.names:
        chosen = _named(wish.names, cases, aliases or {})
        _check_groups(chosen, cases, groups, stated)
    else:
        chosen = choose_cases(cases, groups, wish.fraction)
    if len(chosen) > len(cases) - FEWEST_LEFT:
        raise DatasetError(
            "--test-list",
            found=f"{len(chosen)} of {len(cases)} cases",
            expected=f"at least {FEWEST_LEFT} left for training",
            fix="name fewer",
        )
    _leave_out_unlabelled(raw)
    _move(raw.images_tr, raw.images_ts, set(chosen), _image_case)
    _move(raw.labels_tr, raw.labels_ts, set(chosen), _stem)
    patients = len({groups.get(case, case) for case in chosen})
    of_patients = f" (of {patients} patients, told by {'groups' if stated else 'names'})" if groups else ""
    LOG.info("%d of %d cases%s are kept for testing", len(chosen), len(cases), of_patients)
    return chosen


def _leave_out_unlabelled(raw: RawFolder) -> None:
    """Take test images that came without labels out of imagesTs."""
    if not raw.images_ts.is_dir():
        return
    labelled = {stem_of(path) for path in raw.labels_ts.iterdir()} if raw.labels_ts.is_dir() else set()
    unlabelled = [path for path in sorted(raw.images_ts.iterdir()) if _image_case(path) not in labelled]
    if unlabelled:
        LOG.warning("test images without labels are left out: %s", listed([path.name for path in unlabelled]))
    for path in unlabelled:
        path.unlink()


def _move(source: Path, target: Path, cases: set[str], case_of: Callable[[Path], str]) -> None:
    """Move the files of some cases, with the spacings of TIFF stacks."""
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        if case_of(path) not in cases:
            continue
        if (target / path.name).exists():
            raise DatasetError(
                path.name,
                found="a test case of this name",
                expected="other names for test cases than for training cases",
                fix="rename the test images, or leave them out: --test ''",
            )
        path.rename(target / path.name)


def _stem(path: Path) -> str:
    return stem_of(path) if ending_of(path) else path.name.removesuffix(".json")


def _image_case(path: Path) -> str:
    return _CHANNEL.sub("", _stem(path))


def case_named(name: str, cases: Container[str], aliases: Mapping[str, str]) -> str | None:
    """The case that people mean by a name: its own, or that of one of its files; None for no case."""
    stem = stem_of(Path(name))
    guesses = (name, stem, _CHANNEL.sub("", stem), aliases.get(name, ""), aliases.get(stem, ""))
    return next((guess for guess in guesses if guess in cases), None)


def _named(names: Sequence[str], cases: Sequence[str], aliases: Mapping[str, str]) -> tuple[str, ...]:
    """The cases that a list means, sorted."""
    known = set(cases)
    found = {name: case_named(name, known, aliases) for name in names}
    unknown = [name for name, case in found.items() if case is None]
    if unknown:
        raise DatasetError(
            "--test-list",
            found=f"{len(unknown)} of no labelled case: {listed(unknown)}",
            expected=f"names of cases, such as {listed(cases[:3])}",
            fix="correct the list",
        )
    return tuple(sorted({case for case in found.values() if case is not None}))


def _check_groups(
    chosen: Sequence[str], cases: Sequence[str], groups: Mapping[str, str], stated: bool
) -> None:
    """Refuse stated groups that lie on both sides; of patients guessed by names only warn."""
    inside = {groups[case] for case in chosen if case in groups}
    torn = sorted({groups[case] for case in set(cases) - set(chosen) if groups.get(case) in inside})
    if torn and not stated:
        LOG.warning("cases for training and for testing share names, perhaps patients: %s", listed(torn))
    elif torn:
        raise DatasetError(
            "--test-list",
            found=f"{len(torn)} group(s) for training and for testing: {listed(torn)}",
            expected="all cases of a group on one side",
            fix="name all cases of those groups, or none",
        )
