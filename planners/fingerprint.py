"""The fingerprint of a dataset: every case measured in parallel, only changed cases measured again.

Beside fingerprint.json lie `fingerprint_sources.json` (the state of every case's files, and the CRC-32 of the
next) and `fingerprint_quantiles.npy`, float32: of every case that shows a label n, and then its (channel, n)
values. Older versions kept (case, channel, 4096), and the states alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from balrsam_pipeline.dataset import CaseFiles, RawDataset
from balrsam_pipeline.errors import BalrsamError, DatasetError
from balrsam_pipeline.execution import run_cases
from balrsam_pipeline.files import atomic_path, read_json, write_json
from balrsam_pipeline.layout import PreprocessedFolder, RawFolder
from balrsam_pipeline.plan import (
    CaseFingerprint,
    ChannelStatistics,
    Fingerprint,
    read_fingerprint,
    write_versioned,
)
from balrsam_pipeline.preprocessing import file_crc32
from balrsam_pipeline.progress import track
from planners.case_content import content_sha256, file_state
from planners.case_fingerprint import Measurement, MeasureTask, is_outdated, measure_case
from planners.measured import Measured, Place, places_of, read_values, start_measuring
from planners.pooling import pooled_percentiles

STATES, CHECKSUM = "states", "quantiles_crc32"  # in fingerprint_sources.json
SHOWN = 10  # failing cases spelled out in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """A fingerprint, and which cases had to be measured for it."""

    fingerprint: Fingerprint
    measured: tuple[str, ...]


def changed_cases(dataset: RawDataset, cases: Mapping[str, CaseFiles], folder: Path) -> frozenset[str]:
    """Those of `cases` that must be measured, because they are new or changed since `folder`/fingerprint.json
    was written."""
    known = _read_known(folder)
    return frozenset(case for case, files in cases.items() if not _still_valid(files, dataset, known))


def extract_fingerprint(
    dataset: RawDataset,
    folder: Path,
    executor: Executor | None,
    workers: int,
    measured: Measured | None = None,
) -> Extraction:
    """Measure a dataset, or only what changed since `folder`/fingerprint.json was written, and write it
    there.

    Deterministic: the same files give the same fingerprint whatever the number of workers.

    Args:
        measured: cases that were measured just now, when they were checked; the others are added.

    Raises:
        DatasetError: cases that cannot be measured (all of them named; the others are kept for the next run),
            or no case shows any label.
    """
    with start_measuring(folder) if measured is None else nullcontext(measured) as measured:
        cases = dataset.training_cases()
        states = {case: file_state(files, dataset.description) for case, files in sorted(cases.items())}
        unchanged = _unchanged(folder, states)
        if unchanged is not None:
            return Extraction(fingerprint=unchanged, measured=())
        anew = measured.fingerprints.keys() & cases.keys()
        _add_known(measured, cases, dataset, folder)
        tasks = {
            case: MeasureTask(files=files, description=dataset.description)
            for case, files in cases.items()
            if case not in measured.fingerprints
        }
        failures = _measure(measured, tasks, executor, workers)
        done = [case for case in states if case in measured.fingerprints]
        fingerprint = Fingerprint(
            dataset=dataset.name,
            cases=tuple(measured.fingerprints[case] for case in done),
            channel_statistics=pooled_statistics(measured, done),
        )
        _write(folder, fingerprint, measured, {case: states[case] for case in done})
    if failures:
        raise _failed(dataset, failures)
    if not fingerprint.channel_statistics:
        raise DatasetError(
            RawFolder(dataset.folder).labels_tr,
            found="no case shows any label",
            expected="label maps with values above 0",
            fix="check that labels were saved: balrsam verify DATASET",
        )
    return Extraction(fingerprint=fingerprint, measured=tuple(sorted({*anew, *tasks})))


def _measure(
    measured: Measured, tasks: Mapping[str, MeasureTask], executor: Executor | None, workers: int
) -> list[BalrsamError]:
    """Measure cases; returns what went wrong."""
    failures = []
    for outcome in track(
        run_cases(measure_case, tasks, executor, workers, DatasetError), len(tasks), "measuring"
    ):
        if outcome.value is not None:
            measured.add(outcome.value)
        elif outcome.error is not None:
            failures.append(outcome.error)
    return failures


def pooled_statistics(measured: Measured, cases: Iterable[str]) -> tuple[ChannelStatistics, ...]:
    """Statistics of every channel over the foreground of all cases, each case counting the same.

    nnU-Net draws the same number of voxels from every case; this is what that tends to, worked out without
    drawing.
    """
    shown = [case for case in cases if measured.fingerprints[case].channel_statistics]
    if not shown:
        return ()
    pooled = []
    for channel in range(len(measured.fingerprints[shown[0]].channel_statistics)):
        own = [measured.fingerprints[case].channel_statistics[channel] for case in shown]
        mean = math.fsum(statistics.mean for statistics in own) / len(own)
        variance = math.fsum(statistics.std**2 + (statistics.mean - mean) ** 2 for statistics in own) / len(
            own
        )
        low, middle, high = pooled_percentiles(measured.samples(shown, channel), (0.5, 50.0, 99.5))
        pooled.append(
            ChannelStatistics(
                mean=mean,
                median=middle,
                std=math.sqrt(variance),
                min=min(statistics.min for statistics in own),
                max=max(statistics.max for statistics in own),
                percentile_00_5=low,
                percentile_99_5=high,
            )
        )
    return tuple(pooled)


@dataclass(frozen=True, slots=True)
class _Known:
    """What an earlier run left of a case; `place` is that of its values in the file, None where it shows no
    label."""

    fingerprint: CaseFingerprint
    place: Place | None
    state: str


def _unchanged(folder: Path, states: dict[str, str]) -> Fingerprint | None:
    """The fingerprint of an earlier run, if every file of every case is as it was then."""
    files = PreprocessedFolder(folder)
    try:
        if _read_sources(files)[0] == states and files.fingerprint_quantiles.is_file():
            fingerprint = read_fingerprint(files.fingerprint)
            as_today = not any(map(is_outdated, fingerprint.cases))
            return fingerprint if fingerprint.channel_statistics and as_today else None
    except BalrsamError:
        return None
    return None


def _read_known(folder: Path) -> dict[str, _Known]:
    """What an earlier run left; nothing where any of its files is missing, damaged or of another version."""
    files = PreprocessedFolder(folder)
    try:
        cases = read_fingerprint(files.fingerprint).cases
        states, checksum = _read_sources(files)
        if checksum is not None and file_crc32(files.fingerprint_quantiles) != checksum:
            return {}
        shown = {case.case: len(case.channel_statistics) for case in cases if case.channel_statistics}
        with files.fingerprint_quantiles.open("rb") as file:
            places = places_of(file, shown)
        return {case.case: _Known(case, places.get(case.case), str(states[case.case])) for case in cases}
    except (BalrsamError, OSError, EOFError, ValueError, KeyError, IndexError, TypeError):
        return {}


def _read_sources(files: PreprocessedFolder) -> tuple[Any, int | None]:
    """Case -> state of its files, and the checksum of the quantiles, None as older versions have it."""
    value = read_json(files.fingerprint_sources)
    if isinstance(value, dict) and isinstance(value.get(STATES), dict):
        return value[STATES], value.get(CHECKSUM)
    return value, None


def _still_valid(files: CaseFiles, dataset: RawDataset, known: Mapping[str, _Known]) -> bool:
    """Whether a case is as it was when it was measured: the state of its files, or else their content."""
    earlier = known.get(files.case)
    if earlier is None or is_outdated(earlier.fingerprint):
        return False
    if earlier.state == file_state(files, dataset.description):
        return True
    return content_sha256(files, dataset.description) == earlier.fingerprint.content_sha256


def _add_known(measured: Measured, cases: Mapping[str, CaseFiles], dataset: RawDataset, folder: Path) -> None:
    """Add the earlier measurements of those cases that were not measured anew and are as they were."""
    known = _read_known(folder)
    if not known:
        return
    with PreprocessedFolder(folder).fingerprint_quantiles.open("rb") as file:
        for case, files in cases.items():
            if case in measured.fingerprints or not _still_valid(files, dataset, known):
                continue
            place = known[case].place
            values_cn = np.zeros((0, 0), np.float32) if place is None else read_values(file, place)
            if np.isfinite(values_cn).all():  # else it is damaged, and the case is measured again
                measured.add(Measurement(fingerprint=known[case].fingerprint, values_cn=values_cn))


def _write(folder: Path, fingerprint: Fingerprint, measured: Measured, states: dict[str, str]) -> None:
    shown = [case.case for case in fingerprint.cases if case.channel_statistics]
    files = PreprocessedFolder(folder)
    for path in (files.fingerprint, files.fingerprint_sources):
        path.unlink(missing_ok=True)
    with atomic_path(files.fingerprint_quantiles) as temporary:
        with temporary.open("wb") as file:
            measured.write(file, shown)
        checksum = file_crc32(temporary)
    write_json(files.fingerprint_sources, {STATES: states, CHECKSUM: checksum})
    write_versioned(files.fingerprint, fingerprint)


def _failed(dataset: RawDataset, failures: list[BalrsamError]) -> DatasetError:
    shown = "".join(f"\n    {failure.where}: {failure.found}" for failure in failures[:SHOWN])
    more = f"\n    and {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
    return DatasetError(
        dataset.folder,
        found=f"{len(failures)} case(s) that cannot be measured:{shown}{more}",
        expected="readable images and labels",
        fix=failures[0].fix
        if len(failures) == 1
        else "see all of them with their fixes: balrsam verify DATASET",
    )
