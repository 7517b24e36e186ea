"""Measurements of many cases: fingerprints in memory, the samples of their intensities in a file.

Samples of 100,000 large pictures take 1.6 GB per channel, and are read twice, one case at a time.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.common_values import CommonValues
from balrsam_pipeline.fingerprint import COMMON_MEASUREMENTS
from balrsam_pipeline.plan import CaseFingerprint
from planners.case_fingerprint import Measurement
from planners.pooling import QUANTILES

Values = npt.NDArray[np.float32]
Value = TypeVar("Value")
_TYPE = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the values (channels, count) of a case lie in a file: float32 from byte `start`."""

    start: int
    channels: int
    count: int


def places_of(file: IO[bytes], channels: Mapping[str, int]) -> dict[str, Place]:
    """Where the values of cases lie in a file that `Measured.write` wrote, or an older version.

    Args:
        channels: case -> number of channels, of all cases of the file in its order.

    Raises:
        ValueError: the file is none of these, damaged, or of other cases.
    """
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version of NumPy's format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    first, end = file.tell(), file.seek(0, os.SEEK_END)
    if dtype != _TYPE or first + math.prod(shape) * _TYPE.itemsize != end:
        raise ValueError(f"{end - first} bytes for {shape} of {dtype}")
    places, place, older = {}, first, len(shape) == 3
    for case, number in channels.items():
        count = QUANTILES
        if not older:
            file.seek(place)
            count = int(np.frombuffer(file.read(_TYPE.itemsize), _TYPE)[0])
            place += _TYPE.itemsize
        if not 0 < count <= QUANTILES:
            raise ValueError(f"{count} values of case {case}")
        places[case] = Place(place, number, count)
        place += number * count * _TYPE.itemsize
    if place != end:
        raise ValueError(f"{end - place} bytes that belong to no case")
    return places


def read_values(file: IO[bytes], place: Place, channel: int | None = None) -> Values:
    """The values of a case: (channels, count), or (count,) of one channel."""
    per_channel = place.count * _TYPE.itemsize
    file.seek(place.start + (channel or 0) * per_channel)
    if channel is not None:
        return np.frombuffer(file.read(per_channel), _TYPE)
    return np.frombuffer(file.read(place.channels * per_channel), _TYPE).reshape(place.channels, place.count)


@contextmanager
def start_measuring(folder: Path) -> Iterator[Measured]:
    """Yield an empty `Measured`; its samples lie in a file without a name in `folder`, until the end."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        yield Measured(file)


class Measured:
    """The measurements of cases, added one by one."""

    def __init__(self, file: IO[bytes]) -> None:
        """Begin with none.

        Args:
            file: empty, for the samples.
        """
        self._file = file
        self._end = 0
        self._places: dict[str, Place] = {}
        self._common = CommonValues()
        self.fingerprints: dict[str, CaseFingerprint] = {}

    def add(self, measurement: Measurement) -> None:
        """Keep the measurement of a case."""
        fingerprint, values_cn = measurement.fingerprint, measurement.values_cn
        self.fingerprints[fingerprint.case] = self._common.shared(
            replace(
                fingerprint,
                label_voxels=_with_common_names(fingerprint.label_voxels),
                label_thickness_px=_with_common_names(fingerprint.label_thickness_px),
                label_centres=_with_common_names(fingerprint.label_centres),
            ),
            *COMMON_MEASUREMENTS,
        )
        channels, count = values_cn.shape
        self._places[fingerprint.case] = Place(self._end, channels, count)
        self._file.seek(self._end)
        self._end += self._file.write(np.ascontiguousarray(values_cn, _TYPE).data)

    def write(self, file: IO[bytes], cases: Sequence[str]) -> None:
        """Write the values of some cases as one NumPy array: of each n, and then its (channel, n) values."""
        places = [self._places[case] for case in cases]
        size = sum(1 + place.channels * place.count for place in places)
        header = {"descr": _TYPE.str, "fortran_order": False, "shape": (size,)}
        np.lib.format.write_array_header_1_0(file, header)
        for place in places:
            file.write(_TYPE.type(place.count).tobytes() + read_values(self._file, place).tobytes())

    def samples(self, cases: Sequence[str], channel: int) -> Sequence[Values]:
        """The values (n,) of a channel of every case, each read when it is its turn."""
        return _Samples(self._file, [self._places[case] for case in cases], channel)


class _Samples(Sequence[Values]):
    def __init__(self, file: IO[bytes], places: Sequence[Place], channel: int) -> None:
        self._file, self._places, self._channel = file, places, channel

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Values:  # type: ignore[override]
        return read_values(self._file, self._places[index], self._channel)


def _with_common_names(values: dict[str, Value]) -> dict[str, Value]:
    """The same, with one string per name whatever process it came from."""
    return {sys.intern(name): value for name, value in values.items()}
