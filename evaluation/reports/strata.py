"""Scores by a property of the case: site, scanner, sex, size."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from balrsam_pipeline.errors import EvaluationError
from evaluation.summary import Summary

MOST_GROUPS = 8  # a column of numbers with more different values is cut into quarters
UNKNOWN = "(not given)"
FEWEST_DIGITS, MOST_DIGITS = 6, 17  # significant ones; with 17 any two floating-point numbers differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """Case -> group, by the column `name` of a table."""

    name: str
    groups: dict[str, str]


def read_strata(path: Path, column: str, cases: tuple[str, ...]) -> Strata:
    """Read the groups of cases from a CSV file with a column 'case'.

    Numbers with more than eight different values are cut into quarters; cases that the table leaves out, or
    that have no number where most have, form a group of their own.

    Raises:
        EvaluationError: no file, other separators than commas, no such column, no row for any of the cases,
            or one of the cases in two groups.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            columns = list(reader.fieldnames or [])
            records = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise EvaluationError(
            path,
            found=f"cannot be read: {problem}",
            expected="a CSV file",
            fix="check the path and encoding",
        ) from None
    if len(columns) == 1 and (separators := [mark for mark in ";\t" if mark in columns[0]]):
        raise EvaluationError(
            path,
            found=f"columns between {'tabs' if separators[0] != ';' else 'semicolons'}: {columns[0]!r}",
            expected="a CSV file with commas between columns",
            fix="save it with commas",
        )
    for needed in ("case", column):
        if needed not in columns:
            raise EvaluationError(
                path,
                found=f"columns {', '.join(columns) or 'none'}",
                expected=f"a column '{needed}'",
                fix="name another column: --by COLUMN",
            )
    scored = set(cases)
    rows = [(record["case"], (record[column] or "").strip()) for record in records]
    table = _one_group_each(path, [row for row in rows if row[0] in scored])
    known = {case: table[case] for case in cases if case in table}
    if not known:
        raise EvaluationError(
            path,
            found="none of the cases that were scored",
            expected=f"a row for cases such as {cases[0]}",
            fix="check the column 'case'",
        )
    known = _quarters(known)
    return Strata(name=column, groups={case: known.get(case, UNKNOWN) for case in cases})


def _one_group_each(path: Path, rows: Sequence[tuple[str, str]]) -> dict[str, str]:
    groups: dict[str, str] = {}
    for case, group in rows:
        if group and groups.setdefault(case, group) != group:
            raise EvaluationError(
                path,
                found=f"case {case} in group {groups[case]!r} and in group {group!r}",
                expected="one group per case",
                fix="correct the table, or name another column: --by COLUMN",
            )
    return groups


def by_stratum(summary: Summary, strata: Strata) -> dict[str, Summary]:
    """A summary for each group, in order of their names."""
    groups = {case: strata.groups[case] for case in summary.cases}  # those that were scored
    names = list(dict.fromkeys(sorted(groups.values(), key=_natural)))
    return {
        name: _subset(summary, {case for case, group in groups.items() if group == name}) for name in names
    }


def _subset(summary: Summary, cases: set[str]) -> Summary:
    return replace(
        summary,
        rows=tuple(row for row in summary.rows if row.case in cases),
        files={case: files for case, files in summary.files.items() if case in cases},
        groups={case: group for case, group in summary.groups.items() if case in cases},
        warnings=(),
    )


def _quarters(known: dict[str, str]) -> dict[str, str]:
    """Quarters of a column that is mostly numbers, without the cases that have none in it (NA, nan, inf); a
    column of other words, or of few different numbers, as it is."""
    numbers = {case: number for case, value in known.items() if (number := _finite(value)) is not None}
    if 2 * len(numbers) <= len(known) or len(set(numbers.values())) <= MOST_GROUPS:
        return known
    cuts = np.percentile(list(numbers.values()), [0, 25, 50, 75, 100])
    quarter = {
        case: min(3, int(np.searchsorted(cuts[1:], value, side="left"))) for case, value in numbers.items()
    }
    limits = _told_apart([float(cut) for cut in cuts])
    return {case: f"{limits[number]} to {limits[number + 1]}" for case, number in quarter.items()}


def _told_apart(numbers: Sequence[float]) -> list[str]:
    """Numbers as texts, with as many digits as it takes to tell different ones apart: groups go by them."""
    for digits in range(FEWEST_DIGITS, MOST_DIGITS):
        texts = [f"{number:.{digits}g}" for number in numbers]
        if len(set(texts)) == len(set(numbers)):
            return texts
    return list(map(repr, numbers))


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _natural(name: str) -> tuple[int, float, str]:
    number = _finite(name.partition(" ")[0])
    return (1, 0.0, name) if number is None else (0, number, name)
