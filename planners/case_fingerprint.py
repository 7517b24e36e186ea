"""Measuring one training case: shapes, spacing, foreground intensities, label sizes and thickness.

Suffixes: `image_czyx`, `label_zyx` on the raw image's axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import edt
import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset import CaseFiles, DatasetDescription, LabelScheme, read_case
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.fingerprint import BACKGROUND
from balrsam_pipeline.imageio import Image
from balrsam_pipeline.plan import CaseFingerprint, ChannelStatistics
from balrsam_pipeline.voxels import foreground_box
from planners.case_content import content_sha256
from planners.pooling import kept_values

MEASURED_BY = 2  # the version of what is measured here (`CaseFingerprint.measured_by`)
MOSTLY_LABELLED = 0.5  # share of a case's voxels from which its background is measured as a label is


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureTask:
    """One case to measure, and the description of its dataset."""

    files: CaseFiles
    description: DatasetDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A case's fingerprint, and the values per channel (c, n) that stand for its foreground (see `pooling`);
    none where it shows none."""

    fingerprint: CaseFingerprint
    values_cn: npt.NDArray[np.float32]


def measure_case(task: MeasureTask) -> Measurement:
    """Read and measure one case.

    Raises:
        DatasetError: a file cannot be read, has no label, or holds NaN or infinite values in the foreground.
    """
    image, label = read_case(task.files, task.description)
    if label is None:
        raise DatasetError(
            f"case {task.files.case}",
            found="no label",
            expected="a label map",
            fix="add it, or move the image to imagesTs",
        )
    return measure(task.files, task.description, image, label)


def measure(files: CaseFiles, description: DatasetDescription, image: Image, label: Image) -> Measurement:
    """Measure a case that was read from `files`.

    Raises:
        DatasetError: NaN or infinite values in the foreground.

    Source: nnU-Net v2, `DatasetFingerprintExtractor.analyze_case`.
    """
    labels = description.labels
    label_zyx = label.data[0]
    box = foreground_box(image.data, label_zyx, labels.ignore_value)
    foreground_zyx = label_zyx != 0
    if labels.ignore_value is not None:
        foreground_zyx &= label_zyx != labels.ignore_value
    samples = [np.sort(channel_zyx[foreground_zyx]) for channel_zyx in image.data]
    spacing_mm = image.geometry.spacing_mm
    flat = label_zyx.shape.index(1) if 1 in label_zyx.shape else None
    slice_axis = int(np.argmax(spacing_mm)) if flat is None else flat
    voxels, thickness, centres = _of_labels(label_zyx, labels, slice_axis)
    fingerprint = CaseFingerprint(
        case=files.case,
        shape_zyx=image.geometry.shape_zyx,
        cropped_shape_zyx=_sizes(box),
        spacing_mm=spacing_mm,
        orientation=image.geometry.orientation,
        dtype=str(image.data.dtype),
        content_sha256=content_sha256(files, description),
        label_voxels=voxels,
        label_thickness_px=thickness,
        label_centres=centres,
        channel_statistics=tuple(_statistics(values, files.case) for values in samples if len(values)),
    )
    if _measured_otherwise_before(fingerprint):
        fingerprint = replace(fingerprint, measured_by=MEASURED_BY)
    return Measurement(
        fingerprint=fingerprint, values_cn=np.stack([kept_values(values) for values in samples])
    )


def is_outdated(fingerprint: CaseFingerprint) -> bool:
    """Whether an earlier version measured a case otherwise than this one would."""
    return fingerprint.measured_by < MEASURED_BY and _measured_otherwise_before(fingerprint)


def _measured_otherwise_before(fingerprint: CaseFingerprint) -> bool:
    """Single slices, which were cut across their coarsest axis, and cases that labels fill, between which the
    background was not measured."""
    filled = sum(fingerprint.label_voxels.values()) > MOSTLY_LABELLED * math.prod(fingerprint.shape_zyx)
    thin = 1 in fingerprint.shape_zyx and fingerprint.shape_zyx[int(np.argmax(fingerprint.spacing_mm))] != 1
    return filled or thin


def _sizes(box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]) -> tuple[int, int, int]:
    depth, height, width = (stop - start for start, stop in box)
    return depth, height, width


def _statistics(ordered: npt.NDArray[Any], case: str) -> ChannelStatistics:
    """Statistics of sorted foreground values."""
    if not np.isfinite(ordered[-1]) or not np.isfinite(ordered[0]):
        raise DatasetError(
            f"case {case}",
            found="NaN or infinite values in the foreground",
            expected="finite intensities",
            fix="replace them in the image: balrsam verify DATASET --fix NEW_FOLDER",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(ordered.mean(dtype=np.float64)), float(ordered.std(dtype=np.float64))
    if not np.isfinite(std):
        raise DatasetError(
            f"case {case}",
            found=f"values from {float(ordered[0]):g} to {float(ordered[-1]):g} in the foreground",
            expected="intensities with a standard deviation",
            fix="replace the marks for missing data in the image by the value of its background, such as 0",
        )
    return ChannelStatistics(
        mean=mean,
        median=_percentile(ordered, 50.0),
        std=std,
        min=float(ordered[0]),
        max=float(ordered[-1]),
        percentile_00_5=_percentile(ordered, 0.5),
        percentile_99_5=_percentile(ordered, 99.5),
    )


def _percentile(ordered: npt.NDArray[Any], percent: float) -> float:
    """NumPy's linear percentile of sorted values, in float64: `np.percentile` interpolates in their own
    type."""
    place = percent / 100 * (len(ordered) - 1)
    below = int(place)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    return low + (high - low) * (place - below)


Centres = dict[str, tuple[float, float, float]]


def _of_labels(
    label_zyx: npt.NDArray[Any], labels: LabelScheme, slice_axis: int
) -> tuple[dict[str, int], dict[str, float], Centres]:
    """Voxels of each label or region; in-plane thickness and centre of those that the case shows. Where they
    fill most of it, the thickness of the background too: it is what lies between cells."""
    voxels, thickness, centres = {}, {}, {}
    for name in labels.names:
        mask_zyx = labels.mask(label_zyx, name)
        voxels[name] = int(mask_zyx.sum())
        measured = in_plane_thickness_px(np.moveaxis(mask_zyx, slice_axis, 0))
        if measured is not None:
            thickness[name], centres[name] = measured, centre_of(mask_zyx)
    ignored = 0 if labels.ignore_value is None else np.count_nonzero(label_zyx == labels.ignore_value)
    if np.count_nonzero(label_zyx) - ignored > MOSTLY_LABELLED * (label_zyx.size - ignored):
        between = in_plane_thickness_px(np.moveaxis(label_zyx == 0, slice_axis, 0))
        if between is not None:
            thickness[BACKGROUND] = between
    return voxels, thickness, centres


def centre_of(mask_zyx: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """The mean voxel of a mask that is not empty, from 0 to 1 of each side.

    Example:
        >>> mask = np.zeros((1, 2, 10), bool)
        >>> mask[0, :, 8] = True
        >>> centre_of(mask)
        (0.5, 0.5, 0.85)
    """
    centre = []
    of_rows_zy = mask_zyx.sum(axis=2)
    for counts in (of_rows_zy.sum(axis=1), of_rows_zy.sum(axis=0), mask_zyx.sum(axis=(0, 1))):
        places = (np.arange(len(counts)) + 0.5) / len(counts)
        centre.append(round(float(counts @ places / counts.sum()), 3))
    z, y, x = centre
    return z, y, x


MOST_SLICES = 16  # evenly spread over those that show the label: enough for a mean, and memory stays bounded


def in_plane_thickness_px(mask_zyx: npt.NDArray[np.bool_]) -> float | None:
    """Mean thickness of a mask within slices, in voxels; None where the mask is empty.

    In a strip of width w the distance to the edge is w / 4 on average, so thickness is four times the mean
    distance. A disk counts two thirds of its diameter. The image's border counts as an edge.
    """
    shown = np.flatnonzero(mask_zyx.any(axis=(1, 2)))
    if len(shown) == 0:
        return None
    chosen = shown[np.unique(np.linspace(0, len(shown) - 1, MOST_SLICES).round().astype(int))]
    # slices one below the other with an empty row between: one distance transform instead of many small ones
    stacked = np.pad(mask_zyx[chosen], ((0, 0), (0, 1), (0, 0))).reshape(-1, mask_zyx.shape[2])
    distance = edt.edt(np.ascontiguousarray(stacked), black_border=True, parallel=1)
    return float(4 * (distance[stacked].mean() - 0.5))
