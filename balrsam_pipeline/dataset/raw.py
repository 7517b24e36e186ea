"""A raw dataset folder, and reading one case of it with everything checked that a pipeline relies on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.case_names import require_names_apart
from balrsam_pipeline.dataset.cases import CaseFiles, image_cases, with_labels
from balrsam_pipeline.dataset.description import DatasetDescription, read_description
from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import FILE_ENDINGS, Image, label_ending, read_image, read_label
from balrsam_pipeline.imageio.turning import laid_on
from balrsam_pipeline.layout import DESCRIPTION, IMAGES_TR, IMAGES_TS, LABELS_TR
from balrsam_pipeline.paths import absolute, is_there

MANY = 10  # values shown in a message
BLOCK = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDataset:
    """A dataset in nnU-Net v2's raw format; it is read and never written to."""

    folder: Path
    name: str
    description: DatasetDescription

    def training_cases(self) -> dict[str, CaseFiles]:
        """The cases of imagesTr with their labels, sorted by name, or those that dataset.json lists.

        Raises:
            DatasetError: a channel or a label file is missing, or the names of two cases cannot stand beside
                each other.
        """
        cases = self._training_cases()
        require_names_apart(cases, self.folder / IMAGES_TR)
        return cases

    def _training_cases(self) -> dict[str, CaseFiles]:
        listed = self.description.listed
        if listed is None:
            cases = image_cases(
                self.folder / IMAGES_TR, self.description.file_ending, len(self.description.channel_names)
            )
            return with_labels(cases, self.folder / LABELS_TR, self.description.file_ending)
        for files in listed.values():
            for path in (*files.images, *([files.label] if files.label else [])):
                if not is_there(path):
                    raise DatasetError(
                        path,
                        found="no such file",
                        expected=f"a file of case {files.case}, which dataset.json lists",
                        fix="add the file, or correct its entry in dataset.json",
                    )
        return dict(listed)

    def has_training_cases(self, cases: Iterable[str]) -> bool:
        """Whether imagesTr and labelsTr hold the files of all these cases under the names that they have as a
        rule: a quick look at 100,000 names. False says little; `training_cases` knows all names and lists."""
        if self.description.listed is not None:
            return False
        ending, channels = self.description.file_ending, len(self.description.channel_names)
        try:
            images, labels = (_names(self.folder / name) for name in (IMAGES_TR, LABELS_TR))
        except OSError:
            return False
        together = FILE_ENDINGS[ending].several_channels
        label = label_ending(ending)
        return all(
            f"{case}{label}" in labels
            and f"{case}_0000{ending}" in images
            and (together or all(f"{case}_{number:04d}{ending}" in images for number in range(channels)))
            for case in cases
        )

    def test_cases(self) -> dict[str, CaseFiles]:
        """The cases of imagesTs, without labels; none if there is no such folder.

        Raises:
            DatasetError: a channel file is missing.
        """
        folder = self.folder / IMAGES_TS
        if not folder.is_dir() or not any(path.name[0] != "." for path in folder.iterdir()):
            return {}
        return image_cases(folder, self.description.file_ending, len(self.description.channel_names))


def _names(folder: Path) -> frozenset[str]:
    with os.scandir(folder) as entries:
        return frozenset(entry.name for entry in entries)


def open_dataset(folder: Path | str) -> RawDataset:
    """Open a raw dataset folder.

    Raises:
        DatasetError: dataset.json is missing or malformed.

    Example:
        >>> import tempfile
        >>> from balrsam_pipeline.demo import DemoSize, generate_dataset
        >>> size = DemoSize(training_cases=2, test_cases=1, shape_zyx=(4, 16, 16))
        >>> dataset = open_dataset(generate_dataset(Path(tempfile.mkdtemp()), size))
        >>> dataset.description.labels.names, list(dataset.training_cases())
        (('organ', 'core'), ['demo_000', 'demo_001'])
    """
    folder = Path(folder)
    return RawDataset(
        folder=folder,
        name=absolute(folder).name,
        description=read_description(folder / DESCRIPTION),
    )


def read_case(files: CaseFiles, description: DatasetDescription) -> tuple[Image, Image | None]:
    """Read the image and the label of one case.

    Returns:
        The image (channel, z, y, x) and the label (1, z, y, x), or None where the case has none.

    Raises:
        DatasetError: a file cannot be read, the number of channels is not that of dataset.json, image and
            label differ in shape, or the label holds a value that dataset.json does not know.
    """
    image = read_image(files.images)
    if image.data.shape[0] != len(description.channel_names):
        raise DatasetError(
            files.images[0],
            found=f"{image.data.shape[0]} channel(s)",
            expected=f"{len(description.channel_names)}: {', '.join(description.channel_names)}",
            fix="correct channel_names in dataset.json, or the image (an RGBA picture has a fourth channel: "
            "drop it)",
        )
    if files.label is None:
        return image, None
    label = laid_on(read_label(files.label), image.geometry)
    if label.data.shape[1:] != image.data.shape[1:]:
        raise DatasetError(
            files.label,
            found=f"shape {label.data.shape[1:]} (z, y, x)",
            expected=f"{image.data.shape[1:]}, as in {files.images[0].name}",
            fix="resample the label to the image's grid (nearest neighbour)",
        )
    check_label_values(label.data, description.labels, files.label)
    return image, label


def label_values(label: npt.NDArray[Any]) -> tuple[int, ...]:
    """The values that occur in a label map, ascending; counted in blocks, because `bincount` widens what it
    is given to 64 bits."""
    if label.dtype.kind != "u" or label.dtype.itemsize > 2:
        return tuple(int(value) for value in np.unique(label))
    flat = label.ravel()
    present = np.zeros(np.iinfo(label.dtype).max + 1, dtype=np.bool_)
    for start in range(0, flat.size, BLOCK):
        counts = np.bincount(flat[start : start + BLOCK])
        present[: counts.size] |= counts > 0
    return tuple(np.flatnonzero(present).tolist())


def check_label_values(label: npt.NDArray[Any], labels: LabelScheme, where: object) -> None:
    """Refuse label values that dataset.json does not know.

    Raises:
        DatasetError: there are such values; masks of 0 and 255 get advice of their own.
    """
    values = label_values(label)
    unknown = [value for value in values if value not in labels.allowed_values]
    if not unknown:
        return
    binary = values in ((0, 255), (255,))
    raise DatasetError(
        where,
        found="a mask of 0 and 255"
        if binary
        else f"label values {', '.join(map(str, unknown[:MANY]))}{' …' if len(unknown) > MANY else ''}, "
        "which dataset.json does not know",
        expected=f"values among {', '.join(map(str, sorted(labels.allowed_values)))}",
        fix="turn 255 into 1 in a copy of the dataset: balrsam verify DATASET --fix NEW_FOLDER"
        if binary and labels.allowed_values == {0, 1}
        else "correct the label file, or add the value to labels in dataset.json",
    )
