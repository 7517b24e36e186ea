"""Probabilities of a predicted case on disk: `CASE_probabilities.b2nd`, float16, compressed (blosc2), written
slab by slab.

The array is (channel, z, y, x) on the image's own grid. Its metadata holds the geometry and what channels
mean, so a folder of such files can be averaged without the models or images that they come from; and the
CRC-32 of all chunks as they lie on disk, which older versions did not write.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import blosc2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.execution.whole_folder import scratch_folder
from balrsam_pipeline.files import atomic_path
from balrsam_pipeline.imageio import Geometry
from balrsam_pipeline.imageio.turning import Turn
from balrsam_pipeline.inference.export import ImageGrid, ProbabilitySink
from balrsam_pipeline.json_text import parse_json
from balrsam_pipeline.serialise import from_json, to_json

SUFFIX = "_probabilities.b2nd"
METADATA, CHECKSUM = "balrsam", "crc32"


class ProbabilityFile:
    """One case's probabilities, opened for reading; slabs are read from disk when asked for."""

    def __init__(self, path: Path) -> None:
        """Open `path`, and compare all that it holds with its checksum, where it has one.

        Raises:
            PredictionError: missing, damaged, or not written by `predict --save-probabilities`.
        """
        self.path = path
        try:
            self._array = blosc2.open(str(path), mode="r")
            metadata = parse_json(self._array.schunk.vlmeta[METADATA])
            self.labels = from_json(LabelScheme, metadata["labels"], path, PredictionError)
            self.geometry = from_json(Geometry, metadata["geometry"], path, PredictionError)
            if self._array.schunk.vlmeta.get(CHECKSUM) not in (None, _crc32(self._array)):
                raise ValueError("damaged on the disk: its checksum does not fit")
        except (OSError, RuntimeError, KeyError, ValueError, AttributeError, TypeError) as problem:
            raise PredictionError(
                path,
                found=f"no readable probabilities ({problem})",
                expected="a file written by 'balrsam predict --save-probabilities'",
                fix="predict this case again with --save-probabilities",
            ) from None

    @property
    def slicing_axis(self) -> int:
        """The axis (0 for z, 1 for y, 2 for x) along which slices lie each in chunks of their own; along
        another all that the file holds is decompressed for one slice."""
        sides = zip(self._array.chunks[1:], self._array.shape[1:], strict=True)
        shares = [chunk / size for chunk, size in sides]
        return shares.index(min(shares))

    def read(self, start: int, stop: int, axis: int = 0) -> npt.NDArray[np.float32]:
        """Probabilities (K, stop - start, h, w) of the slices `start` to `stop` along `axis`."""
        slab = self._array[_slice_index(start, stop, axis)]
        return np.asarray(np.moveaxis(slab, 1 + axis, 1), dtype=np.float32)

    def read_turned_back(self, index: int, turn: Turn) -> npt.NDArray[np.float32]:
        """Probabilities (K, 1, h, w) of one slice of the image that `turn` made this file's from, along that
        image's axis which is this file's slicing axis."""
        axis = self.slicing_axis
        position = self._array.shape[1 + axis] - 1 - index if turn.flipped[axis] else index
        slab = np.asarray(self._array[_slice_index(position, position + 1, axis)], dtype=np.float32)
        return np.ascontiguousarray(np.moveaxis(turn.back(slab), 1 + turn.order[axis], 1))


def probability_path(folder: Path, case: str) -> Path:
    """Where the probabilities of `case` lie in a folder of predictions."""
    return folder / f"{case}{SUFFIX}"


@contextmanager
def writing_probabilities(
    path: Path, grid: ImageGrid, geometry: Geometry, labels: LabelScheme
) -> Iterator[ProbabilitySink]:
    """Yield a sink for `export_label`; the file appears, whole, when the block ends without an exception.

    Outside the crop box the image is background: probability 1 of class 0, or 0 of every region.
    """
    shape = (labels.classes, *grid.shape_zyx)
    slicing_axis = grid.transpose[0]
    chunks = tuple(1 if axis == slicing_axis else size for axis, size in enumerate(shape[1:]))
    with atomic_path(path) as temporary:
        array = blosc2.zeros(
            shape,
            dtype=np.float16,
            chunks=(min(shape[0], _channels_a_chunk(grid.shape_zyx, slicing_axis)), *chunks),
            urlpath=str(temporary),
            mode="w",
            cparams={"codec": blosc2.Codec.ZSTD, "clevel": 3, "filters": [blosc2.Filter.BITSHUFFLE]},
        )
        metadata = {"labels": to_json(labels), "geometry": to_json(geometry)}
        array.schunk.vlmeta[METADATA] = json.dumps(metadata)
        begin, end = grid.crop_zyx[slicing_axis]
        _write_background(
            array, [*range(begin), *range(end, grid.shape_zyx[slicing_axis])], slicing_axis, labels
        )

        def sink(start: int, stop: int, probabilities: Tensor) -> None:
            for offset in range(stop - start):  # one slice fills whole chunks
                plane = _background((shape[0], *_one_slice(grid.shape_zyx, slicing_axis)), labels)
                _place(plane, probabilities[:, offset].numpy(), grid)
                position = begin + start + offset
                array[_slice_index(position, position + 1, slicing_axis)] = plane

        yield sink
        array.schunk.vlmeta[CHECKSUM] = _crc32(array)


@contextmanager
def turned_probabilities(path: Path | None, turn: Turn, geometry: Geometry) -> Iterator[Path | None]:
    """Yield where to write the probabilities of a turned image; on success they are turned back to `path`.

    Args:
        path: None where none are wanted.
        geometry: of the image as it is stored.
    """
    if path is None:
        yield None
        return
    with scratch_folder(path) as folder:
        turned_path = folder / path.name
        yield turned_path
        turned = ProbabilityFile(turned_path)
        whole = ImageGrid.whole(geometry.shape_zyx, turn.order[turned.slicing_axis])
        with writing_probabilities(path, whole, geometry, turned.labels) as sink:
            for start in range(whole.cropped_shape[0]):
                sink(start, start + 1, torch.from_numpy(turned.read_turned_back(start, turn)))


def _crc32(array: blosc2.NDArray) -> int:
    """CRC-32 of an array's chunks, compressed as they are."""
    checksum = 0
    for number in range(array.schunk.nchunks):
        checksum = zlib.crc32(array.schunk.get_chunk(number), checksum)
    return checksum


def _channels_a_chunk(shape_zyx: tuple[int, int, int], axis: int) -> int:
    area = int(np.prod(shape_zyx)) // shape_zyx[axis]
    return max(1, 2**23 // (2 * area))  # chunks of about 8 MiB


def _one_slice(shape_zyx: tuple[int, int, int], axis: int) -> tuple[int, int, int]:
    depth, height, width = (1 if index == axis else size for index, size in enumerate(shape_zyx))
    return depth, height, width


def _slice_index(start: int, stop: int, axis: int) -> tuple[slice, ...]:
    return (slice(None), *(slice(start, stop) if index == axis else slice(None) for index in range(3)))


def _background(shape_kzyx: tuple[int, ...], labels: LabelScheme) -> npt.NDArray[np.float16]:
    plane = np.zeros(shape_kzyx, dtype=np.float16)
    if not labels.has_regions:
        plane[0] = 1
    return plane


def _write_background(array: blosc2.NDArray, positions: list[int], axis: int, labels: LabelScheme) -> None:
    if labels.has_regions:
        return
    for position in positions:
        index = _slice_index(position, position + 1, axis)
        array[(slice(0, 1), *index[1:])] = np.ones((1, *_one_slice(array.shape[1:], axis)), dtype=np.float16)


def _place(
    plane: npt.NDArray[np.float16], probabilities_kyx: npt.NDArray[np.float32], grid: ImageGrid
) -> None:
    """Write one transposed slice (K, h, w) of the crop box into a slice of the image's own grid (K, z, y, x),
    one axis of size 1."""
    box = tuple(
        slice(None) if axis == grid.transpose[0] else slice(*grid.crop_zyx[axis]) for axis in range(3)
    )
    target = plane[(slice(None), *box)].transpose(0, *(1 + axis for axis in grid.transpose))
    target[:, 0] = probabilities_kyx
