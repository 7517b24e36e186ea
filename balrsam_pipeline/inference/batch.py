"""What predicting many cases is asked for, and what it reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.execution import Outcome
from balrsam_pipeline.inference.postprocessing import Postprocessing
from balrsam_pipeline.inference.timing import StageClock, stage_table

CASES_IN_FLIGHT = 3  # one being read, one at the network, one being written


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """What to write, and how to go about it.

    Attributes:
        workers: cases in flight at once, each in a thread of its own.
        save_probabilities: write float16 probabilities beside every label map.
        skip_existing: leave cases alone whose output is there (continue a run that was stopped).
        postprocessing: rules applied to every label map.
        case_timeout_s: a case that takes longer fails, with the stack of where it stood; None waits for ever.
    """

    workers: int = CASES_IN_FLIGHT
    save_probabilities: bool = False
    skip_existing: bool = False
    postprocessing: Postprocessing = field(default_factory=Postprocessing)
    case_timeout_s: float | None = None


class CaseRunner(Protocol):
    """Another place than this process to predict cases in."""

    def outcomes(
        self, cases: Mapping[str, CaseFiles], output: Path, options: FileOptions, clock: StageClock
    ) -> Iterator[Outcome[Path]]:
        """Predict the cases into `output` and yield what became of each, as in `run_cases`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionReport:
    """What became of the cases, and where the time went (seconds of each stage, added up over threads)."""

    written: tuple[Path, ...]
    skipped: tuple[str, ...]
    failed: dict[str, BalrsamError]
    seconds: dict[str, float]
    wall_s: float

    def table(self) -> str:
        """The stage table for a terminal."""
        return stage_table(self.seconds, len(self.written), self.wall_s)

    def with_failures(self, failed: Mapping[str, BalrsamError]) -> PredictionReport:
        """The same report with cases that could not even be started."""
        return replace(self, failed=dict(sorted({**self.failed, **failed}.items())))
