"""Small pictures of cases for the page: the slice with most foreground, labels over it, as data addresses."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from balrsam_pipeline.dataset import CaseFiles, LabelScheme
from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.imageio import read_image, read_label
from balrsam_pipeline.imageio.turning import laid_on
from evaluation.view import coloured, colours_of, grey, view_of, window_of
from evaluation.view.colours import Colour, Picture
from evaluation.view.hanging import slices_to_show

PIXELS = 220  # the longer side
MOST_BYTES = 200_000_000  # larger files are not opened: the page is made beside a training that needs memory


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture and the line below it."""

    source: str
    caption: str


def label_colours(labels: LabelScheme) -> dict[int, Colour]:
    """A colour for every label value."""
    values = sorted(labels.allowed_values - {0})
    return dict(zip(values, colours_of(len(values)), strict=True))


def thumbnails(
    case: CaseFiles, labels: tuple[tuple[Path, str], ...], colours: dict[int, Colour]
) -> list[Thumbnail]:
    """One picture per label map of a case, turned onto the image by its header, all of the slice in which the
    first has most foreground; the image alone where there is no label map, or one of another shape; none
    where a file cannot be read or is very large.

    Args:
        labels: label maps, and what each is called below its picture.
    """
    paths = (case.images[0], *(path for path, _ in labels))
    try:
        states = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
        if sum(size for _, _, size in states) > MOST_BYTES:
            return []
        sources = _drawn(states, tuple(colours.items()))
    except (BalrsamError, OSError):
        return []
    captions = [caption for _, caption in labels] or [case.case]
    return [Thumbnail(source, caption) for source, caption in zip(sources, captions, strict=True)]


@lru_cache(maxsize=256)
def _drawn(
    states: tuple[tuple[Path, int, int], ...], colours: tuple[tuple[int, Colour], ...]
) -> tuple[str, ...]:
    """Kept as long as the files are as they were, since the page is made anew every minute."""
    image, *paths = (path for path, _, _ in states)
    read = read_image([image])
    view, data = view_of(read.geometry), read.data
    maps = [view.turn(laid_on(read_label(path), read.geometry).data[0]) for path in paths]
    turned = [view.turn(channel) for channel in data]
    shapes_fit = all(label.shape == turned[0].shape for label in maps)
    index = slices_to_show(maps[0], None, 1)[0] if maps and shapes_fit else len(turned[0]) // 2
    channels = np.stack([channel[index] for channel in turned])
    colour_picture = len(channels) == 3 and channels.dtype == np.uint8
    picture = grey(channels if colour_picture else channels[:1], window_of(data))
    _, height_mm, width_mm = view.spacing(read.geometry.spacing_mm)
    shown = [coloured(picture, label[index], dict(colours)) for label in maps] if shapes_fit else []
    return tuple(_inline(one, height_mm, width_mm) for one in (shown or [picture] * max(1, len(maps))))


def _inline(picture: Picture, height_mm: float, width_mm: float) -> str:
    height, width = picture.shape[0] * height_mm, picture.shape[1] * width_mm
    scale = PIXELS / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    buffer = io.BytesIO()
    Pillow.fromarray(picture).resize(size, Pillow.Resampling.BILINEAR).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
