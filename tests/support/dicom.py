"""DICOM series of every kind that scanners make, written by pydicom from a volume that is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

SHAPE = (6, 16, 20)
SPACING = (2.5, 0.8, 0.7)  # z, y, x in mm
ORIGIN = (-50.0, 20.0, 100.0)
ROOT = "1.2.826.0.1.3680043.2.1125"
UPRIGHT = np.eye(3)
OBLIQUE = np.array([[1.0, 0.0, 0.0], [0.0, 0.8, -0.6], [0.0, 0.6, 0.8]])
# rows run to the left and columns up: slices follow each other downwards
FLIPPED = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
CT, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4.1"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a series lies and is stored.

    Attributes:
        directions: of x, y and the slices, as columns; a tilted gantry's slices go their own way.
        slices: how many.
        names_reversed: file names, and instance numbers, run against the places.
        frames: all slices in one multi-frame file.
    """

    directions: Any
    slices: int = SHAPE[0]
    names_reversed: bool = False
    frames: bool = False


TILT = np.column_stack([UPRIGHT[:, 0], UPRIGHT[:, 1], [0.0, np.sin(0.3), np.cos(0.3)]])
KINDS = {
    "upright": Kind(directions=UPRIGHT),
    "oblique": Kind(directions=OBLIQUE),
    "flipped": Kind(directions=FLIPPED),
    "reversed": Kind(directions=OBLIQUE, names_reversed=True),
    "tilted": Kind(directions=TILT),
    "single": Kind(directions=OBLIQUE, slices=1),
    "multi-frame": Kind(directions=OBLIQUE, names_reversed=True, frames=True),
}


def voxels_of(kind: Kind) -> Any:
    """The volume (z, y, x) that is written; z is the order of places."""
    return np.random.default_rng(0).integers(-1000, 1500, (kind.slices, *SHAPE[1:])).astype(np.int16)


def position(kind: Kind, z: int) -> list[float]:
    """Where the first voxel of a slice is, mm."""
    return list(np.array(ORIGIN) + z * SPACING[0] * np.asarray(kind.directions)[:, 2])


def write_kind(folder: Path, kind: Kind, number: int = 1, description: str = "", study: str = "1") -> None:
    """Write the series into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    values, cosines = voxels_of(kind), np.asarray(kind.directions)[:, :2].T.ravel().tolist()
    order = range(kind.slices)[::-1] if kind.names_reversed else range(kind.slices)
    if kind.frames:
        _multi_frame(
            folder / f"{number}.dcm", kind, values, cosines, list(order), (number, description, study)
        )
        return
    for place, z in enumerate(order, 1):
        uid = f"{ROOT}.{study}.{number}.{place}"
        dataset = _general(folder / f"{number}_{place:03d}.dcm", CT, uid, (number, description, study))
        dataset.InstanceNumber, dataset.ImagePositionPatient = place, position(kind, z)
        dataset.ImageOrientationPatient, dataset.PixelSpacing = cosines, list(SPACING[1:])
        dataset.SliceThickness, dataset.RescaleSlope, dataset.RescaleIntercept = SPACING[0], 1, -1024
        dataset.PixelData = (values[z].astype(np.int32) + 1024).astype(np.uint16).tobytes()
        dataset.save_as(dataset.filename, enforce_file_format=True)


def _general(path: Path, kind: str, uid: str, told: tuple[int, str, str]) -> FileDataset:
    number, description, study = told
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset(str(path), Dataset(), file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = kind, uid
    made.Modality = "CT" if kind == CT else "MR"
    made.PatientName, made.PatientID, made.PatientBirthDate, made.PatientSex = "Test^Patient", "P1", "", "O"
    made.StudyInstanceUID, made.StudyID, made.AccessionNumber = f"{ROOT}.{study}", study, ""
    made.StudyDate, made.StudyTime, made.ReferringPhysicianName = "20260101", "120000", ""
    made.SeriesInstanceUID, made.SeriesNumber = f"{ROOT}.{study}.{number}", number
    made.SeriesDescription, made.FrameOfReferenceUID = description, f"{ROOT}.{study}.9"
    made.PositionReferenceIndicator, made.Manufacturer, made.ImageType = "", "nobody", ["ORIGINAL", "PRIMARY"]
    made.Rows, made.Columns = SHAPE[1:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 0
    return made


def _multi_frame(
    path: Path, kind: Kind, values: Any, cosines: list[float], order: list[int], told: tuple[int, str, str]
) -> None:
    dataset = _general(path, ENHANCED_MR, f"{ROOT}.{told[2]}.{told[0]}.1", told)
    dataset.InstanceNumber, dataset.NumberOfFrames = 1, kind.slices
    shared, orientation, measures, scale = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = cosines
    measures.PixelSpacing, measures.SliceThickness = list(SPACING[1:]), SPACING[0]
    scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = 1, -1024, "US"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    shared.PixelValueTransformationSequence = [scale]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number, z in enumerate(order, 1):
        frame, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = position(kind, z)
        content.DimensionIndexValues, content.StackID, content.InStackPositionNumber = (
            [1, number],
            "1",
            number,
        )
        frame.PlanePositionSequence, frame.FrameContentSequence = [place], [content]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    stored = [(values[z].astype(np.int32) + 1024).astype(np.uint16).tobytes() for z in order]
    dataset.PixelData = b"".join(stored)
    dataset.save_as(path, enforce_file_format=True)


def write_segments(path: Path, kind: Kind) -> None:
    """Write a DICOM-SEG of two segments on the slices of a series: boxes, one a frame."""
    dataset = _general(path, SEGMENTATION, f"{ROOT}.1.9.1", (9, "boxes", "1"))
    dataset.Modality, dataset.SegmentationType, dataset.NumberOfFrames = "SEG", "FRACTIONAL", 2 * kind.slices
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    shared, orientation = Dataset(), Dataset()
    orientation.ImageOrientationPatient = np.asarray(kind.directions)[:, :2].T.ravel().tolist()
    shared.PlaneOrientationSequence = [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    segments, frames, stored = [], [], []
    for number, name in ((1, "liver"), (2, "lesion")):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, name
        segments.append(segment)
        for z in range(kind.slices):
            frame, place, which = Dataset(), Dataset(), Dataset()
            place.ImagePositionPatient, which.ReferencedSegmentNumber = position(kind, z), number
            frame.PlanePositionSequence, frame.SegmentIdentificationSequence = [place], [which]
            frames.append(frame)
            box = np.zeros(SHAPE[1:], dtype=np.uint8)
            box[4 * number : 12, 4:15] = 1
            stored.append(box.tobytes())
    dataset.SegmentSequence, dataset.PerFrameFunctionalGroupsSequence = segments, frames
    dataset.PixelData = b"".join(stored)
    dataset.save_as(path, enforce_file_format=True)


def files_of(folder: Path) -> list[Any]:
    """All datasets of a folder, by file name."""
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
