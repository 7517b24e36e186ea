"""The fingerprint of a dataset: every case measured in parallel, only changed cases measured again.

Beside fingerprint.json lie `fingerprint_sources.json` and `fingerprint_quantiles.npy`, float32: of every case
that shows a label n, and then its (channel, n) values; older versions kept (case, channel, 4096).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
from balrsam_pipeline.progress import track
from planners.case_fingerprint import Measurement, MeasureTask, measure_case
from planners.file_hashes import content_sha256, file_state
from planners.pooling import pooled_percentiles

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
    return frozenset(case for case, files in cases.items() if _still_valid(files, dataset, known) is None)


def extract_fingerprint(
    dataset: RawDataset,
    folder: Path,
    executor: Executor | None,
    workers: int,
    scanned: Mapping[str, Measurement] | None = None,
) -> Extraction:
    """Measure a dataset, or only what changed since `folder`/fingerprint.json was written, and write it
    there.

    Deterministic: the same files give the same fingerprint whatever the number of workers.

    Args:
        scanned: cases that were measured just now, when they were checked.

    Raises:
        DatasetError: cases that cannot be measured (all of them named; the others are kept for the next run),
            or no case shows any label.
    """
    cases = dataset.training_cases()
    states = {case: file_state(files, dataset.description) for case, files in sorted(cases.items())}
    unchanged = _unchanged(folder, states)
    if unchanged is not None:
        return Extraction(fingerprint=unchanged, measured=())
    known = _read_known(folder)
    done = {case: measurement for case, measurement in (scanned or {}).items() if case in cases}
    fresh = set(done)
    kept = {case: _still_valid(files, dataset, known) for case, files in cases.items() if case not in fresh}
    done |= {case: measurement for case, measurement in kept.items() if measurement is not None}
    tasks = {
        case: MeasureTask(files=files, description=dataset.description)
        for case, files in cases.items()
        if case not in done
    }
    failures: list[BalrsamError] = []
    for outcome in track(
        run_cases(measure_case, tasks, executor, workers, DatasetError), len(tasks), "measuring"
    ):
        if outcome.value is not None:
            done[outcome.case] = outcome.value
        elif outcome.error is not None:
            failures.append(outcome.error)
    ordered = {case: done[case] for case in sorted(done)}
    fingerprint = Fingerprint(
        dataset=dataset.name,
        cases=tuple(measurement.fingerprint for measurement in ordered.values()),
        channel_statistics=pooled_statistics(tuple(ordered.values())),
    )
    _write(folder, fingerprint, ordered, {case: states[case] for case in ordered})
    if failures:
        raise _failed(dataset, failures)
    if not fingerprint.channel_statistics:
        raise DatasetError(
            RawFolder(dataset.folder).labels_tr,
            found="no case shows any label",
            expected="label maps with values above 0",
            fix="check that labels were saved: balrsam verify DATASET",
        )
    return Extraction(fingerprint=fingerprint, measured=tuple(sorted({*fresh, *tasks})))


def pooled_statistics(measurements: tuple[Measurement, ...]) -> tuple[ChannelStatistics, ...]:
    """Statistics of every channel over the foreground of all cases, each case counting the same.

    nnU-Net draws the same number of voxels from every case; this is what that tends to, worked out without
    drawing.
    """
    shown = [measurement for measurement in measurements if measurement.fingerprint.channel_statistics]
    if not shown:
        return ()
    pooled = []
    for channel in range(len(shown[0].fingerprint.channel_statistics)):
        own = [measurement.fingerprint.channel_statistics[channel] for measurement in shown]
        mean = math.fsum(statistics.mean for statistics in own) / len(own)
        variance = math.fsum(statistics.std**2 + (statistics.mean - mean) ** 2 for statistics in own) / len(
            own
        )
        values = [measurement.values_cn[channel] for measurement in shown]
        low, middle, high = pooled_percentiles(values, (0.5, 50.0, 99.5))
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
    measurement: Measurement
    state: str


def _unchanged(folder: Path, states: dict[str, str]) -> Fingerprint | None:
    """The fingerprint of an earlier run, if every file of every case is as it was then."""
    files = PreprocessedFolder(folder)
    try:
        if read_json(files.fingerprint_sources) == states and files.fingerprint_quantiles.is_file():
            fingerprint = read_fingerprint(files.fingerprint)
            return fingerprint if fingerprint.channel_statistics else None
    except BalrsamError:
        return None
    return None


def _read_known(folder: Path) -> dict[str, _Known]:
    """What an earlier run left; nothing where any of its files is missing, damaged or of another version."""
    files = PreprocessedFolder(folder)
    try:
        fingerprint = read_fingerprint(files.fingerprint)
        states = read_json(files.fingerprint_sources)
        quantiles: npt.NDArray[np.float32] = np.load(files.fingerprint_quantiles, allow_pickle=False)
        shown = [case for case in fingerprint.cases if case.channel_statistics]
        rows = dict(zip((case.case for case in shown), _rows(quantiles, shown), strict=True))
        empty = np.zeros((0, 0), dtype=np.float32)
        return {
            case.case: _Known(
                Measurement(fingerprint=case, values_cn=rows.get(case.case, empty)), str(states[case.case])
            )
            for case in fingerprint.cases
        }
    except (BalrsamError, OSError, EOFError, ValueError, KeyError, IndexError, TypeError):
        return {}


def _rows(
    quantiles: npt.NDArray[np.float32], cases: Sequence[CaseFingerprint]
) -> Iterator[npt.NDArray[np.float32]]:
    """The values (c, n) of every case that shows a label.

    Raises:
        ValueError: the file holds those of other cases.
    """
    if quantiles.ndim == 3:  # older versions
        yield from quantiles
        return
    place = 0
    for case in cases:
        channels, count = len(case.channel_statistics), int(quantiles[place])
        place += 1
        yield quantiles[place : place + channels * count].reshape(channels, count)
        place += channels * count
    if place != len(quantiles):
        raise ValueError(f"{len(quantiles)} values, and {place} that belong to cases")


def _still_valid(files: CaseFiles, dataset: RawDataset, known: dict[str, _Known]) -> Measurement | None:
    """The earlier measurement of a case, if its files are as they were (by state, else by content)."""
    earlier = known.get(files.case)
    if earlier is None:
        return None
    if earlier.state == file_state(files, dataset.description):
        return earlier.measurement
    same = content_sha256(files, dataset.description) == earlier.measurement.fingerprint.content_sha256
    return earlier.measurement if same else None


def _write(
    folder: Path, fingerprint: Fingerprint, measurements: dict[str, Measurement], states: dict[str, str]
) -> None:
    rows = [m.values_cn for m in measurements.values() if m.fingerprint.channel_statistics]
    files = PreprocessedFolder(folder)
    for path in (files.fingerprint, files.fingerprint_sources):
        path.unlink(missing_ok=True)
    header = {"descr": "<f4", "fortran_order": False, "shape": (sum(1 + row.size for row in rows),)}
    with atomic_path(files.fingerprint_quantiles) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for row in rows:
            file.write(np.float32(row.shape[1]).tobytes() + row.astype("<f4").tobytes())
    write_json(files.fingerprint_sources, states)
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
