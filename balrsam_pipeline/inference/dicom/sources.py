"""The files that a predicted volume came from, slice by slice: what DICOM objects made of it refer to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from balrsam_pipeline.imageio.dicom import Series, is_multi_frame, ordered_files
from balrsam_pipeline.imageio.dicom_frames import read_dataset, read_frames

ANY_ALPHABET = "ISO_IR 192"  # UTF-8: labels may be in another alphabet than the patient's name


@dataclass(frozen=True, slots=True)
class Sources:
    """The datasets of a series, as pydicom reads them: one per slice in the order of places, or one of many
    frames; `order` is the number of the frame that each slice is then. The texts of the first, which is what
    objects repeat of a series, are to be written in `ANY_ALPHABET`."""

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
        return Sources((_in_any_alphabet(read_dataset(file)),), read_frames(file).order)
    first, *others = (read_dataset(file) for file in ordered_files(series))
    return Sources((_in_any_alphabet(first), *others), None)


def _in_any_alphabet(dataset: Any) -> Any:
    """The same dataset, its texts decoded and to be written in UTF-8."""
    dataset.decode()
    dataset.SpecificCharacterSet = ANY_ALPHABET
    return dataset
