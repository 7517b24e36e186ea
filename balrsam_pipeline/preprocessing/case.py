"""One case from raw image to what the network sees: transpose, crop, normalise, resample. Training and
prediction share it.

Suffixes: `image_czyx`, `label_zyx`; after `transpose` the first of (z, y, x) is the slice axis, whatever it
was in the scanner.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import PreprocessingError
from balrsam_pipeline.imageio import Geometry, Image
from balrsam_pipeline.plan import Configuration, Plan
from balrsam_pipeline.preprocessing.conservation import LabelVoxels, conserve_labels
from balrsam_pipeline.preprocessing.label_resampling import resample_label
from balrsam_pipeline.preprocessing.normalization import ChannelTransform, channel_transform
from balrsam_pipeline.preprocessing.resampling import Shape, plan_resampling, resample_image, resampled_shape
from balrsam_pipeline.voxels import Box, crop, foreground_box, nonzero_mask


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseProperties:
    """What is needed to bring a prediction back onto the raw image's grid.

    Attributes:
        geometry: of the raw image, axes as on disk.
        transpose: order in which the raw axes (z, y, x) were taken; every field below is on transposed axes.
        crop_box: (start, stop) per axis, of the nonzero box.
        cropped_shape: voxels after the crop, before resampling.
        shape: voxels of the preprocessed case.
        spacing_mm: of the raw image.
        target_spacing_mm: of the preprocessed case; the slice axis keeps its own unless volumes are cut along
            all axes.
    """

    geometry: Geometry
    transpose: tuple[int, int, int]
    crop_box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    cropped_shape: tuple[int, int, int]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    target_spacing_mm: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessedCase:
    """A case ready for the network: float32 (channel, z, y, x) and int16 (z, y, x) on transposed axes.

    `label_voxels` says what became of every label value but background and the ignore label.
    """

    image_czyx: npt.NDArray[np.float32]
    label_zyx: npt.NDArray[np.int16] | None
    properties: CaseProperties
    label_voxels: dict[int, LabelVoxels] = field(default_factory=dict)


def target_spacing(
    spacing_mm: tuple[float, float, float], shape_zyx: tuple[int, int, int], configuration: Configuration
) -> tuple[float, float, float]:
    """The spacing to resample a case of transposed `spacing_mm` to.

    Slices keep their distance unless volumes are cut along all three axes: a network that looks at slices
    gains nothing from interpolated ones, and labels stay as they were drawn. Source: nnU-Net v2, 2d
    configuration. Images that are fitted get the spacing at which their
    slices just fill what they are fitted to, both in-plane axes made coarser or finer by one factor.
    """
    if configuration.fitted_to is not None:
        _, base_y, base_x = configuration.spacing_mm
        extents = (shape_zyx[1] * spacing_mm[1] / base_y, shape_zyx[2] * spacing_mm[2] / base_x)
        factor = max(extent / side for extent, side in zip(extents, configuration.fitted_to, strict=True))
        return spacing_mm[0], base_y * factor, base_x * factor
    if configuration.slicing_axes == (0,):
        return spacing_mm[0], configuration.spacing_mm[1], configuration.spacing_mm[2]
    return configuration.spacing_mm


def preprocess_image(
    image: Image,
    label: Image | None,
    plan: Plan,
    configuration: Configuration,
    ignore_value: int | None = None,
) -> PreprocessedCase:
    """Preprocess one case.

    Args:
        image: raw, any dtype.
        label: its label map, or None for prediction.
        ignore_value: the label value of voxels that nobody annotated.

    Returns:
        The case on transposed axes, cropped to nonzero and labelled voxels, normalised, at the target
        spacing.

    Raises:
        PreprocessingError: channels or shapes do not fit, or the image holds NaN or infinite values.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from balrsam_pipeline.dataset import open_dataset, read_case
        >>> from balrsam_pipeline.demo import DemoSize, generate_dataset
        >>> from planners import Hardware, extract_fingerprint, plan_dataset
        >>> folder = Path(tempfile.mkdtemp())
        >>> size = DemoSize(training_cases=2, shape_zyx=(4, 16, 16))
        >>> dataset = open_dataset(generate_dataset(folder / "raw", size))
        >>> fingerprint = extract_fingerprint(dataset, folder / "preprocessed", None, workers=1).fingerprint
        >>> plan = plan_dataset(fingerprint, dataset.description, Hardware(gpu_memory_gb=None))
        >>> image, label = read_case(dataset.training_cases()["demo_000"], dataset.description)
        >>> case = preprocess_image(image, label, plan, plan.configuration("2d"))
        >>> case.image_czyx.dtype.name, case.image_czyx.shape[1:] == case.label_zyx.shape
        ('float32', True)
        >>> bool(abs(case.image_czyx.mean()) < 0.1)
        True
    """
    _require_fit(image, label, configuration)
    order = (0, *(axis + 1 for axis in configuration.transpose))
    image_czyx = image.data.transpose(order)
    box = foreground_box(image_czyx, None if label is None else label.data.transpose(order)[0], ignore_value)
    cropped_czyx = crop(image_czyx, box)
    properties = _properties(image.geometry, box, configuration)
    image_czyx = _normalise_and_resample(cropped_czyx, properties, plan, configuration)
    if label is None:
        return PreprocessedCase(image_czyx=image_czyx, label_zyx=None, properties=properties)
    cropped_zyx = crop(label.data.transpose(order), box)[0]
    label_zyx = _resample_label(cropped_zyx, properties, configuration.antialias)
    return PreprocessedCase(
        image_czyx=image_czyx,
        label_zyx=label_zyx,
        properties=properties,
        label_voxels=conserve_labels(cropped_zyx, label_zyx, ignore_value),
    )


def _properties(geometry: Geometry, box: Box, configuration: Configuration) -> CaseProperties:
    first, second, third = configuration.transpose
    spacing_mm = (geometry.spacing_mm[first], geometry.spacing_mm[second], geometry.spacing_mm[third])
    sizes = tuple(stop - start for start, stop in box)
    cropped_shape = (sizes[0], sizes[1], sizes[2])
    target_mm = target_spacing(spacing_mm, cropped_shape, configuration)
    return CaseProperties(
        geometry=geometry,
        transpose=configuration.transpose,
        crop_box=box,
        cropped_shape=cropped_shape,
        shape=resampled_shape(cropped_shape, spacing_mm, target_mm),
        spacing_mm=spacing_mm,
        target_spacing_mm=target_mm,
    )


def _normalise_and_resample(
    cropped_czyx: npt.NDArray[Any], properties: CaseProperties, plan: Plan, configuration: Configuration
) -> npt.NDArray[np.float32]:
    mask_zyx = nonzero_mask(cropped_czyx) if any(configuration.normalize_inside_mask) else None
    resampling = plan_resampling(
        properties.cropped_shape,
        properties.shape,
        properties.spacing_mm,
        properties.target_spacing_mm,
        3,
        configuration.antialias,
    )
    out_czyx = np.empty((len(cropped_czyx), *properties.shape), dtype=np.float32)
    for index, channel_zyx in enumerate(cropped_czyx):
        transform = _transform(channel_zyx, index, mask_zyx, plan, configuration)
        resample_image(channel_zyx, resampling, transform.apply, out_czyx[index])
        if not np.isfinite(out_czyx[index].sum(dtype=np.float64)):
            raise PreprocessingError(
                f"channel {index}",
                found="NaN or infinite values",
                expected="finite intensities",
                fix="replace them in the image: balrsam verify DATASET --fix NEW_FOLDER",
            )
    return out_czyx


def _transform(
    channel_zyx: npt.NDArray[Any],
    index: int,
    mask_zyx: npt.NDArray[np.bool_] | None,
    plan: Plan,
    configuration: Configuration,
) -> ChannelTransform:
    statistics = plan.channel_statistics[index] if index < len(plan.channel_statistics) else None
    inside = mask_zyx if configuration.normalize_inside_mask[index] else None
    return channel_transform(channel_zyx, configuration.normalization[index], statistics, inside)


def _resample_label(
    label_zyx: npt.NDArray[np.integer], properties: CaseProperties, antialias: bool
) -> npt.NDArray[np.int16]:
    shape_in: Shape = properties.cropped_shape
    return resample_label(
        label_zyx,
        plan_resampling(
            shape_in, properties.shape, properties.spacing_mm, properties.target_spacing_mm, 1, antialias
        ),
    )


def _require_fit(image: Image, label: Image | None, configuration: Configuration) -> None:
    if len(image.data) != len(configuration.normalization):
        raise PreprocessingError(
            "image",
            found=f"{len(image.data)} channels",
            expected=f"{len(configuration.normalization)}, as planned",
            fix="give every channel that dataset.json names, as CASE_0000, CASE_0001, …",
        )
    if label is not None and label.data.shape[1:] != image.data.shape[1:]:
        raise PreprocessingError(
            "label",
            found=f"shape {label.data.shape[1:]} (z, y, x)",
            expected=f"the image's, {image.data.shape[1:]}",
            fix="check the pair of files: balrsam verify DATASET",
        )
