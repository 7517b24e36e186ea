"""Averaging folders of predictions that were saved with probabilities, slab by slab."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import mode

import numpy as np
import torch

from balrsam_pipeline.errors import BalrsamError, PredictionError, first_of
from balrsam_pipeline.execution import case_threads, folder_lock, run_cases
from balrsam_pipeline.files import read_text, write_text
from balrsam_pipeline.imageio import ALL_ENDINGS, write_label
from balrsam_pipeline.inference.export import ImageGrid, ProbabilitySink, chunk_spans, decode, empty_label
from balrsam_pipeline.inference.outputs import (
    files_of_case,
    mark_all,
    mark_stale,
    remove_stale,
    set_aside_all_stale,
    set_aside_stale,
)
from balrsam_pipeline.inference.postprocessing import (
    Postprocessing,
    apply_postprocessing,
    require_rules_fit,
)
from balrsam_pipeline.inference.prediction_json import (
    Manifest,
    manifest_there,
    read_manifest,
    write_manifest,
)
from balrsam_pipeline.inference.probabilities import (
    SUFFIX,
    ProbabilityFile,
    probability_path,
    writing_probabilities,
)
from balrsam_pipeline.layout import PREDICTION, PredictionFolder
from balrsam_pipeline.outdated import is_current, require_current
from balrsam_pipeline.progress import track
from balrsam_pipeline.protect import (
    require_apart,
    require_folder_place,
    require_not_read,
    require_own,
    require_utf8,
)


@dataclass(frozen=True, slots=True)
class _Job:
    """What every case of an ensemble shares."""

    weights: Mapping[Path, float]
    output: Path
    postprocessing: Postprocessing
    save_probabilities: bool


def ensemble_folders(
    weights: Mapping[Path, float],
    output: Path,
    postprocessing: Postprocessing,
    save_probabilities: bool = False,
    workers: int = 2,
) -> list[Path]:
    """Average the probabilities of several folders and write label maps.

    Args:
        weights: folder of predictions -> its weight.
        output: made if need be.
        postprocessing: steps for the averaged label maps.

    Raises:
        UsageError: the output is a folder that is read, one that somebody else made, or in use, or its name
            is no folder's.
        PredictionError: folders hold different cases, labels or geometry, lack probabilities, or have some of
            an earlier run; the message names them. Of cases that differ or are damaged, when the others are
            averaged.
    """
    require_folder_place(output)
    require_utf8(output)
    manifests = [read_manifest(folder / PREDICTION) for folder in weights]
    cases = _same_cases(list(weights))
    if not all(0 < weight < math.inf for weight in weights.values()):
        raise PredictionError(
            "ensemble", found="a weight that is no positive number",
            expected="positive weights", fix="correct --weights",
        )  # fmt: skip
    require_rules_fit(postprocessing, manifests[0].labels)
    made = {case: files_of_case(output, case, f"{case}{ending}") for case, ending in cases.items()}
    outputs = list(chain.from_iterable(made.values()))
    inputs = [folder / path.name for path in outputs for folder in weights]
    require_apart(output, [*weights, *inputs])
    require_not_read(outputs, inputs)
    description = PredictionFolder(output).description
    require_own([*outputs, description], output / PREDICTION)
    manifest = _joined(manifests, list(weights.values()), postprocessing)
    job = _Job(weights, output, postprocessing, save_probabilities)
    items = {case: (case, ending) for case, ending in cases.items()}
    with folder_lock(output):
        if manifest_there(output, manifest, continuing=False) == manifest:
            mark_stale(outputs)
        else:
            mark_all(output)
        write_manifest(output, manifest)
        _copy_description(list(weights), description)
        try:
            return _average(job, items, made, workers)
        finally:  # whatever is not done
            for case, files in made.items():
                set_aside_stale(case, files)
            set_aside_all_stale(output)


def _copy_description(folders: Sequence[Path], target: Path) -> None:
    """Put the labels' names, which are the same in all folders, beside the label maps, as `predict` does;
    where no folder has them, those of an earlier ensemble go."""
    found = [path for path in (PredictionFolder(folder).description for folder in folders) if path.is_file()]
    if found:
        write_text(target, read_text(found[0], PredictionError))
    else:
        target.unlink(missing_ok=True)


def _average(
    job: _Job, items: Mapping[str, tuple[str, str]], made: Mapping[str, Sequence[Path]], workers: int
) -> list[Path]:
    """Work on all cases; returns the label maps that were written.

    Raises:
        BalrsamError: some could not be averaged; the others are there then.
    """
    written, problems = [], dict[str, BalrsamError]()
    with case_threads(workers) as executor:
        outcomes = run_cases(partial(_one_case, job), items, executor, workers, PredictionError)
        for outcome in track(outcomes, len(items), "ensemble"):
            if outcome.error is not None:
                problems[outcome.case] = outcome.error
            if outcome.value is not None:
                written.append(outcome.value)
                remove_stale(made[outcome.case])
    if problems:
        raise first_of(problems, done=bool(written))
    return sorted(written)


def _one_case(job: _Job, item: tuple[str, str]) -> Path:
    case, ending = item
    files = [ProbabilityFile(probability_path(folder, case)) for folder in job.weights]
    first = files[0]
    for other in files[1:]:
        if other.labels != first.labels or other.geometry != first.geometry:
            raise _unlike(other.path, first.path, "labels" if other.labels != first.labels else "geometry")
    labels, geometry = first.labels, first.geometry
    shares = np.array(list(job.weights.values()), dtype=np.float32) / sum(job.weights.values())
    axis = mode(file.slicing_axis for file in files)  # of most files; others are read against their chunks
    grid = ImageGrid.whole(geometry.shape_zyx, axis)
    label = empty_label(geometry.shape_zyx, labels)
    slices = grid.cropped_view(label)
    with ExitStack() as stack:
        sink: ProbabilitySink | None = None
        if job.save_probabilities:
            path = probability_path(job.output, case)
            sink = stack.enter_context(writing_probabilities(path, grid, geometry, labels))
        for start, stop in chunk_spans(labels.classes, grid.cropped_shape):
            mean = torch.from_numpy(
                sum(share * file.read(start, stop, axis) for share, file in zip(shares, files, strict=True))
            )
            slices[start:stop] = decode(mean, labels, threshold=0.5).numpy()
            if sink is not None:
                sink(start, stop, mean)
    path = job.output / f"{case}{ending}"
    like = next(iter(job.weights)) / path.name
    write_label(path, apply_postprocessing(label, geometry, labels, job.postprocessing), geometry, like)
    return path


def _same_cases(folders: Sequence[Path]) -> dict[str, str]:
    """Case -> file ending, the same in every folder.

    Raises:
        PredictionError: the sets differ, there are none, or some files are to be predicted again.
    """
    found = {
        folder: {path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}") if path.name[0] != "."}
        for folder in folders
    }
    first = found[folders[0]]
    for folder, cases in found.items():
        if cases != first or not cases:
            missing, extra = sorted(first - cases), sorted(cases - first)
            raise PredictionError(
                folder,
                found="no probabilities"
                if not cases
                else f"cases missing: {missing[:5] or 'none'}; only here: {extra[:5] or 'none'}",
                expected=f"probabilities of the same cases as in {folders[0]}",
                fix="predict all cases into each folder with --save-probabilities",
            )
    endings = {case: _ending(folders[0], case) for case in sorted(first)}
    for folder in folders:
        require_current(folder, {case: probability_path(folder, case) for case in first}, PredictionError)
        labels = {case: folder / f"{case}{ending}" for case, ending in endings.items()}
        require_current(folder, labels, PredictionError)
    return endings


def _ending(folder: Path, case: str) -> str:
    """Of the label map; of one that need not be made again, where there are several."""
    there = [ending for ending in ALL_ENDINGS if (folder / f"{case}{ending}").is_file()]
    for ending in there:
        if is_current(folder / f"{case}{ending}"):
            return ending
    if there:
        return there[0]
    raise PredictionError(
        folder / case,
        found="probabilities without a label map",
        expected=f"{case} with one of {', '.join(ALL_ENDINGS)}",
        fix="finish that prediction: the same command again with --continue",
    )


def _joined(
    manifests: Sequence[Manifest], weights: Sequence[float], postprocessing: Postprocessing
) -> Manifest:
    for manifest in manifests[1:]:
        if manifest.labels != manifests[0].labels:
            raise PredictionError(
                "ensemble",
                found=f"labels {manifest.labels.names} and {manifests[0].labels.names}",
                expected="predictions of the same labels",
                fix="average predictions of models of one dataset",
            )
    members = tuple(
        replace(member, weight=member.weight / sum(part.weight for part in manifest.members) * weight)
        for manifest, weight in zip(manifests, weights, strict=True)
        for member in manifest.members
    )
    return replace(manifests[0], members=members, postprocessing=postprocessing)


def _unlike(path: Path, other: Path, what: str) -> PredictionError:
    return PredictionError(
        path,
        found=f"other {what} than {other}",
        expected="predictions of the same image",
        fix="predict both folders from the same images",
    )
