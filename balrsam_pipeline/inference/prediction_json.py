"""`prediction.json` in a folder of predictions: what made them, so that a continued run cannot mix two
models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.files import read_json, write_json
from balrsam_pipeline.inference.postprocessing import Postprocessing
from balrsam_pipeline.layout import PREDICTION
from balrsam_pipeline.serialise import from_json, to_json


class MadeOtherwiseError(PredictionError):
    """A folder to be continued holds predictions of other models or options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecord:
    """One model of a prediction: its dataset, configuration, plan, weights' hash, and weight in the
    ensemble."""

    dataset: str
    configuration: str
    plan_sha256: str
    weights_sha256: str
    models: int
    weight: float
    rotated: bool = False  # whether slices seen whole were predicted rotated too


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRecord:
    """The DICOM that a case was read from: the UID of its study, and of a series per channel."""

    study_uid: str
    series_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What made the predictions of a folder; and for cases of DICOM what they were read from, by case."""

    schema_version: int = 1
    members: tuple[MemberRecord, ...]
    mirror: bool
    tile_step: float
    labels: LabelScheme
    postprocessing: Postprocessing
    series: dict[str, SeriesRecord] = field(default_factory=dict, compare=False)


def manifest_there(folder: Path, manifest: Manifest, continuing: bool) -> Manifest | None:
    """The manifest that a folder has; None where there is none.

    Raises:
        MadeOtherwiseError: the folder is to be continued, and holds predictions made otherwise.
        PredictionError: it is to be continued, and its manifest is malformed.
    """
    path = folder / PREDICTION
    if not path.is_file():
        return None
    try:
        before = read_manifest(path)
    except PredictionError:
        if continuing:
            raise
        return None
    if continuing and before != manifest:
        raise MadeOtherwiseError(
            folder,
            found=f"predictions made otherwise: {', '.join(_differences(before, manifest))} differ",
            expected="the same models and options as when the run began",
            fix="give the same command as before, or another output folder, or leave out --continue to "
            "predict all again",
        )
    return before


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make the folder and write its prediction.json."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / PREDICTION, to_json(manifest))


def read_manifest(path: Path) -> Manifest:
    """Read prediction.json.

    Raises:
        PredictionError: missing or malformed.
    """
    return from_json(Manifest, read_json(path, PredictionError), path, PredictionError)


def forget_series(folder: Path, cases: Iterable[str]) -> None:
    """Take cases that were not predicted out of what the prediction.json of a folder says was read.

    Raises:
        PredictionError: it is missing or malformed.
    """
    before, gone = read_manifest(folder / PREDICTION), set(cases)
    kept = {case: record for case, record in before.series.items() if case not in gone}
    if kept != before.series:
        write_manifest(folder, replace(before, series=kept))


def _differences(first: Manifest, second: Manifest) -> Sequence[str]:
    one, other = to_json(first), to_json(second)
    return [key for key in one if key != "series" and one[key] != other[key]]
