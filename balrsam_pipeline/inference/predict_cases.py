"""Predicting many cases: reading, preprocessing, network and export of several cases overlap; failures are
collected.

Every case in flight has a thread. They take turns at the network, so while one case is exported the next is
computed.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Protocol

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.dataset.cases import prediction_name
from balrsam_pipeline.errors import BalrsamError, PredictionError
from balrsam_pipeline.execution import Outcome, run_cases, run_with_limit
from balrsam_pipeline.files import final_name
from balrsam_pipeline.imageio import read_image, write_label
from balrsam_pipeline.inference.doubts import as_grey, find_doubts, find_header_doubts
from balrsam_pipeline.inference.grids import difference_of_grids
from balrsam_pipeline.inference.members import Member, require_fit_together
from balrsam_pipeline.inference.postprocessing import Postprocessing, apply_postprocessing
from balrsam_pipeline.inference.predict_image import label_of_image
from balrsam_pipeline.inference.prediction_json import Manifest, MemberRecord, start_folder
from balrsam_pipeline.inference.predictor import Predictor
from balrsam_pipeline.inference.probabilities import probability_path
from balrsam_pipeline.inference.timing import NetworkLock, StageClock, stage_table
from balrsam_pipeline.layout import PREDICTION, PredictionFolder
from balrsam_pipeline.progress import track
from balrsam_pipeline.protect import require_apart, require_not_read, require_own

LOG = logging.getLogger(__name__)
STALE_NS = 0  # modification time of a prediction that is to be made again
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
        case_timeout_s: a case that takes longer fails, with the stack of where it stood; None waits for ever.
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


def predict_cases(
    members: Sequence[Member],
    cases: Mapping[str, CaseFiles],
    output: Path,
    options: FileOptions | None = None,
    runner: CaseRunner | None = None,
) -> PredictionReport:
    """Predict every case into `output`/CASE.ending (the images' ending; PNG for JPEG), with the geometry of
    its image.

    A case that fails is in the report; the others finish. Outputs appear whole or not at all.

    Args:
        members: one predictor, or several whose probabilities are averaged by weight.
        cases: case -> files.
        output: made if need be; gets `prediction.json`, which says what made the predictions.
        runner: where to predict; None does it here.

    Raises:
        PredictionError: members do not fit together, or (when continuing) the folder was predicted otherwise.
        UsageError: images lie in the folder, or files that no prediction made would be replaced.
    """
    options = options or FileOptions()
    require_fit_together(members)
    started = time.monotonic()
    _require_safe(cases, output)
    if not options.skip_existing:
        _mark_outputs(cases, output)
    start_folder(output, _manifest(members, options), options.skip_existing)
    if options.skip_existing:
        _mark_replaced(cases, output)
    waiting = {
        case: files
        for case, files in cases.items()
        if not (options.skip_existing and _is_done(files, output, options))
    }
    _remove_leftovers(waiting, output)
    clock = StageClock()
    outcomes = (
        runner.outcomes(waiting, output, options, clock)
        if runner
        else _here(members, waiting, output, options, clock)
    )
    written: list[Path] = []
    failed: dict[str, BalrsamError] = {}
    for outcome in track(outcomes, len(waiting), "predict"):
        if outcome.error is not None:
            failed[outcome.case] = outcome.error
            LOG.error("%s failed: %s", outcome.case, outcome.error)
        elif outcome.value is not None:
            written.append(outcome.value)
        _remove_stale(waiting[outcome.case], output)
    return PredictionReport(
        written=tuple(sorted(written)),
        skipped=tuple(case for case in cases if case not in waiting),
        failed=dict(sorted(failed.items())),
        seconds=clock.seconds(),
        wall_s=time.monotonic() - started,
    )


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
    one_case = partial(_predict_case, _Job(members, output, options, clock, NetworkLock(clock)))
    if options.case_timeout_s is not None:
        one_case = partial(run_with_limit, one_case, limit_s=options.case_timeout_s)
    with ThreadPoolExecutor(max(1, options.workers), thread_name_prefix="case") as executor:
        yield from run_cases(one_case, cases, executor, options.workers, PredictionError)


@dataclass(frozen=True, slots=True)
class _Job:
    """What every case of a run shares."""

    members: Sequence[Member]
    output: Path
    options: FileOptions
    clock: StageClock
    network_lock: NetworkLock


def _predict_case(job: _Job, files: CaseFiles) -> Path:
    predictor = job.members[0].predictor
    with job.clock.stage("read"):
        image = read_image(files.images)
        if job.options.grey:
            image = as_grey(image, predictor.channels)
        doubts = chain(
            find_doubts(image, predictor.plan, predictor.configuration), find_header_doubts(files.images)
        )
        for doubt in doubts:
            LOG.warning("CASE %s IS UNLIKE WHAT THE MODEL WAS TRAINED ON: %s", files.case, doubt)
    path = _output_path(files, job.output)
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
    with job.clock.stage("write"):
        write_label(path, label, geometry, like=files.images[0])
    return path


def _output_path(files: CaseFiles, output: Path) -> Path:
    return output / prediction_name(files)


def _require_safe(cases: Mapping[str, CaseFiles], output: Path) -> None:
    """Nothing that is read, and nothing that somebody else put there, may be replaced.

    Raises:
        UsageError: it would be; nothing was touched.
    """
    require_apart(output, _images(cases))
    require_not_read(_all_outputs(cases, output), _images(cases))
    ours = chain(_all_outputs(cases, output), [PredictionFolder(output).description])
    require_own(ours, output / PREDICTION)


def _images(cases: Mapping[str, CaseFiles]) -> Iterator[Path]:
    return (path for files in cases.values() for path in files.images)


def _all_outputs(cases: Mapping[str, CaseFiles], output: Path) -> Iterator[Path]:
    """One after the other: of 100,000 cases they take 80 MB."""
    return (path for files in cases.values() for path in _outputs(files, output))


def _outputs(files: CaseFiles, output: Path) -> tuple[Path, Path]:
    return _output_path(files, output), probability_path(output, files.case)


def _is_done(files: CaseFiles, output: Path, options: FileOptions) -> bool:
    label, probabilities = _outputs(files, output)
    return _is_current(label) and (not options.save_probabilities or _is_current(probabilities))


def _is_current(path: Path) -> bool:
    return path.is_file() and path.stat().st_mtime_ns != STALE_NS


def _mark_outputs(cases: Mapping[str, CaseFiles], output: Path) -> None:
    """Date what an earlier run predicted 1970: it stays until its case is done, and a run that is killed and
    continued does not take it for its own."""
    for files in cases.values():
        for path in _outputs(files, output):
            if path.is_file():
                os.utime(path, ns=(STALE_NS, STALE_NS))


def _mark_replaced(cases: Mapping[str, CaseFiles], output: Path) -> None:
    """Date 1970, too, what was predicted of another image than the one that is there now."""
    for case, files in cases.items():
        label = _output_path(files, output)
        difference = difference_of_grids(files.images[0], label) if _is_current(label) else None
        if difference is not None:
            LOG.info("%s is predicted again: %s", case, difference)
            _mark_outputs({case: files}, output)


def _remove_stale(files: CaseFiles, output: Path) -> None:
    """Remove what an earlier run left of a case that is done or has failed: it is of another model."""
    for path in _outputs(files, output):
        if path.is_file() and not _is_current(path):
            path.unlink()


def _remove_leftovers(cases: Mapping[str, CaseFiles], output: Path) -> None:
    """Remove temporary files that a killed run left for these cases; other parts of the run keep theirs."""
    ours = {_output_path(files, output).name for files in cases.values()} | {
        probability_path(output, case).name for case in cases
    }
    for path in output.glob(".tmp-*-*"):
        if final_name(path) in ours:
            path.unlink(missing_ok=True)


def _manifest(members: Sequence[Member], options: FileOptions) -> Manifest:
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
    )
