"""One case as a picture: one row per slice; columns image, prediction, reference, disagreement; a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw
from PIL.PngImagePlugin import PngInfo

from balrsam_pipeline.files import atomic_path
from balrsam_pipeline.imageio import Geometry
from evaluation.view import Plane, View, Window, coloured, colours_of, disagreement, grey, view_of, window_of
from evaluation.view.colours import MISSED, SPURIOUS, WRONG, Colour, Picture
from evaluation.view.hanging import slices_to_show

PANEL_PIXELS = 320  # the longer side of one panel
GAP, HEADER, SWATCH = 6, 22, 12
SOFTWARE, OURS = "Software", "balrsam plot"  # PNG's name for what made a picture, and what we say there
KINDS = (("missed", MISSED), ("spurious", SPURIOUS), ("another label", WRONG))


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePicture:
    """What is drawn of one case.

    Attributes:
        image_czyx: intensities.
        prediction_zyx: label values.
        reference_zyx: label values, or None where there is no reference.
        geometry: tells which way the volume hangs, and the proportions of pixels.
        names: label value -> what it is called in the legend.
    """

    title: str
    image_czyx: npt.NDArray[Any]
    prediction_zyx: npt.NDArray[Any]
    reference_zyx: npt.NDArray[Any] | None
    geometry: Geometry
    names: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Row:
    """The panels of one slice, what it is, and what lies at its edges."""

    panels: list[Pillow.Image]
    title: str
    marks: tuple[str, str, str, str]


def draw_case(
    case: CasePicture,
    path: Path,
    slices: int = 3,
    planes: Sequence[Plane] = ("axial",),
    window: Window | None = None,
) -> None:
    """Write the picture of a case as PNG, atomically.

    Args:
        slices: of each plane, those of most disagreement.
        planes: of a volume; a picture has one.
        window: what becomes black and white; None chooses by the image.
    """
    colours = _colours(case)
    shown = planes if case.geometry.dimension == 3 else planes[:1]
    limits = window or window_of(case.image_czyx)
    rows = [row for plane in shown for row in _rows(case, plane, slices, limits, colours)]
    columns = ["image", "prediction", "reference", "disagreement"][: len(rows[0].panels)]
    legend = [(colours[value], case.names.get(value, f"label {value}")) for value in colours]
    legend += [(colour, name) for name, colour in KINDS] if case.reference_zyx is not None else []
    made_by = PngInfo()
    made_by.add_text(SOFTWARE, OURS)
    with atomic_path(path) as temporary:
        _sheet(case.title, columns, rows, legend).save(temporary, pnginfo=made_by)


def is_drawn(path: Path) -> bool:
    """Whether a file is a picture that `draw_case` wrote."""
    try:
        with Pillow.open(path, formats=["PNG"]) as picture:
            return bool(picture.info.get(SOFTWARE) == OURS)
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError):
        return False


def _colours(case: CasePicture) -> dict[int, Colour]:
    """A colour for each value that is there; a named label has the same one in every case."""
    maps = [case.prediction_zyx, *([case.reference_zyx] if case.reference_zyx is not None else [])]
    there = sorted({int(value) for label in maps for value in np.unique(label)} - {0})
    order = sorted({*case.names, *there} - {0})
    colour = dict(zip(order, colours_of(len(order)), strict=True))
    return {value: colour[value] for value in there}


def _rows(
    case: CasePicture, plane: Plane, count: int, limits: Window, colours: dict[int, Colour]
) -> list[_Row]:
    view = view_of(case.geometry, plane)
    prediction = view.turn(case.prediction_zyx)
    reference = None if case.reference_zyx is None else view.turn(case.reference_zyx)
    image = [view.turn(channel) for channel in case.image_czyx]
    _, height_mm, width_mm = view.spacing(case.geometry.spacing_mm)
    volume = case.geometry.dimension == 3
    rows = []
    for index in slices_to_show(prediction, reference, count):
        picture = grey(np.stack([channel[index] for channel in image]), limits)
        truth = None if reference is None else reference[index]
        panels = [picture, coloured(picture, prediction[index], colours)]
        if truth is not None:
            panels += [coloured(picture, truth, colours), disagreement(picture, prediction[index], truth)]
        stored = _stored_index(view, index, len(prediction))
        rows.append(
            _Row(
                panels=[_sized(panel, height_mm, width_mm) for panel in panels],
                title=f"{plane if view.marks[0] else 'slice'} {stored}" if volume else "",
                marks=view.marks,
            )
        )
    return rows


def _stored_index(view: View, index: int, length: int) -> int:
    """The number of a slice in the file, which may count the other way."""
    return index if view.flips[0] == 1 else length - 1 - index


def _sheet(
    title: str, columns: Sequence[str], rows: Sequence[_Row], legend: Sequence[tuple[Colour, str]]
) -> Pillow.Image:
    """Title, names of the columns, panels with their marks, and as many columns of the legend as fit."""
    measure = ImageDraw.Draw(Pillow.new("RGB", (1, 1)))
    width = max(row.panels[0].size[0] for row in rows)
    entry = SWATCH + 18 + round(max((measure.textlength(name) for _, name in legend), default=0))
    total = max(len(columns) * (width + GAP) - GAP, 8 + round(measure.textlength(title)), entry)
    across = max(1, total // entry)
    heights = [row.panels[0].size[1] + GAP + (HEADER if row.title else 0) for row in rows]
    top, below = 2 * HEADER, -(-len(legend) // across) * HEADER + GAP
    sheet = Pillow.new("RGB", (total, top + sum(heights) + below), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((2, 4), title, fill="black")
    for column, name in enumerate(columns):
        pen.text((column * (width + GAP) + 2, HEADER + 4), name, fill="black")
    y = top
    for row, height in zip(rows, heights, strict=True):
        if row.title:
            pen.text((2, y + 4), row.title, fill="black")
        for column, panel in enumerate(row.panels):
            corner = (column * (width + GAP), y + (HEADER if row.title else 0))
            sheet.paste(panel, corner)
            _mark(pen, corner, panel.size, row.marks)
        y += height
    for number, (colour, name) in enumerate(legend):
        x, line = number % across * entry, y + GAP + number // across * HEADER
        pen.rectangle((x + 2, line, x + 2 + SWATCH, line + SWATCH), fill=colour, outline="black")
        pen.text((x + SWATCH + 8, line), name, fill="black")
    return sheet


def _mark(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], size: tuple[int, int], marks: tuple[str, str, str, str]
) -> None:
    """What lies at the edges, in white on a dark rim."""
    (x, y), (width, height) = corner, size
    places = ((3, height // 2), (width - 10, height // 2), (width // 2, 1), (width // 2, height - 14))
    for text, (right, down) in zip(marks, places, strict=True):
        if text:
            pen.text((x + right, y + down), text, fill="white", stroke_width=1, stroke_fill="black")


def _sized(panel: Picture, height_mm: float, width_mm: float) -> Pillow.Image:
    """The panel with square millimetres, its longer side PANEL_PIXELS long."""
    height, width = panel.shape[0] * height_mm, panel.shape[1] * width_mm
    scale = PANEL_PIXELS / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Pillow.fromarray(panel).resize(size, Pillow.Resampling.NEAREST)
