"""One image and its masks as one case of a raw dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.converters.outlines import filled, is_outline
from balrsam_pipeline.dataset.converters.source_files import (
    PICTURES,
    TIFFS,
    ending_of,
    has_place,
    read_source_image,
    read_source_mask,
    turned_upright,
)
from balrsam_pipeline.dataset.converters.value_map import Colour, apply_value_map
from balrsam_pipeline.dataset.integrity.checks.geometry import check_same_grid
from balrsam_pipeline.dataset.new_folder import copy_image
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import Geometry, Image, write_image, write_label
from balrsam_pipeline.imageio.colours import without_transparency
from balrsam_pipeline.imageio.turning import laid_on

PNG = ".png"


@dataclass(frozen=True, slots=True)
class Pair:
    """A case to convert: `masks` holds for each folder of masks those that make one label map; none for a
    test image."""

    case: str
    image: Path
    masks: tuple[tuple[Path, ...], ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The image and all masks."""
        return (self.image, *(path for files in self.masks for path in files))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is alike for all cases.

    Attributes:
        ending: of the new files.
        value_maps: for each folder of masks.
        channels: how many the user named; 0 where none.
        fill: masks are lines around what they mean.
    """

    ending: str
    value_maps: tuple[Mapping[Colour, int], ...]
    as_colours: bool
    fill: bool
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a case turned out to be.

    Attributes:
        name: of the image's file.
        outline: its mask is a line.
        turned: the image alone is turned upright by its EXIF tag.
        transparent: a transparency channel was left out.
        elsewhere: for each mask that lies elsewhere by its header, how.
    """

    name: str
    channels: int
    outline: bool
    turned: bool
    transparent: bool
    elsewhere: tuple[str, ...]


def convert_case(pair: Pair, task: Task, new: Path, folders: tuple[str, str]) -> Made:
    """Write one case into the folders of images and of labels.

    Raises:
        DatasetError: a file cannot be read, the new format cannot hold the image, sizes or spacings differ,
            or masks contradict each other.
    """
    stored = read_source_image(pair.image)
    image = without_transparency(stored, pair.image, task.channels)
    transparent = image is not stored
    _write_image(pair.image, image, new / folders[0] / f"{pair.case}_0000{task.ending}", transparent)
    outline = turned = False
    elsewhere: list[str] = []
    if pair.masks:
        masks = [path for files in pair.masks for path in files]
        turned = any(turned_upright(pair.image) not in (1, turned_upright(mask)) for mask in masks)
        label = _label(pair, task, image.geometry, turned, elsewhere)
        outline = is_outline(label)
        write_label(new / folders[1] / f"{pair.case}{task.ending}", label, image.geometry)
    return Made(
        name=pair.image.name,
        channels=len(image.data),
        outline=outline,
        turned=turned,
        transparent=transparent,
        elsewhere=tuple(elsewhere),
    )


def _write_image(source: Path, image: Image, target: Path, changed: bool) -> None:
    """Copy a file that is as it should be; another format, or a palette, becomes plain colours."""
    ending = ending_of(source)
    same = target.name.endswith(ending) or (ending in TIFFS and target.suffix in TIFFS)
    if same and ending not in PICTURES and not changed:
        copy_image(source, target)
        return
    if ending in TIFFS and target.suffix == PNG:
        _require_png(source, image)
    write_image(target, image)


def _require_png(source: Path, image: Image) -> None:
    if image.geometry.dimension == 2 and image.data.dtype in (np.uint8, np.uint16) and len(image.data) <= 4:
        return
    kind = "a stack" if image.geometry.dimension == 3 else "a picture"
    raise DatasetError(
        source,
        found=f"{kind} of {len(image.data)} channel(s) of {image.data.dtype} among other pictures",
        expected="2D pictures of 8 or 16 bits, which PNG holds, or one format for all",
        fix="save the other pictures as TIFF too, or make two datasets",
    )


def _label(
    pair: Pair, task: Task, grid: Geometry, turned: bool, elsewhere: list[str]
) -> npt.NDArray[np.uint16]:
    """The label map: of several folders one label each, in their order; `elsewhere` takes what is told of
    masks that lie elsewhere than the image."""
    parts: list[tuple[Path, npt.NDArray[np.uint16]]] = []
    for number, (files, value_map) in enumerate(zip(pair.masks, task.value_maps, strict=True), 1):
        for path in files:
            mask = read_source_mask(path, task.as_colours)
            if has_place(path) and has_place(pair.image):
                mask = laid_on(mask, grid)
                elsewhere += _misplaced(path, mask.geometry, pair, grid)
            _require_size(path, mask.data, pair.image, grid.shape_zyx, turned)
            label = apply_value_map(mask.data, value_map)
            label = filled(label) if task.fill else label
            parts.append((path, label if len(pair.masks) == 1 else number * (label > 0).astype(np.uint16)))
    return _union(pair.case, parts)


def _misplaced(path: Path, mask: Geometry, pair: Pair, grid: Geometry) -> list[str]:
    """How a mask of the image's size lies elsewhere by its header; voxels are paired in spite of that, as
    `balrsam verify` says.

    Raises:
        DatasetError: its voxels have another size.
    """
    if mask.dimension != grid.dimension or mask.shape_zyx != grid.shape_zyx:
        return []
    problems = list(check_same_grid(pair.case, "mask", mask, grid))
    for problem in problems:
        if problem.severity == "error":
            raise DatasetError(
                path,
                found=problem.found,
                expected=f"the spacing of {pair.image.name}, {problem.expected}",
                fix="resample the mask to its image (nearest neighbour); if their voxels match, copy the "
                "image's header onto the mask",
            )
    return [f"{path.name}: {problem.found} ({problem.expected})" for problem in problems]


def _union(case: str, parts: Sequence[tuple[Path, npt.NDArray[np.uint16]]]) -> npt.NDArray[np.uint16]:
    """The labels of several masks of one image; where they overlap they must agree."""
    union = parts[0][1]
    for index, (path, label) in enumerate(parts[1:], 1):
        if np.any((union > 0) & (label > 0) & (union != label)):
            raise _contradiction(case, parts[:index], path, label)
        union = np.maximum(union, label)
    return union


def _contradiction(
    case: str,
    before: Sequence[tuple[Path, npt.NDArray[np.uint16]]],
    path: Path,
    label: npt.NDArray[np.uint16],
) -> DatasetError:
    overlaps = [(other, (known > 0) & (label > 0) & (known != label)) for other, known in before]
    other, both = next((other, both) for other, both in overlaps if both.any())
    names = " and ".join("/".join(one.parts[-2:]) for one in (other, path))
    return DatasetError(
        path,
        found=f"case {case}: {names} give {int(both.sum())} pixel(s) different labels",
        expected="masks of one image that do not overlap, or agree where they do",
        fix="cut the overlap out of one of them, or convert without one of them: a pixel has one label",
    )


def _require_size(
    path: Path, mask: npt.NDArray[Any], image: Path, shape_zyx: tuple[int, ...], turned: bool
) -> None:
    if mask.shape[1:] == shape_zyx:
        return
    raise DatasetError(
        path,
        found=f"{mask.shape[1:]} voxels (z, y, x)",
        expected=f"{shape_zyx}, as {image.name}",
        fix="export the mask in the size of its image"
        if not turned
        else "the image is turned upright by its EXIF tag and the mask is not: turn the mask "
        "likewise, or remove the tag from a copy of the image (exiftool -Orientation= FILE)",
    )
