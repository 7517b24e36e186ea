"""What a leaderboard's server would refuse, found before it is sent: each rule by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.imageio import Geometry, Image, read_geometry, read_label

ORIGIN_TOLERANCE = (
    1e-3  # mm, relative to nothing: headers are copied, so any larger difference is another grid
)
RELATIVE_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong ("error": refused) or odd ("warning")."""

    rule: str
    case: str
    found: str
    expected: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"[{self.rule}] {self.case}: {self.found}; expected {self.expected}"


def check_case_sets(predicted: Mapping[str, Path], images: Mapping[str, Path]) -> list[Finding]:
    """Predictions and images one to one."""
    missing = [
        Finding(
            rule="missing case",
            case=case,
            found="no prediction",
            expected=f"a prediction of {images[case].name}",
        )
        for case in sorted(set(images) - set(predicted))
    ]
    extra = [
        Finding(
            rule="extra case",
            case=case,
            found=f"{predicted[case].name} belongs to no image",
            expected="predictions of the test images alone",
        )
        for case in sorted(set(predicted) - set(images))
    ]
    return missing + extra


def check_label(
    case: str, path: Path, image: Path, allowed: frozenset[int]
) -> tuple[Image | None, list[Finding]]:
    """Check one prediction against its image; returns it as read (None where it cannot be) and what was
    found."""
    try:
        label, expected = read_label(path), read_geometry(image)
    except BalrsamError as problem:
        return None, [unreadable(case, problem)]
    findings = geometry_findings(case, label.geometry, expected)
    return label, findings + value_findings(case, label.data[0], allowed)


def geometry_findings(case: str, found: Geometry, expected: Geometry) -> list[Finding]:
    """Shape, spacing, origin and direction equal to the image's."""
    if found.shape_zyx != expected.shape_zyx:
        return [
            Finding(
                rule="shape",
                case=case,
                found=f"shape {found.shape_zyx}",
                expected=f"{expected.shape_zyx}, as the image",
            )
        ]
    pairs = (
        ("spacing", found.spacing_mm, expected.spacing_mm, RELATIVE_TOLERANCE, 0.0),
        ("origin", found.origin_mm, expected.origin_mm, 0.0, ORIGIN_TOLERANCE),
        ("direction", found.direction, expected.direction, 0.0, RELATIVE_TOLERANCE),
    )
    return [
        Finding(
            rule=rule, case=case, found=f"{rule} {_short(one)}", expected=f"{_short(other)}, as the image"
        )
        for rule, one, other, relative, absolute in pairs
        if not np.allclose(one, other, rtol=relative, atol=absolute)
    ]


def value_findings(case: str, label_zyx: npt.NDArray[Any], allowed: frozenset[int]) -> list[Finding]:
    """Only allowed labels; an all-empty mask is odd."""
    values = {int(value) for value in np.unique(label_zyx)}
    strange = sorted(values - allowed)
    if strange:
        return [
            Finding(
                rule="labels", case=case, found=f"values {strange[:5]}", expected=f"among {sorted(allowed)}"
            )
        ]
    if values <= {0}:
        return [
            Finding(
                rule="empty mask",
                case=case,
                found="no foreground at all",
                expected="usually some",
                severity="warning",
            )
        ]
    return []


def unreadable(case: str, problem: BalrsamError) -> Finding:
    """A file that is no label map."""
    return Finding(rule="readable integers", case=case, found=problem.found, expected=problem.expected)


def left_out_findings(cases: Sequence[str], form: str) -> list[Finding]:
    """Cases that a leaderboard does not want, though they are among its test images; one warning for all."""
    if not cases:
        return []
    return [
        Finding(
            rule="left out",
            case=", ".join(sorted(cases)),
            found="test cases that the server does not score",
            expected=f"an archive without them ({form})",
            severity="warning",
        )
    ]


def check_folders(names: Iterable[str], expected: Sequence[str]) -> list[Finding]:
    """Folders that an archive of all tasks should have; those missing are odd."""
    there = {name.partition("/")[0] for name in names}
    missing = [folder for folder in expected if folder not in there]
    if not missing:
        return []
    return [
        Finding(
            rule="missing task",
            case=", ".join(missing),
            found=f"{len(there)} of {len(expected)} tasks",
            expected="all of them in one archive",
            severity="warning",
        )
    ]


def check_size(name: str, size_bytes: int, limit_bytes: int | None) -> list[Finding]:
    """An archive no larger than the server takes, and not empty."""
    if size_bytes == 0 or (limit_bytes is not None and size_bytes > limit_bytes):
        expected = (
            f"at most {limit_bytes / 2**20:.1f} MiB" if limit_bytes is not None else "more than nothing"
        )
        return [Finding(rule="size", case=name, found=f"{size_bytes / 2**20:.1f} MiB", expected=expected)]
    return []


def _short(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
