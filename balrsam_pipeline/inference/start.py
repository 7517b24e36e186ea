"""How a run of predictions begins: nothing of others is touched, and what an earlier run left and this one
makes again is marked."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.dataset.cases import prediction_name
from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.execution.whole_folder import SCRATCH
from balrsam_pipeline.files import final_name
from balrsam_pipeline.imageio import read_geometry, spacing_differs
from balrsam_pipeline.inference.outputs import (
    files_of_case,
    mark_all,
    mark_stale,
    remove_stale,
    set_aside_renamed,
)
from balrsam_pipeline.inference.prediction_json import (
    Manifest,
    SeriesRecord,
    manifest_there,
    write_manifest,
)
from balrsam_pipeline.inference.probabilities import probability_path
from balrsam_pipeline.layout import PREDICTION, PredictionFolder
from balrsam_pipeline.outdated import is_current
from balrsam_pipeline.protect import require_apart, require_not_read, require_own

LOG = logging.getLogger(__name__)


def require_safe(cases: Mapping[str, CaseFiles], output: Path) -> None:
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
    return (path for files in cases.values() for path in outputs_of(files, output))


def outputs_of(files: CaseFiles, output: Path) -> tuple[Path, ...]:
    """All that a case may have in a folder of predictions."""
    return files_of_case(output, files.case, prediction_name(files))


def start_run(
    manifest: Manifest,
    cases: Mapping[str, CaseFiles],
    output: Path,
    *,
    continuing: bool,
    with_probabilities: bool,
) -> dict[str, CaseFiles]:
    """Mark what an earlier run left and this one makes again, write the manifest, and return the cases to
    predict.

    Where the folder was predicted otherwise that is everything in it, so that nobody continues, as another
    part of this run or later, what another model made.

    Raises:
        MadeOtherwiseError: the folder is to be continued, and holds predictions made otherwise.
    """
    was_there = (output / PREDICTION).is_file()
    before = manifest_there(output, manifest, continuing)
    known = before.series if before is not None and before == manifest else {}
    known = _without_renamed(cases, output, known, manifest.series)
    waiting = dict(cases)
    if continuing and before is not None:
        _mark_replaced(cases, output, known, manifest.series)
        waiting = {
            case: files for case, files in cases.items() if not _is_done(files, output, with_probabilities)
        }
        remove_stale(_all_outputs({case: cases[case] for case in cases if case not in waiting}, output))
    else:
        mark_stale(_all_outputs(cases, output))
    if was_there and before != manifest:
        others = mark_all(output)
        if others:
            LOG.warning(
                "%s HOLDS %d FILE(S) OF OTHER CASES, PREDICTED BY OTHER MODELS OR OPTIONS; --continue, with "
                "all images, predicts them again",
                output,
                others,
            )
    read = {case: record for case, record in manifest.series.items() if case in waiting}
    series = {case: record for case, record in known.items() if case not in waiting} | read
    if before is None or before != manifest or before.series != series:
        write_manifest(output, replace(manifest, series=series))
    return waiting


def _is_done(files: CaseFiles, output: Path, with_probabilities: bool) -> bool:
    label = output / prediction_name(files)
    probabilities = probability_path(output, files.case)
    return is_current(label) and (not with_probabilities or is_current(probabilities))


def _mark_replaced(
    cases: Mapping[str, CaseFiles],
    output: Path,
    known: Mapping[str, SeriesRecord],
    series: Mapping[str, SeriesRecord],
) -> None:
    """Mark, too, what was predicted of another image, or another DICOM series, than is there now."""
    for case, files in cases.items():
        label = output / prediction_name(files)
        if not is_current(label):
            continue
        difference = difference_of_grids(files.images[0], label)
        if case in series and known.get(case) != series[case]:
            was = known[case].study_uid if case in known else "one that prediction.json does not name"
            difference = f"it is study {series[case].study_uid} now, and was {was}, or another series of it"
        if difference is not None:
            LOG.info("%s is predicted again: %s", case, difference)
            mark_stale(outputs_of(files, output))


def _without_renamed(
    cases: Mapping[str, CaseFiles],
    output: Path,
    known: Mapping[str, SeriesRecord],
    series: Mapping[str, SeriesRecord],
) -> dict[str, SeriesRecord]:
    """Set aside what was predicted of the same DICOM series under another name, which a study added beside
    it changes; returns the other known cases."""
    names = {record: case for case, record in series.items() if case in cases}
    renamed = {
        case: names[record] for case, record in known.items() if case not in series and record in names
    }
    for case, name_now in renamed.items():
        set_aside_renamed(case, name_now, outputs_of(replace(cases[name_now], case=case), output))
    return {case: record for case, record in known.items() if case not in renamed}


def remove_leftovers(cases: Mapping[str, CaseFiles], output: Path) -> None:
    """Remove temporary files and folders that a killed run left for these cases; other parts of the run keep
    theirs."""
    ours = {path.name for path in _all_outputs(cases, output)}
    for path in output.glob(".tmp-*-*"):
        name = final_name(path) or ""
        if name in ours:
            path.unlink(missing_ok=True)
        elif name.removesuffix(SCRATCH) in ours and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def difference_of_grids(image: Path, label: Path) -> str | None:
    """How the headers of an image and of its label map differ, in words: shape, or of volumes the spacing (a
    PNG keeps none). None where they do not, and where the image cannot be read, which is reported when it is
    predicted or evaluated.
    """
    try:
        expected = read_geometry(image)
    except BalrsamError:
        return None
    try:
        found = read_geometry(label)
    except BalrsamError as problem:
        return f"{label.name} cannot be read ({problem.found})"
    if found.shape_zyx != expected.shape_zyx:
        return f"{label.name} has {_times(found.shape_zyx)} voxels, its image {_times(expected.shape_zyx)}"
    if expected.dimension == found.dimension == 3 and spacing_differs(expected, found):
        own, other = _times(found.spacing_mm), _times(expected.spacing_mm)
        return f"{label.name} has voxels of {own} mm, its image {other}"
    return None


def _times(sizes: tuple[float, float, float]) -> str:
    return " × ".join(f"{size:.6g}" for size in sizes)
