"""A label map as RTSTRUCT: closed contours in the planes of its series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.measure import find_contours

from balrsam_pipeline import __version__
from balrsam_pipeline.dataset import LabelScheme
from balrsam_pipeline.files import atomic_path
from balrsam_pipeline.imageio import Geometry
from balrsam_pipeline.inference.dicom.codes import LabelCode
from balrsam_pipeline.inference.dicom.segmentation import MAKER, SERIES_NUMBER
from balrsam_pipeline.inference.dicom.sources import ANY_ALPHABET, Sources

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY = "1.2.840.10008.3.1.2.3.1"
FEWEST_POINTS = 3
# what of the patient and the study is repeated
REPEATED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip


def contours(mask_yx: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float64], ...]:
    """Closed outlines (points, 2) of a mask as (row, column), midway between voxels inside and outside: the
    voxels whose centres lie inside an odd number of them are the mask.

    Source: marching squares, scikit-image.
    """
    found = find_contours(np.pad(mask_yx, 1).astype(np.float64), 0.5, fully_connected="high")
    return tuple(line[:-1] - 1 for line in found if len(line) > FEWEST_POINTS)


def write_structures(
    path: Path,
    label_zyx: npt.NDArray[np.integer[Any]],
    labels: LabelScheme,
    grid: tuple[Geometry, Sources],
    codes: Sequence[LabelCode],
) -> None:
    """Write one region of interest per label or region; holes are contours of their own, so that what an odd
    number of contours encloses is inside (CLOSED_PLANAR_XOR where there are any).

    Args:
        label_zyx: on the series' own grid.
        grid: the series' geometry, and its files.
        codes: of every label, in the order of `labels.names`.
    """
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence as Items
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    geometry, sources = grid
    first = sources.datasets[0]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = RTSTRUCT, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset(str(path), Dataset(), file_meta=meta, preamble=b"\0" * 128)
    made.SpecificCharacterSet = ANY_ALPHABET
    for name in REPEATED:
        setattr(made, name, first.get(name, ""))
    made.update(_general(meta.MediaStorageSOPInstanceUID, generate_uid()))
    made.ReferencedFrameOfReferenceSequence = Items([_reference(sources)])
    made.StructureSetROISequence, made.ROIContourSequence = Items(), Items()
    made.RTROIObservationsSequence = Items()
    for number, (name, code) in enumerate(zip(labels.names, codes, strict=True), 1):
        outlines = list(_outlines(labels.mask(label_zyx, name), geometry, sources))
        made.StructureSetROISequence.append(_region(number, name, str(first.get("FrameOfReferenceUID", ""))))
        made.ROIContourSequence.append(_drawn(number, code, outlines))
        made.RTROIObservationsSequence.append(_observed(number, name, code))
    with atomic_path(path) as temporary:
        made.save_as(temporary, enforce_file_format=True)


def _general(instance: str, series: str) -> Any:
    from pydicom.dataset import Dataset

    now, general = datetime.now(UTC), Dataset()
    general.SOPClassUID, general.SOPInstanceUID, general.SeriesInstanceUID = RTSTRUCT, instance, series
    general.Modality, general.SeriesNumber, general.InstanceNumber = "RTSTRUCT", SERIES_NUMBER, 1
    general.Manufacturer, general.SoftwareVersions = MAKER, __version__
    general.SeriesDescription = general.StructureSetLabel = "BALR-SAM"
    general.StructureSetDate = general.InstanceCreationDate = now.strftime("%Y%m%d")
    general.StructureSetTime = general.InstanceCreationTime = now.strftime("%H%M%S")
    general.OperatorsName, general.ApprovalStatus = "", "UNAPPROVED"
    return general


def _reference(sources: Sources) -> Any:
    """The frame of reference, and every image that contours are drawn on."""
    from pydicom.dataset import Dataset

    first = sources.datasets[0]
    images = []
    for one in sources.datasets:
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = one.SOPClassUID, one.SOPInstanceUID
        images.append(image)
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID, series.ContourImageSequence = first.SeriesInstanceUID, images
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY, first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = first.get("FrameOfReferenceUID", "")
    frame.RTReferencedStudySequence = [study]
    return frame


def _outlines(mask_zyx: npt.NDArray[np.bool_], geometry: Geometry, sources: Sources) -> Iterator[Any]:
    """A contour item for every outline, points in mm of the patient's space."""
    from pydicom.dataset import Dataset

    direction = np.array(geometry.direction).reshape(3, 3)
    columns = direction * np.array(geometry.spacing_mm[::-1])
    for z in np.flatnonzero(mask_zyx.any(axis=(1, 2))):
        lines, source = contours(mask_zyx[z]), sources.of_slice(int(z))
        for line in lines:
            index_xyz = np.column_stack([line[:, 1], line[:, 0], np.full(len(line), z)])
            points = index_xyz @ columns.T + np.array(geometry.origin_mm)
            image, outline = Dataset(), Dataset()
            image.ReferencedSOPClassUID = source.SOPClassUID
            image.ReferencedSOPInstanceUID = source.SOPInstanceUID
            if sources.order is not None:
                image.ReferencedFrameNumber = sources.order[int(z)] + 1
            outline.ContourImageSequence = [image]
            outline.ContourGeometricType = "CLOSED_PLANAR" if len(lines) == 1 else "CLOSEDPLANAR_XOR"
            outline.NumberOfContourPoints = len(points)
            outline.ContourData = [f"{value:.4f}" for value in points.ravel()]
            yield outline


def _region(number: int, name: str, frame_of_reference: str) -> Any:
    from pydicom.dataset import Dataset

    region = Dataset()
    region.ROINumber, region.ROIName, region.ROIGenerationAlgorithm = number, name[:64], "AUTOMATIC"
    region.ReferencedFrameOfReferenceUID = frame_of_reference
    return region


def _drawn(number: int, code: LabelCode, outlines: list[Any]) -> Any:
    from pydicom.dataset import Dataset

    drawn = Dataset()
    drawn.ReferencedROINumber, drawn.ROIDisplayColor = number, list(code.colour or (255, 255, 255))
    drawn.ContourSequence = outlines
    return drawn


def _observed(number: int, name: str, code: LabelCode) -> Any:
    from pydicom.dataset import Dataset

    coded, observed = Dataset(), Dataset()
    coded.CodeValue, coded.CodingSchemeDesignator, coded.CodeMeaning = code.type
    observed.ObservationNumber = observed.ReferencedROINumber = number
    observed.ROIObservationLabel, observed.RTROIInterpretedType = name[:16], "ORGAN"
    observed.ROIInterpreter, observed.RTROIIdentificationCodeSequence = "", [coded]
    return observed
