"""The error family: every message says where, what was found, what was expected, and what fixes it."""

from __future__ import annotations

from collections.abc import Mapping

from balrsam_pipeline.printable import one_line, printable

# exit code of a training that was asked to stop and saved: try again (EX_TEMPFAIL of sysexits.h)
STOPPED = 75
PARTLY = 1  # exit code of what was done in part: what failed is named, the rest is there


def installing(extra: str) -> str:
    """What installs an extra of setup.cfg, as words of a fix: no package index has this package yet.

    Example:
        >>> installing("dicom")
        "in the clone: pip install -c constraints.txt '.[dicom]'"
    """
    return f"in the clone: pip install -c constraints.txt '.[{extra}]'"


class BalrsamError(Exception):
    """A problem that the user can fix; the command line prints it without a traceback and exits with 2.

    Args:
        where: the file, folder, case or option in question.
        found: what is there.
        expected: what should be there.
        fix: the command or edit that fixes it.

    Example:
        >>> print(BalrsamError("plan.json", found="no such file", expected="a plan", fix="make one"))
        plan.json
          found:    no such file
          expected: a plan
          fix:      make one
    """

    exit_code = 2

    def __init__(self, where: object, *, found: str, expected: str, fix: str) -> None:
        super().__init__(str(where), found, expected, fix)
        self.where, self.found, self.expected, self.fix = str(where), found, expected, fix

    def __str__(self) -> str:
        """The message; control characters in names are shown escaped, for a name must not act on a
        terminal."""
        return (
            f"{one_line(self.where)}\n  found:    {printable(self.found)}\n"
            f"  expected: {printable(self.expected)}\n  fix:      {printable(self.fix)}"
        )

    def __reduce__(
        self,
    ) -> tuple[object, ...]:  # keyword arguments must survive the way back from a worker process
        return _rebuild, (type(self), self.where, self.found, self.expected, self.fix)


def first_of(problems: Mapping[str, BalrsamError], done: bool = False) -> BalrsamError:
    """The problem of the first case, which names the others.

    Args:
        problems: case -> its problem; at least one.
        done: whether other cases could be worked on, so that the whole is done in part.
    """
    case = min(problems)
    problem = problems[case]
    if len(problems) > 1:
        problem = type(problem)(
            problem.where,
            found=f"{problem.found} (and {len(problems) - 1} more cases with problems: "
            f"{', '.join(sorted(problems)[1:6])})",
            expected=problem.expected,
            fix=problem.fix,
        )
    if done:
        problem.exit_code = PARTLY
    return problem


def _rebuild(kind: type[BalrsamError], where: str, found: str, expected: str, fix: str) -> BalrsamError:
    return kind(where, found=found, expected=expected, fix=fix)


class UsageError(BalrsamError):
    """A command line that cannot be carried out: an unknown dataset, a contradictory option."""


class DatasetError(BalrsamError):
    """A raw dataset (dataset.json, images, labels, splits) is not as the format asks."""


class ImageError(DatasetError):
    """One image file cannot be read or written."""


class PlanError(BalrsamError):
    """A fingerprint, plan or configuration is missing, malformed, too new or contradictory."""


class PreprocessingError(BalrsamError):
    """A case cannot be preprocessed, or a preprocessed case is missing or damaged."""


class CheckpointError(BalrsamError):
    """A SAM checkpoint, a training checkpoint or an adapter file is missing, damaged or does not fit."""


class TrainingError(BalrsamError):
    """Training cannot start or go on."""


class PredictionError(BalrsamError):
    """A prediction cannot be made, exported, ensembled or submitted."""


class EvaluationError(BalrsamError):
    """Predictions cannot be scored against references."""


class ClusterError(BalrsamError):
    """A cluster cannot be reached, is lost, or its workers do not fit this installation."""
