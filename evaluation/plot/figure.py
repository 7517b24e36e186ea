"""One case as a picture: one row per slice; columns image, prediction, reference, disagreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw

from balrsam_pipeline.files import atomic_path
from evaluation.plot.overlay import Picture, coloured, disagreement, grey, limits_of

PANEL_PIXELS = 320  # the longer side of one panel
GAP, HEADER = 6, 22
LEGEND = "disagreement: blue missed, red spurious, yellow another label"


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePicture:
    """What is drawn of one case.

    Attributes:
        image_czyx: intensities.
        prediction_zyx: label values.
        reference_zyx: label values, or None where there is no reference.
        spacing_mm: (z, y, x), so that pixels are drawn with their true proportions.
    """

    title: str
    image_czyx: npt.NDArray[Any]
    prediction_zyx: npt.NDArray[Any]
    reference_zyx: npt.NDArray[Any] | None
    spacing_mm: tuple[float, float, float]


def draw_case(case: CasePicture, slices: Sequence[int], path: Path) -> None:
    """Write the picture of a case as PNG, atomically."""
    limits = limits_of(case.image_czyx)
    rows = [[_sized(panel, case.spacing_mm) for panel in _panels(case, index, limits)] for index in slices]
    names = ["image", "prediction", "reference", "disagreement"][: len(rows[0])]
    lines = [f"{case.title}; slices {', '.join(map(str, slices))}", *([LEGEND] if len(rows[0]) > 2 else [])]
    top = HEADER * (len(lines) + 1)
    width, height = rows[0][0].size
    sheet = Pillow.new(
        "RGB", (len(names) * (width + GAP) - GAP, top + len(rows) * (height + GAP) - GAP), "white"
    )
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        pen.text((2, number * HEADER + 4), line, fill="black")
    for column, name in enumerate(names):
        pen.text((column * (width + GAP) + 2, top - HEADER + 4), name, fill="black")
        for row, panels in enumerate(rows):
            sheet.paste(panels[column], (column * (width + GAP), top + row * (height + GAP)))
    with atomic_path(path) as temporary:
        sheet.save(temporary)


def choose_slices(
    prediction_zyx: npt.NDArray[Any], reference_zyx: npt.NDArray[Any] | None, count: int
) -> list[int]:
    """Slices worth looking at, ascending: those of most disagreement, then of most foreground."""
    foreground = (prediction_zyx > 0).sum(axis=(1, 2))
    wrong = (
        np.zeros_like(foreground)
        if reference_zyx is None
        else (prediction_zyx != reference_zyx).sum(axis=(1, 2))
    )
    order = np.lexsort((np.arange(len(wrong)), -foreground, -wrong))
    return sorted(int(index) for index in order[:count])


def _panels(case: CasePicture, index: int, limits: tuple[float, float]) -> list[Picture]:
    picture = grey(case.image_czyx[:, index], limits)
    panels = [picture, coloured(picture, case.prediction_zyx[index])]
    if case.reference_zyx is not None:
        panels += [
            coloured(picture, case.reference_zyx[index]),
            disagreement(picture, case.prediction_zyx[index], case.reference_zyx[index]),
        ]
    return panels


def _sized(panel: Picture, spacing_mm: tuple[float, float, float]) -> Pillow.Image:
    """The panel with square millimetres, its longer side PANEL_PIXELS long."""
    height_mm, width_mm = panel.shape[0] * spacing_mm[1], panel.shape[1] * spacing_mm[2]
    scale = PANEL_PIXELS / max(height_mm, width_mm)
    size = max(1, round(width_mm * scale)), max(1, round(height_mm * scale))
    return Pillow.fromarray(panel).resize(size, Pillow.Resampling.NEAREST)
