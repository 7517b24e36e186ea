"""A label map as DICOM-SEG on the planes of its series, by highdicom (the optional extra `dicom`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline import __version__
from balrsam_pipeline.dataset import LabelScheme
from balrsam_pipeline.errors import PredictionError, UsageError, installing
from balrsam_pipeline.files import atomic_path
from balrsam_pipeline.inference.dicom.codes import LabelCode
from balrsam_pipeline.inference.dicom.sources import ANY_ALPHABET, Sources

MAKER, SERIES_NUMBER = "BALR-SAM pipeline", 9001


def write_segmentation(
    path: Path,
    label_zyx: npt.NDArray[np.integer[Any]],
    labels: LabelScheme,
    sources: Sources,
    codes: Sequence[LabelCode],
) -> None:
    """Write one segment per label or region; segments without voxels are described and have no frames.

    Args:
        label_zyx: on the series' own grid.
        sources: the series' files.
        codes: of every label, in the order of `labels.names`.

    Raises:
        UsageError: highdicom is not installed.
        PredictionError: the series lacks what a DICOM-SEG has to repeat.
    """
    highdicom = _highdicom()
    from pydicom.uid import generate_uid

    voxels = _segment_numbers(label_zyx, labels)
    if sources.order is not None:  # frames have their own order
        frames = np.zeros_like(voxels)
        frames[list(sources.order)] = voxels
        voxels = frames
    described = [
        _described(highdicom, number, name, code)
        for number, (name, code) in enumerate(zip(labels.names, codes, strict=True), 1)
    ]
    try:
        made = highdicom.seg.Segmentation(
            source_images=list(sources.datasets),
            pixel_array=voxels,
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=described,
            series_instance_uid=generate_uid(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=__version__,
            device_serial_number="0",
            series_description=f"BALR-SAM: {', '.join(labels.names)}"[:64],
        )
    except (AttributeError, TypeError, ValueError) as problem:
        raise PredictionError(
            path,
            found=f"highdicom makes no DICOM-SEG of this series: {problem}",
            expected="a series with patient, study, frame of reference and the place of every slice",
            fix="export the series again with all its headers, or write NIfTI (--output-format nifti)",
        ) from None
    made.SpecificCharacterSet = ANY_ALPHABET  # older versions of highdicom leave it out
    with atomic_path(path) as temporary:
        made.save_as(temporary)


def _segment_numbers(label_zyx: npt.NDArray[np.integer[Any]], labels: LabelScheme) -> npt.NDArray[Any]:
    """What highdicom makes segments of: the number of each voxel's (z, y, x), or of regions, which overlap, a
    mask each (z, y, x, region)."""
    if labels.has_regions:
        masks = np.empty((*label_zyx.shape, len(labels.names)), np.uint8)
        for index, name in enumerate(labels.names):
            masks[..., index] = labels.mask(label_zyx, name)
        return masks
    numbers = np.zeros(
        label_zyx.shape, np.uint8 if len(labels.names) <= np.iinfo(np.uint8).max else np.uint16
    )
    for number, name in enumerate(labels.names, 1):
        numbers[labels.mask(label_zyx, name)] = number
    return numbers


def _described(highdicom: ModuleType, number: int, name: str, code: LabelCode) -> Any:
    coded = highdicom.sr.CodedConcept
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=MAKER, version=__version__, family=coded("123109", "DCM", "Artificial Intelligence")
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=coded(*code.category),
        segmented_property_type=coded(*code.type),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        display_color=highdicom.color.CIELabColor.from_rgb(*(code.colour or (255, 255, 255))),
    )


def _highdicom() -> ModuleType:
    try:
        import highdicom
    except ImportError:
        raise UsageError(
            "--output-format dicom-seg",
            found="no highdicom",
            expected="highdicom to write DICOM-SEG",
            fix=installing("dicom"),
        ) from None
    module: ModuleType = highdicom
    return module
