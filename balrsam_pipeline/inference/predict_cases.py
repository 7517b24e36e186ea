"""Predicting many cases: reading, preprocessing, network and export of several cases overlap; failures are
collected.

Every case in flight has a thread. They take turns at the network, so while one case is exported the next is
computed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.errors import BalrsamError, PredictionError
from balrsam_pipeline.execution import Outcome, run_cases
from balrsam_pipeline.execution.failures import run_with_limit
from balrsam_pipeline.imageio import Image, file_ending_of, label_ending, read_image, write_label
from balrsam_pipeline.inference.batch import CaseRunner, FileOptions, PredictionReport
from balrsam_pipeline.inference.export import ImageGrid, ProbabilitySink, WeightedSource, export_label
from balrsam_pipeline.inference.logits import ArrayLogits, LogitSource
from balrsam_pipeline.inference.postprocessing import apply_postprocessing
from balrsam_pipeline.inference.prediction_json import Manifest, MemberRecord, start_folder
from balrsam_pipeline.inference.predictor import Predictor
from balrsam_pipeline.inference.probabilities import probability_path, writing_probabilities
from balrsam_pipeline.inference.timing import NetworkLock, StageClock
from balrsam_pipeline.preprocessing import PreprocessedCase, preprocess_image
from balrsam_pipeline.progress import track

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """One configuration's predictor in an ensemble, and its weight."""

    predictor: Predictor
    weight: float = 1.0


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
    """
    options = options or FileOptions()
    require_same_labels(members)
    started = time.monotonic()
    if not options.skip_existing:
        _remove_outputs(cases, output)  # or a run that is killed and continued would keep another model's
    start_folder(output, _manifest(members, options), options.skip_existing)
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
    return PredictionReport(
        written=tuple(sorted(written)),
        skipped=tuple(case for case in cases if case not in waiting),
        failed=dict(sorted(failed.items())),
        seconds=clock.seconds(),
        wall_s=time.monotonic() - started,
    )


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
    with job.clock.stage("read"):
        image = read_image(files.images)
    path = _output_path(files, job.output)
    sink_path = probability_path(job.output, files.case) if job.options.save_probabilities else None
    geometry = image.geometry
    label = label_of_image(
        files.case,
        image,
        job.members,
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


@torch.inference_mode()
def label_of_image(
    case: str,
    image: Image,
    members: Sequence[Member],
    *,
    clock: StageClock | None = None,
    network_lock: NetworkLock | None = None,
    probabilities: Path | None = None,
) -> npt.NDArray[np.unsignedinteger]:
    """The label map (z, y, x) of an image, on its own grid.

    Args:
        case: named in messages.
        clock: counts the stages "preprocess", "network" and "export".
        network_lock: shared by threads that predict at the same time.
        probabilities: write them to this file as well.

    Raises:
        PredictionError: the image has other channels than the model was trained with.
    """
    clock = clock or StageClock()
    network_lock = network_lock or NetworkLock(clock)
    _require_channels(case, image, members[0].predictor)
    with clock.stage("preprocess"):
        prepared = _preprocess(image, members)
    grid = _grid(prepared[0])
    sources = [
        WeightedSource(_source(item, case_of_member, grid, network_lock), item.weight)
        for item, case_of_member in zip(members, prepared, strict=True)
    ]
    del prepared
    labels = members[0].predictor.labels
    with clock.stage("export"), ExitStack() as stack:
        sink: ProbabilitySink | None = None
        if probabilities is not None:
            sink = stack.enter_context(writing_probabilities(probabilities, grid, image.geometry, labels))
        return export_label(sources, grid, labels, sink)


def require_same_labels(members: Sequence[Member]) -> None:
    """Check that the models of an ensemble segment the same things from the same channels.

    Raises:
        PredictionError: none given, or labels or channels differ.
    """
    if not members:
        raise PredictionError(
            "ensemble", found="no model", expected="at least one", fix="name a model folder: --model FOLDER"
        )
    first = members[0].predictor
    for item in members[1:]:
        if item.predictor.labels != first.labels or item.predictor.channels != first.channels:
            raise PredictionError(
                f"ensemble of {first.configuration.name} and {item.predictor.configuration.name}",
                found=f"{first.channels} channels, labels {first.labels.names}; "
                f"{item.predictor.channels} channels, labels {item.predictor.labels.names}",
                expected="models of one dataset",
                fix="ensemble models that were trained on the same channels and labels",
            )


def _preprocess(image: Image, members: Sequence[Member]) -> list[PreprocessedCase]:
    """One preprocessed case a member; members whose configurations preprocess alike share one."""
    done: dict[object, PreprocessedCase] = {}
    prepared = []
    for item in members:
        plan, configuration = item.predictor.plan, item.predictor.configuration
        key = (
            configuration.transpose,
            configuration.spacing_mm,
            configuration.slicing_axes,
            configuration.patch_size if configuration.fit_patch else None,
            configuration.antialias,
            configuration.normalization,
            configuration.normalize_inside_mask,
            plan.channel_statistics,
        )
        if key not in done:
            done[key] = preprocess_image(image, None, plan, configuration)
        prepared.append(done[key])
    return prepared


def _grid(prepared: PreprocessedCase) -> ImageGrid:
    properties = prepared.properties
    first, second, third = (properties.crop_box[properties.transpose.index(axis)] for axis in range(3))
    return ImageGrid(
        shape_zyx=properties.geometry.shape_zyx,
        crop_zyx=(first, second, third),
        transpose=properties.transpose,
    )


def _source(
    item: Member, prepared: PreprocessedCase, grid: ImageGrid, network_lock: NetworkLock
) -> LogitSource:
    """A member's logits, axes in the order of the grid (configurations of one plan may slice along different
    axes)."""
    transpose = item.predictor.configuration.transpose
    if transpose == grid.transpose:
        return item.predictor.logits(prepared.image_czyx, network_lock)
    whole = item.predictor.logits(prepared.image_czyx, network_lock, in_one_piece=True)
    if not isinstance(whole, ArrayLogits):
        raise TypeError("logits in one piece are an array")
    return whole.transposed(tuple(transpose.index(axis) for axis in grid.transpose))


def _require_channels(case: str, image: Image, predictor: Predictor) -> None:
    if image.data.shape[0] != predictor.channels:
        raise PredictionError(
            f"case {case}",
            found=f"{image.data.shape[0]} channel(s)",
            expected=f"{predictor.channels}, as the model was trained with",
            fix="give one file a channel (CASE_0000, CASE_0001, …) in the order of channel_names in the "
            "model's dataset.json",
        )


def _output_path(files: CaseFiles, output: Path) -> Path:
    return output / f"{files.case}{label_ending(file_ending_of(files.images[0]))}"


def _is_done(files: CaseFiles, output: Path, options: FileOptions) -> bool:
    label_done = _output_path(files, output).is_file()
    return label_done and (not options.save_probabilities or probability_path(output, files.case).is_file())


def _remove_outputs(cases: Mapping[str, CaseFiles], output: Path) -> None:
    for files in cases.values():
        _output_path(files, output).unlink(missing_ok=True)
        probability_path(output, files.case).unlink(missing_ok=True)


def _remove_leftovers(cases: Mapping[str, CaseFiles], output: Path) -> None:
    """Remove temporary files that a killed run left for these cases; other parts of the run keep theirs."""
    ours = {_output_path(files, output).name for files in cases.values()} | {
        probability_path(output, case).name for case in cases
    }
    for path in output.glob(".tmp-*-*"):
        if path.name.split("-", 2)[2] in ours:
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
            )
            for item in members
        ),
        mirror=first.options.mirror,
        tile_step=first.options.tile_step,
        labels=first.labels,
        postprocessing=options.postprocessing,
    )
