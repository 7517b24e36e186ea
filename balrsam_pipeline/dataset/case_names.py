"""What a case may be called: its name becomes the name of files, so it must be one, and of nobody else's."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from balrsam_pipeline.errors import BalrsamError, DatasetError
from balrsam_pipeline.layout import stored_as
from balrsam_pipeline.printable import one_line

LONGEST = 200  # bytes; file systems take 255, and "_foreground.b2nd" or a temporary prefix come on top
# files that commands write beside those of cases; a TIFF's spacing lies in CASE.json
RESERVED = ("dataset", "prediction", "plan", "splits", "splits_final", "fingerprint", "summary", "manifest")


def require_case_name(case: str, where: object, error: type[BalrsamError] = DatasetError) -> None:
    """Refuse a name that is a path, acts on a terminal, or is that of a file of ours.

    Raises:
        error: the message shows the name, escaped.
    """
    problem = case_name_problem(case)
    if problem is not None:
        raise error(
            where,
            found=f"a case named '{one_line(case[:LONGEST])}': {problem}",
            expected="a plain name, such as patient_017",
            fix="rename the case and its files",
        )


def require_names_apart(cases: Collection[str], where: object) -> None:
    """Refuse cases that would write each other's preprocessed files, such as x and x_label.

    Raises:
        DatasetError: there are two; the message names them.
    """
    for case in cases:
        other = stored_as(case)
        if other != case and other in cases:
            raise DatasetError(
                where,
                found=f"cases named '{other}' and '{case}', which is also a preprocessed file of {other}",
                expected=f"no case named as another with {case.removeprefix(other)} behind it",
                fix="rename one of them with its files; a label map belongs into labelsTr",
            )


def case_name_problem(case: str) -> str | None:
    """Why a case must not be called so; None where it may."""
    if not case or case != case.strip():
        return "an empty name" if not case.strip() else "a name with spaces at an end"
    if "/" in case or "\\" in case or case.startswith(".") or Path(case).name != case:
        return "a path or a hidden name"
    if one_line(case) != case and not _has_foreign_bytes(case):
        return "it holds control characters"
    if len(case.encode("utf-8", "surrogateescape")) > LONGEST:
        return f"longer than {LONGEST} bytes"
    if case.lower() in RESERVED:
        return f"the name of {case.lower()}.json, which commands write beside the cases"
    return None


def _has_foreign_bytes(case: str) -> bool:
    """Whether all that is odd about a name are bytes that are no UTF-8; readers answer for those."""
    plain = "".join(letter for letter in case if not "\ud800" <= letter <= "\udfff")
    return plain != case and one_line(plain) == plain
