"""Rules that clean a predicted label map: keep the largest component, drop components below a size. Chosen by
`balrsam find_best_configuration` on cross-validation, kept as JSON, applied by `balrsam predict`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.files import read_json, write_json
from balrsam_pipeline.imageio import Geometry
from balrsam_pipeline.serialise import from_json, to_json
from balrsam_pipeline.voxels.components import connected_components
from balrsam_pipeline.voxels.cropping import crop, label_box

LabelType = TypeVar("LabelType", bound=np.integer[Any])
SizeUnit = Literal["mm3", "mm2", "pixels", "share"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostprocessingStep:
    """One rule.

    Attributes:
        kind: "largest_component" keeps the largest connected component; "minimum_size" drops those below
            `minimum_size`.
        names: labels or regions whose union is cleaned; voxels that are dropped become background, or where
            a region holds these what that is.
        minimum_size: for "minimum_size", in `unit`.
        unit: of the minimum size, by the images: mm³ of volumes, mm² of slices with a physical size, pixels
            of pictures, their share of the picture where pictures differ in size; None in rules that were
            written before it was noted.
    """

    kind: Literal["largest_component", "minimum_size"]
    names: tuple[str, ...]
    minimum_size: float = field(default=0.0, metadata={"formerly": "minimum_mm3"})
    unit: SizeUnit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Postprocessing:
    """Rules in the order in which they are applied; `reasons` says for people what was tried and gained,
    `weights_sha256` with which weights: fold -> SHA-256 of its final checkpoint, empty where that is not
    known."""

    schema_version: int = 2
    steps: tuple[PostprocessingStep, ...] = ()
    reasons: tuple[str, ...] = ()
    weights_sha256: dict[str, str] = field(default_factory=dict, compare=False)


def read_postprocessing(path: Path) -> Postprocessing:
    """Read postprocessing.json.

    Raises:
        PredictionError: missing or malformed.
    """
    return from_json(Postprocessing, read_json(path, PredictionError), path, PredictionError)


def is_postprocessing(path: Path) -> bool:
    """Whether a file holds rules that `write_postprocessing` wrote."""
    try:
        return "steps" in read_json(path, PredictionError) and bool(read_postprocessing(path))
    except (PredictionError, TypeError):  # a number has nothing in it
        return False


def write_postprocessing(path: Path, postprocessing: Postprocessing) -> None:
    """Write postprocessing.json, atomically."""
    write_json(path, to_json(postprocessing))


def require_rules_fit(postprocessing: Postprocessing, labels: LabelScheme) -> None:
    """Refuse rules of other labels, before hours are spent on what they are for.

    Raises:
        PredictionError: a rule names a label that the dataset does not have.
    """
    for step in postprocessing.steps:
        unknown = [name for name in step.names if name not in labels.names]
        if unknown:
            raise PredictionError(
                "postprocessing",
                found=f"a rule for {', '.join(unknown)}",
                expected=f"labels among {', '.join(labels.names)}",
                fix="use the postprocessing.json that was made for this dataset",
            )


def apply_postprocessing(
    label_zyx: npt.NDArray[LabelType],
    geometry: Geometry,
    labels: LabelScheme,
    postprocessing: Postprocessing,
) -> npt.NDArray[LabelType]:
    """The label map after all steps; a new array where anything changes.

    Raises:
        PredictionError: a rule names a label that the dataset does not have.
    """
    require_rules_fit(postprocessing, labels)
    for step in postprocessing.steps:
        mask = np.zeros(label_zyx.shape, dtype=np.bool_)
        for name in step.names:
            mask |= labels.mask(label_zyx, name)
        box = label_box(mask)
        if box is None:
            continue
        one = 1 / mask.size if step.unit == "share" else voxel_size(geometry)
        dropped = dropped_voxels(crop(mask[None], box)[0], one, step)
        if dropped.any():
            label_zyx = label_zyx.copy()
            crop(label_zyx[None], box)[0][dropped] = labels.value_around(step.names)
    return label_zyx


def dropped_voxels(
    mask_zyx: npt.NDArray[np.bool_], one: float, step: PostprocessingStep
) -> npt.NDArray[np.bool_]:
    """Voxels of the mask that a rule turns into background.

    Args:
        mask_zyx: what is cleaned; its box is enough.
        one: the size of a voxel, in the unit of the rule's minimum size.
    """
    components, count = connected_components(mask_zyx)
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    dropped = np.zeros(count + 1, dtype=bool)
    if step.kind == "largest_component" and count > 1:
        dropped[1:] = True
        dropped[1 + int(sizes[1:].argmax())] = False
    if step.kind == "minimum_size":
        dropped[1:] = sizes[1:] * one < step.minimum_size
    if not dropped.any():
        return np.zeros(mask_zyx.shape, dtype=np.bool_)
    return np.asarray(dropped[components], dtype=np.bool_)


def voxel_size(geometry: Geometry) -> float:
    """mm³ of a voxel; mm² of a pixel for 2D images, whose z spacing is no distance; 1 without a physical
    size."""
    z, y, x = geometry.spacing_mm
    return y * x if geometry.dimension == 2 else z * y * x


def size_unit(geometry: Geometry) -> SizeUnit:
    """What `voxel_size` is measured in; spacing of 1 in the plane of a 2D image means that it has none.

    >>> from balrsam_pipeline.imageio import picture_geometry
    >>> size_unit(picture_geometry(20, 30))
    'pixels'
    """
    if geometry.dimension == 3:
        return "mm3"
    return "pixels" if geometry.spacing_mm[1:] == (1.0, 1.0) else "mm2"
