"""From logits on preprocessed grids to a label map, or probabilities, on the image's own grid, in bounded
memory.

The largest class is found by a running maximum over classes, in float32; nothing of size classes × volume is
made. All of it happens where the logits are: of a GPU, only the finished label map is copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.inference.logits import LogitSource

Label = npt.NDArray[Any]
ProbabilitySink = Callable[[int, int, Tensor], None]


CHUNK_BYTES = 128 * 2**20  # of one resampled chunk (K, n, y, x) in float32


@dataclass(frozen=True, slots=True)
class WeightedSource:
    """One model's logits of a case and its weight in an ensemble; all sources of a case share one crop box
    and transpose."""

    source: LogitSource
    weight: float = 1.0


def export_label(
    sources: Sequence[WeightedSource],
    grid: ImageGrid,
    labels: LabelScheme,
    sink: ProbabilitySink | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Label:
    """The label map (z, y, x) on the image's own grid; outside the crop box it is background.

    One source is decoded from its resampled logits, several from the weighted mean of their probabilities.

    Args:
        sources: the models' logits of this case.
        grid: where the crop box lies in the image.
        labels: what channels mean.
        sink: receives (start, stop, probabilities (K, stop - start, y, x)) of transposed slices of the crop
            box, in order.
        chunk_bytes: size of a resampled chunk of logits.

    Returns:
        uint8, or uint16 where the dataset has labels above 255.

    Raises:
        PredictionError: logits are not finite.
    """
    label = empty_label(grid.shape_zyx, labels)
    parts = [
        decode(values, labels, threshold)
        for _, _, values, threshold in _chunks(sources, grid.cropped_shape, labels, sink, chunk_bytes)
    ]
    if len({part.device for part in parts}) > 1:  # a GPU had no room any more for later logits
        parts = [part.cpu() for part in parts]
    grid.cropped_view(label)[...] = torch.cat(parts).cpu().numpy()
    return label


def empty_label(shape_zyx: tuple[int, int, int], labels: LabelScheme) -> Label:
    """A label map of background, in the smallest type that holds the dataset's labels."""
    return np.zeros(shape_zyx, dtype=np.uint8 if labels.largest <= np.iinfo(np.uint8).max else np.uint16)


def _chunks(
    sources: Sequence[WeightedSource],
    shape_zyx: tuple[int, int, int],
    labels: LabelScheme,
    sink: ProbabilitySink | None,
    chunk_bytes: int,
) -> Iterator[tuple[int, int, Tensor, float]]:
    """Yield (start, stop, values to decode, threshold of a region): logits and 0, or probabilities and
    0.5."""
    total = sum(item.weight for item in sources)
    for start, stop in chunk_spans(labels.classes, shape_zyx, chunk_bytes):
        logits = resampled_chunk(sources[0].source, shape_zyx, start, stop)
        if len(sources) == 1 and sink is None:
            yield start, stop, logits, 0.0
            continue
        values = probabilities(logits, labels.has_regions)
        if len(sources) > 1:
            values *= sources[0].weight / total
        for item in sources[1:]:
            theirs = resampled_chunk(item.source, shape_zyx, start, stop).to(values.device)
            other = probabilities(theirs, labels.has_regions)
            values.add_(other, alpha=item.weight / total)
        if sink is not None:
            sink(start, stop, values.cpu())
        yield (start, stop, values, 0.5) if len(sources) > 1 else (start, stop, logits, 0.0)


def probabilities(logits_k: Tensor, has_regions: bool) -> Tensor:
    """Sigmoid of regions, softmax over the first dimension of exclusive classes."""
    return torch.sigmoid(logits_k) if has_regions else torch.softmax(logits_k, dim=0)


def decode(values_k: Tensor, labels: LabelScheme, threshold: float) -> Tensor:
    """Logits or probabilities (K, …) to a label map (…) on the same device, by the rules of
    `LabelScheme.decode`: uint8, or int32 where the dataset has labels above 255.

    Args:
        threshold: what a region must exceed to be painted: 0 for logits, 0.5 for probabilities.

    Raises:
        PredictionError: a value is NaN, which would become background, or the largest is infinite.
    """
    small = labels.largest <= np.iinfo(np.uint8).max
    label = torch.zeros(
        values_k.shape[1:], dtype=torch.uint8 if small else torch.int32, device=values_k.device
    )
    if labels.has_regions:
        for channel, value in enumerate(labels.region_order):
            label.masked_fill_(values_k[channel] > threshold, value)
        _require_finite(values_k)
        return label
    best = values_k[0].clone()
    for channel in range(1, values_k.shape[0]):
        label.masked_fill_(values_k[channel] > best, channel)
        torch.maximum(best, values_k[channel], out=best)
    _require_finite(best)  # a NaN among the classes is the largest
    return label


def _require_finite(values: Tensor) -> None:
    """The sum of all is finite where each is: one pass, of 0.2 ns a voxel (regions: 2) beside 25 to 40 for
    the decoding (one core, November 2026)."""
    if not math.isfinite(float(values.sum())):
        raise PredictionError(
            "the network's logits",
            found="NaN or infinite ones, as arithmetic in 16 bits gives where it overflows",
            expected="finite numbers",
            fix="predict in 32 bits: --no-amp; where that is no help, look whether the losses of training "
            "were finite",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGrid:
    """Where preprocessed voxels lie in the image they come from.

    Attributes:
        shape_zyx: the image's own shape.
        crop_zyx: (start, stop) on each of its axes of the box that was preprocessed.
        transpose: order of its axes after preprocessing.
    """

    shape_zyx: tuple[int, int, int]
    crop_zyx: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    transpose: tuple[int, int, int]

    @classmethod
    def whole(cls, shape_zyx: tuple[int, int, int], slicing_axis: int = 0) -> ImageGrid:
        """All of an image, its slices along `slicing_axis`."""
        depth, height, width = shape_zyx
        rows, columns = (axis for axis in range(3) if axis != slicing_axis)
        return cls(
            shape_zyx=shape_zyx,
            crop_zyx=((0, depth), (0, height), (0, width)),
            transpose=(slicing_axis, rows, columns),
        )

    @property
    def cropped_shape(self) -> tuple[int, int, int]:
        """Shape of the crop box, axes transposed."""
        sizes = [stop - start for start, stop in self.crop_zyx]
        first, second, third = (sizes[axis] for axis in self.transpose)
        return first, second, third

    def cropped_view(self, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The crop box of an array (…, z, y, x) on the image's grid, axes transposed; a view, so it can be
        written to."""
        lead = array.ndim - 3
        box = (*[slice(None)] * lead, *(slice(start, stop) for start, stop in self.crop_zyx))
        return array[box].transpose((*range(lead), *(lead + axis for axis in self.transpose)))


def chunk_spans(
    classes: int, shape_zyx: tuple[int, int, int], chunk_bytes: int = CHUNK_BYTES
) -> Iterator[tuple[int, int]]:
    """Spans of output slices whose logits take at most `chunk_bytes` (one slice at least)."""
    depth, height, width = shape_zyx
    count = max(1, chunk_bytes // max(1, classes * height * width * 4))
    for start in range(0, depth, count):
        yield start, min(depth, start + count)


def resampled_chunk(source: LogitSource, shape_zyx: tuple[int, int, int], start: int, stop: int) -> Tensor:
    """Logits (K, stop - start, y, x) of the output slices `start` to `stop`, float32."""
    depth, height, width = source.shape_zyx
    same_depth = depth == shape_zyx[0]
    slab = (
        source.read(start, stop) if same_depth else _between_slices(source, depth / shape_zyx[0], start, stop)
    )
    if (height, width) == shape_zyx[1:]:
        return slab
    flat = slab.reshape(-1, 1, height, width)
    resized: Tensor = functional.interpolate(flat, size=shape_zyx[1:], mode="bilinear", align_corners=False)
    return resized.reshape(source.classes, stop - start, *shape_zyx[1:])


def _between_slices(source: LogitSource, scale: float, start: int, stop: int) -> Tensor:
    """Linear interpolation along the first axis at (i + 0.5) * scale - 0.5."""
    place = np.clip((np.arange(start, stop) + 0.5) * scale - 0.5, 0, source.shape_zyx[0] - 1)
    lower = np.floor(place).astype(np.int64)
    upper = np.minimum(lower + 1, source.shape_zyx[0] - 1)
    slab = source.read(int(lower[0]), int(upper[-1]) + 1)
    weight = torch.from_numpy((place - lower).astype(np.float32)).to(slab.device)[:, None, None]
    return torch.lerp(slab[:, lower - lower[0]], slab[:, upper - lower[0]], weight)
