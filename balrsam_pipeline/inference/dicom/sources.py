"""The files that a predicted volume came from, slice by slice: what DICOM objects made of it refer to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from balrsam_pipeline.imageio.dicom import Series, is_multi_frame, ordered_files
from balrsam_pipeline.imageio.dicom_frames import read_dataset, read_frames


@dataclass(frozen=True, slots=True)
class Sources:
    """The datasets of a series, as pydicom reads them: one per slice in the order of places, or one of many
    frames; `order` is the number of the frame that each slice is then."""

    datasets: tuple[Any, ...]
    order: tuple[int, ...] | None

    def of_slice(self, z: int) -> Any:
        """The dataset that a slice is in."""
        return self.datasets[0] if self.order is not None else self.datasets[z]


def read_sources(series: Series) -> Sources:
    """Read all files of a series.

    Raises:
        ImageError: a file is damaged, or the slices are no volume.
    """
    if is_multi_frame(series):
        file = series.files[0]
        return Sources((read_dataset(file),), read_frames(file).order)
    return Sources(tuple(read_dataset(file) for file in ordered_files(series)), None)
