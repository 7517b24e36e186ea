"""DICOM series as inputs of a prediction: written as NIfTI for as long as it lasts, and label maps of them
written as DICOM objects beside the NIfTI."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from balrsam_pipeline.dataset import DatasetDescription
from balrsam_pipeline.errors import BalrsamError, ImageError
from balrsam_pipeline.imageio import Image, read_label, write_image
from balrsam_pipeline.imageio.dicom import Series, read_series
from balrsam_pipeline.inference.dicom.codes import LabelCode
from balrsam_pipeline.inference.dicom.segmentation import write_segmentation
from balrsam_pipeline.inference.dicom.sources import read_sources
from balrsam_pipeline.inference.dicom.structures import write_structures
from balrsam_pipeline.inference.dicom.studies import find_studies, holds_dicom
from balrsam_pipeline.inference.inputs import part_of
from balrsam_pipeline.inference.outputs import SEGMENTATION, STRUCTURES
from balrsam_pipeline.inference.prediction_json import SeriesRecord

OutputFormat = Literal["nifti", "dicom-seg", "rtstruct"]
ENDING = ".nii.gz"
COPIED_BYTES = 2**20  # at once


@dataclass(frozen=True, slots=True)
class DicomInputs:
    """A folder of NIfTI made of DICOM series; the series of each case; cases that are refused; and folders
    that were read."""

    folder: Path
    cases: dict[str, tuple[Series, ...]]
    refused: dict[str, BalrsamError]

    def records(self) -> dict[str, SeriesRecord]:
        """Which study and series each case was read from."""
        return {
            case: SeriesRecord(study_uid=series[0].study, series_uids=tuple(one.uid for one in series))
            for case, series in self.cases.items()
        }

    def export(
        self,
        cases: Collection[str],
        folder: Path,
        form: OutputFormat,
        description: DatasetDescription,
        codes: Sequence[LabelCode],
    ) -> dict[str, BalrsamError]:
        """Write the label maps CASE.nii.gz in a folder as DICOM objects too; returns the cases that failed.

        Args:
            cases: those whose label maps are of this run, or of one that it continued.
            codes: of every label, in the order of their names.
        """
        if form == "nifti":
            return {}
        failed: dict[str, BalrsamError] = {}
        for case, series in self.cases.items():
            label_file = folder / f"{case}{ENDING}"
            if case not in cases:
                continue
            label_zyx, labels = read_label(label_file).data[0], description.labels
            try:
                sources = read_sources(series[0])
                if form == "dicom-seg":
                    write_segmentation(folder / f"{case}{SEGMENTATION}", label_zyx, labels, sources, codes)
                else:
                    geometry = read_series(series[0]).geometry
                    target = folder / f"{case}{STRUCTURES}"
                    write_structures(target, label_zyx, labels, (geometry, sources), codes)
            except BalrsamError as problem:
                failed[case] = problem
        return failed


@contextmanager
def dicom_inputs(
    paths: Sequence[Path],
    channels: Sequence[str],
    wanted: Sequence[str],
    *,
    volumes: bool,
    meant: bool,
    part: str | None = None,
) -> Iterator[DicomInputs | None]:
    """The inputs as NIfTI where they are folders of DICOM; None where they are something else.

    Args:
        channels: names of the model's channels.
        wanted: see `find_studies`.
        volumes, meant: see `holds_dicom`.
        part: read none but these cases, see `part_of`.

    Raises:
        PredictionError: images that could be meant lie beside series, or `part` is none.
    """
    if not holds_dicom(paths, volumes=volumes, meant=meant):
        yield None
        return
    studies = find_studies(paths, channels, wanted)
    cases, refused = part_of(studies.cases, part) if part else dict(studies.cases), dict(studies.refused)
    with tempfile.TemporaryDirectory(prefix="balrsam-dicom-") as scratch:
        for case, series in tuple(cases.items()):
            try:
                for number, one in enumerate(series):
                    _write_stored(Path(scratch) / f"{case}_{number:04d}{ENDING}", read_series(one))
            except BalrsamError as problem:
                refused[case] = problem
                del cases[case]
                for file in Path(scratch).glob(f"{case}_[0-9][0-9][0-9][0-9]{ENDING}"):
                    file.unlink()
        yield DicomInputs(Path(scratch), cases, refused)


def _write_stored(path: Path, image: Image) -> None:
    """Write a `.nii.gz` that is not compressed, for it is read once: 0.1 s instead of 2 for 60 slices of
    512 × 512, and 0.05 instead of 1 to read it (one core)."""
    plain = path.with_name(path.name.removesuffix(".gz"))
    try:
        write_image(plain, image)
        with plain.open("rb") as source, gzip.open(path, "wb", compresslevel=0) as target:
            shutil.copyfileobj(source, target, COPIED_BYTES)
    except OSError as problem:
        raise ImageError(
            path,
            found=f"{type(problem).__name__}: {problem}",
            expected=f"room for a copy of the series in {path.parent.parent}",
            fix="make room there, or name another folder for temporary files (TMPDIR)",
        ) from None
    finally:
        plain.unlink(missing_ok=True)
