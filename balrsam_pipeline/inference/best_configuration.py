"""`best_configuration.json` of a dataset: which model or ensemble to predict with, and its postprocessing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.files import read_json, write_json
from balrsam_pipeline.folds import FoldName
from balrsam_pipeline.inference.postprocessing import Postprocessing
from balrsam_pipeline.layout import BEST_CONFIGURATION, ResultsFolder
from balrsam_pipeline.plan_checks import is_folder_name
from balrsam_pipeline.serialise import from_json, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateScore:
    """How one candidate did in cross-validation: mean foreground Dice and its 95 % bootstrap interval.

    `p_value` is of the paired test against the candidate with the highest Dice; None for that one.
    """

    configurations: tuple[str, ...]
    dice: float
    dice_low: float
    dice_high: float
    cost: float
    p_value: float | None
    tied_with_best: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BestConfiguration:
    """What `balrsam find_best_configuration` chose.

    Attributes:
        configurations: one, or several to ensemble with equal weights.
        folds: those that predict: all that every chosen configuration has finished, more than were compared
            where other candidates have fewer; of a model that was shared, those that are in its file.
        postprocessing: steps for the chosen candidate.
        reason: why it was chosen, in plain words.
        candidates: every candidate, best first.
        weights_sha256: configuration -> fold -> SHA-256 of its final checkpoint, of those that predict; empty
            in what earlier versions chose.
    """

    schema_version: int = 1
    dataset: str
    configurations: tuple[str, ...]
    folds: tuple[FoldName, ...]
    postprocessing: Postprocessing
    reason: str
    candidates: tuple[CandidateScore, ...]
    weights_sha256: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.configurations:
            if not is_folder_name(name):  # the file may have come with a model from elsewhere
                raise PredictionError(
                    BEST_CONFIGURATION,
                    found=f"a configuration called '{name}'",
                    expected="a plain name, since the model's folder is called so",
                    fix="choose again: balrsam find_best_configuration",
                )


def read_best(results: Path) -> BestConfiguration:
    """Read the choice from a dataset's results folder.

    Raises:
        PredictionError: nothing was chosen yet, or the file is malformed.
    """
    path = ResultsFolder(results).best_configuration
    if not path.is_file():
        raise PredictionError(
            path,
            found="no such file",
            expected="the choice of the best configuration",
            fix=f"make it: balrsam find_best_configuration {results.name}, or name one with --configuration",
        )
    return from_json(BestConfiguration, read_json(path, PredictionError), path, PredictionError)


def write_best(results: Path, best: BestConfiguration) -> Path:
    """Write the choice into a dataset's results folder, atomically; returns the file."""
    path = ResultsFolder(results).best_configuration
    write_json(path, to_json(best))
    return path
