"""What an integrity check found: problems with their fixes, as text for people and JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.layout import IMAGES_TS
from balrsam_pipeline.printable import listed, plural
from balrsam_pipeline.serialise import to_json

Severity = Literal["error", "warning"]
SHOWN_CASES = 6


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a dataset.

    Attributes:
        kind: a fixed name such as "label_of_0_and_255"; docs/datasets.md lists all.
        case: the case, or the file or folder where no case is concerned.
        found: what is there.
        expected: what should be there.
        fix: the command or edit that fixes it.
        severity: an "error" stops planning; a "warning" is for the user to judge.
    """

    kind: str
    case: str
    found: str
    expected: str
    fix: str
    severity: Severity = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegrityReport:
    """All problems of a dataset; none means that it can be planned, trained and predicted."""

    dataset: str
    training_cases: int
    test_cases: int
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop planning."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that are for the user to judge."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    def table(self) -> str:
        """The report for a terminal: problems of one kind together, errors first, each with its fix."""
        checked = f"{self.dataset}: {self.training_cases} training and {self.test_cases} test cases checked"
        if not self.problems:
            return f"{checked}, nothing wrong."
        lines = [f"{checked}: {plural(len(self.errors), 'error')}, {plural(len(self.warnings), 'warning')}."]
        for group in _groups(self.problems):
            first = group[0]
            names = list(dict.fromkeys(problem.case for problem in group))
            lines += [
                "",
                f"{first.severity.upper():7}  {first.kind}  ({listed(names, SHOWN_CASES)})",
                f"         found:    {first.found}" + ("  (first case)" if len(names) > 1 else ""),
                f"         expected: {first.expected}",
                f"         fix:      {first.fix}",
            ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object, every problem in full."""
        return dict(to_json(self))


def problem_of(error: BalrsamError, kind: str, case: str) -> Problem:
    """The problem that an error message describes."""
    name = error.where.replace("\\", "/").rsplit("/", 1)[-1]
    found = error.found if name in (case, "") else f"{name}: {error.found}"
    return Problem(kind, case, found, error.expected, error.fix)


def of_test_case(problem: Problem) -> Problem:
    """The same problem of an image in imagesTs: a warning, because nothing is learnt from those."""
    return replace(
        problem, case=f"{IMAGES_TS}/{problem.case.removeprefix(f'{IMAGES_TS}/')}", severity="warning"
    )


def _groups(problems: Iterable[Problem]) -> list[list[Problem]]:
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.severity, problem.kind), []).append(problem)
    return [groups[key] for key in sorted(groups)]
