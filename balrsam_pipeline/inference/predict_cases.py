"""Predicting many cases: reading, preprocessing, network and export of several cases overlap; failures are
collected.

Every case in flight has a thread. They take turns at the network, so while one case is exported the next is
computed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.dataset.cases import prediction_name
from balrsam_pipeline.errors import BalrsamError, PredictionError
from balrsam_pipeline.execution import Outcome, TimeLimit, case_threads, run_cases
from balrsam_pipeline.imageio import write_label
from balrsam_pipeline.inference.case_image import read_case_image
from balrsam_pipeline.inference.members import Member, require_fit_together
from balrsam_pipeline.inference.outputs import remove_stale, set_aside_stale
from balrsam_pipeline.inference.postprocessing import (
    Postprocessing,
    apply_postprocessing,
    require_rules_fit,
)
from balrsam_pipeline.inference.predict_image import label_of_image
from balrsam_pipeline.inference.prediction_json import Manifest, MemberRecord, SeriesRecord, forget_series
from balrsam_pipeline.inference.predictor import Predictor
from balrsam_pipeline.inference.probabilities import probability_path
from balrsam_pipeline.inference.start import outputs_of, remove_leftovers, require_safe, start_run
from balrsam_pipeline.inference.timing import NetworkLock, StageClock, stage_table
from balrsam_pipeline.progress import track

LOG = logging.getLogger(__name__)
CASES_IN_FLIGHT = 3  # one being read, one at the network, one being written


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """What to write, and how to go about it.

    Attributes:
        workers: cases in flight at once, each in a thread of its own.
        save_probabilities: write float16 probabilities beside every label map.
        skip_existing: leave cases alone whose output is there and fits the image (continue a run that was
            stopped).
        postprocessing: steps applied to every label map.
        case_timeout_s: a case that takes longer, its waiting for the network left out, fails with the stack
            of where it stood; None waits for ever.
        grey: turn colour pictures into grey ones, for a model of one channel.
    """

    workers: int = CASES_IN_FLIGHT
    save_probabilities: bool = False
    skip_existing: bool = False
    postprocessing: Postprocessing = field(default_factory=Postprocessing)
    case_timeout_s: float | None = None
    grey: bool = False


class CaseRunner(Protocol):
    """Another place than this process to predict cases in."""

    def outcomes(
        self, cases: Mapping[str, CaseFiles], output: Path, options: FileOptions, clock: StageClock
    ) -> Iterator[Outcome[Path]]:
        """Predict the cases into `output` and yield what became of each, as in `run_cases`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionReport:
    """What became of the cases, and where the time went (seconds of each stage, added up over threads).

    Attributes:
        present: cases whose predictions are there, made now or by the run that was continued.
    """

    present: frozenset[str]
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


def predict_cases(
    members: Sequence[Member],
    cases: Mapping[str, CaseFiles],
    output: Path,
    options: FileOptions | None = None,
    runner: CaseRunner | None = None,
    series: Mapping[str, SeriesRecord] | None = None,
    starting: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> PredictionReport:
    """Predict every case into `output`/CASE.ending (the images' ending; PNG for JPEG), with the geometry of
    its image.

    A case that fails is in the report; the others finish. Outputs appear whole or not at all.

    Args:
        members: one predictor, or several whose probabilities are averaged by weight.
        cases: case -> files.
        output: made if need be; gets `prediction.json`, which says what made the predictions.
        runner: where to predict; None does it here.
        series: what cases of DICOM were read from; a continued run predicts again those that were read from
            something else before.
        starting: makes what is held while the folder is looked through and its `prediction.json` is written,
            where other parts of the run do the same.

    Raises:
        PredictionError: members or rules do not fit, or (when continuing) the folder was predicted otherwise.
        UsageError: images lie in the folder, or files that no prediction made would be replaced.
    """
    options = options or FileOptions()
    require_fit_together(members)
    require_rules_fit(options.postprocessing, members[0].predictor.labels)
    started = time.monotonic()
    require_safe(cases, output)
    with starting():
        waiting = start_run(
            _manifest(members, options, series or {}),
            cases,
            output,
            continuing=options.skip_existing,
            with_probabilities=options.save_probabilities,
        )
    remove_leftovers(waiting, output)
    clock = StageClock()
    outcomes = (
        runner.outcomes(waiting, output, options, clock)
        if runner
        else _here(members, waiting, output, options, clock)
    )
    written, failed = _collect(track(outcomes, len(waiting), "predict"), waiting, output)
    if series and failed:
        with starting():
            forget_series(output, failed)
    return PredictionReport(
        present=frozenset(case for case in cases if case not in failed),
        written=tuple(sorted(written)),
        skipped=tuple(case for case in cases if case not in waiting),
        failed=dict(sorted(failed.items())),
        seconds=clock.seconds(),
        wall_s=time.monotonic() - started,
    )


def _collect(
    outcomes: Iterable[Outcome[Path]], cases: Mapping[str, CaseFiles], output: Path
) -> tuple[list[Path], dict[str, BalrsamError]]:
    """The files written and the cases that failed; with each case goes what an earlier run left of it."""
    written: list[Path] = []
    failed: dict[str, BalrsamError] = {}
    for outcome in outcomes:
        made = outputs_of(cases[outcome.case], output)
        if outcome.error is not None:
            failed[outcome.case] = outcome.error
            LOG.error("%s failed: %s", outcome.case, outcome.error)
            set_aside_stale(outcome.case, made)
        elif outcome.value is not None:
            written.append(outcome.value)
            remove_stale(made)
    return written, failed


def predict_files(
    predictor: Predictor, cases: Mapping[str, CaseFiles], output: Path, options: FileOptions | None = None
) -> PredictionReport:
    """Predict raw cases into the folder `output` with one model; see `predict_cases`."""
    return predict_cases((Member(predictor),), cases, output, options)


def predict_case(
    members: Sequence[Member], files: CaseFiles, output: Path, options: FileOptions, clock: StageClock
) -> Path:
    """Predict one case into `output`; returns the file written.

    Raises:
        BalrsamError: an image cannot be read, or does not suit the model.
    """
    return _predict_case(_Job(members, output, options, clock, NetworkLock(clock)), files)


def _here(
    members: Sequence[Member],
    cases: Mapping[str, CaseFiles],
    output: Path,
    options: FileOptions,
    clock: StageClock,
) -> Iterator[Outcome[Path]]:
    network_lock = NetworkLock(clock, sums_in_turn=options.case_timeout_s is None)
    job = _Job(members, output, options, clock, network_lock)
    one_case = partial(_predict_case, job)
    if options.case_timeout_s is not None:
        one_case = partial(_predict_within_limit, job, options.case_timeout_s)
    with case_threads(options.workers) as executor:
        yield from run_cases(one_case, cases, executor, options.workers, PredictionError)


@dataclass(frozen=True, slots=True)
class _Job:
    """What every case of a run shares."""

    members: Sequence[Member]
    output: Path
    options: FileOptions
    clock: StageClock
    network_lock: NetworkLock


def _predict_within_limit(job: _Job, limit_s: float, files: CaseFiles) -> Path:
    limit = TimeLimit(limit_s)
    limited = replace(job, network_lock=job.network_lock.of_case(limit))
    return limit.run(lambda: _predict_case(limited, files))


def _predict_case(job: _Job, files: CaseFiles) -> Path:
    predictor = job.members[0].predictor
    with job.clock.stage("read"):
        image = read_case_image(files.case, files.images, predictor, grey=job.options.grey)
    path = job.output / prediction_name(files)
    sink_path = probability_path(job.output, files.case) if job.options.save_probabilities else None
    geometry = image.geometry
    label = label_of_image(
        files.case,
        image,
        job.members,
        file=files.images[0],
        clock=job.clock,
        network_lock=job.network_lock,
        probabilities=sink_path,
    )
    del image
    with job.clock.stage("postprocess"):
        label = apply_postprocessing(
            label, geometry, job.members[0].predictor.labels, job.options.postprocessing
        )
    job.network_lock.require_wanted()
    with job.clock.stage("write"):
        write_label(path, label, geometry, like=files.images[0])
    return path


def _manifest(
    members: Sequence[Member], options: FileOptions, series: Mapping[str, SeriesRecord]
) -> Manifest:
    first = members[0].predictor
    return Manifest(
        members=tuple(
            MemberRecord(
                dataset=item.predictor.plan.dataset,
                configuration=item.predictor.configuration.name,
                plan_sha256=item.predictor.plan.sha256(),
                weights_sha256=item.predictor.weights_sha256,
                models=len(item.predictor.models),
                weight=item.weight,
                rotated=item.predictor.predicts_rotated,
            )
            for item in members
        ),
        mirror=first.options.mirror,
        tile_step=first.options.tile_step,
        labels=first.labels,
        postprocessing=options.postprocessing,
        series=dict(series),
    )
