"""Probabilities on disk are read as they were written, or not at all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import blosc2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.imageio import Geometry
from balrsam_pipeline.imageio.turning import turn_to
from balrsam_pipeline.inference.export import ImageGrid
from balrsam_pipeline.inference.probabilities import (
    CHECKSUM,
    ProbabilityFile,
    turned_probabilities,
    writing_probabilities,
)

SHAPE = (6, 16, 20)
LABELS = LabelScheme(
    names=("organ",), values=((1,),), has_regions=False, region_order=(), ignore_value=None, largest=1
)


def write(path: Path, slicing_axis: int = 0) -> npt.NDArray[np.float32]:
    """Write a case cropped by a voxel on every side; returns its probabilities (K, z, y, x)."""
    transpose = {0: (0, 1, 2), 2: (2, 0, 1)}[slicing_axis]
    grid = ImageGrid(shape_zyx=SHAPE, crop_zyx=((1, 5), (1, 15), (1, 19)), transpose=transpose)
    organ = np.random.default_rng(0).random((4, 14, 18)).astype(np.float16).astype(np.float32)
    inside = np.stack([1 - organ, organ])
    geometry = Geometry(dimension=3, shape_zyx=SHAPE, spacing_mm=(1.0, 1.0, 1.0))
    with writing_probabilities(path, grid, geometry, LABELS) as sink:
        turned = inside.transpose(0, *(1 + axis for axis in transpose)).copy()
        sink(0, turned.shape[1], torch.from_numpy(turned))
    whole = np.zeros((2, *SHAPE), np.float32)
    whole[0] = 1
    whole[:, 1:5, 1:15, 1:19] = inside.astype(np.float16)
    return whole


def damage(path: Path, start: int, count: int = 16) -> None:
    content = bytearray(path.read_bytes())
    for index in range(start, start + count):
        content[index] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("slicing_axis", [0, 2])
def test_what_was_written_is_read(tmp_path: Path, slicing_axis: int) -> None:
    expected = write(tmp_path / "c_probabilities.b2nd", slicing_axis)
    np.testing.assert_array_equal(ProbabilityFile(tmp_path / "c_probabilities.b2nd").read(0, 6), expected)


def test_damaged_voxels_are_refused_wherever_they_lie(tmp_path: Path) -> None:
    path = tmp_path / "c_probabilities.b2nd"
    expected = write(path)
    sound = path.read_bytes()
    found = 0
    for start in range(len(sound) // 8, 3 * len(sound) // 4, len(sound) // 16):
        path.write_bytes(sound)
        damage(path, start)
        try:
            read = ProbabilityFile(path).read(0, 6)
        except PredictionError as problem:
            assert problem.where == str(path)
            found += 1
        else:
            np.testing.assert_array_equal(read, expected)
    assert found >= 8


def test_probabilities_of_versions_without_a_checksum_are_read(tmp_path: Path) -> None:
    path = tmp_path / "c_probabilities.b2nd"
    expected = write(path)
    array = blosc2.open(str(path), mode="a")
    del array.schunk.vlmeta[CHECKSUM]
    np.testing.assert_array_equal(ProbabilityFile(path).read(0, 6), expected)


@pytest.mark.parametrize("metadata", ["[]", '"text"', '{"labels": {}}', "7"])
def test_metadata_of_another_kind_are_a_message(tmp_path: Path, metadata: str) -> None:
    path = tmp_path / "c_probabilities.b2nd"
    write(path)
    array = blosc2.open(str(path), mode="a")
    array.schunk.vlmeta["balrsam"] = metadata
    with pytest.raises(PredictionError, match="c_probabilities"):
        ProbabilityFile(path)


@pytest.mark.parametrize("orientation", ["RAS", "PIR", "SAL"])
@pytest.mark.parametrize("slicing_axis", [0, 1, 2])
def test_turning_back_reads_every_chunk_once(
    tmp_path: Path, opened: list[SimpleNamespace], orientation: str, slicing_axis: int
) -> None:
    path = tmp_path / "c_probabilities.b2nd"
    stored = Geometry(dimension=3, shape_zyx=(5, 6, 7), spacing_mm=(1.0, 1.0, 1.0))
    turn = turn_to(stored, orientation)
    assert turn is not None
    turned = turn.geometry(stored)
    grid = ImageGrid.whole(turned.shape_zyx, slicing_axis)
    organ = np.random.default_rng(0).random((1, *turned.shape_zyx)).astype(np.float16)
    values = np.concatenate([1 - organ, organ])
    with turned_probabilities(path, turn, stored) as turned_path:
        assert turned_path is not None
        with writing_probabilities(turned_path, grid, turned, LABELS) as sink:
            slices = np.ascontiguousarray(grid.cropped_view(values), dtype=np.float32)
            sink(0, slices.shape[1], torch.from_numpy(slices))
    assert opened[0].read == opened[0].chunks == turned.shape_zyx[slicing_axis]
    np.testing.assert_array_equal(ProbabilityFile(path).read(0, 5), turn.back(values))
