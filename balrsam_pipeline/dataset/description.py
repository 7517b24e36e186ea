"""dataset.json as nnU-Net v2 reads it: channels, labels, regions, the ignore label, the file ending."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from balrsam_pipeline.dataset.case_names import require_case_name
from balrsam_pipeline.dataset.cases import CaseFiles
from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.dataset.parse_labels import parse_labels
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.imageio import FILE_ENDINGS
from balrsam_pipeline.whole_numbers import whole_number

READERS = (
    "SimpleITKIO",
    "SimpleITKIOWithReorient",
    "NibabelIO",
    "NibabelIOWithReorient",
    "NaturalImage2DIO",
    "Tiff3DIO",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDescription:
    """What dataset.json says.

    Attributes:
        name: its "name", else the folder's.
        channel_names: in channel order.
        label_names: the name of every plain label value and of the ignore label, and for values that belong
            to regions only, the names of the regions joined by "+"; 0 is "background".
        file_ending: of images, such as ".nii.gz".
        reader: `overwrite_image_reader_writer`, recorded only: files are read by their ending.
        listed: the cases of the optional "dataset" entry, which names image files one by one; None where
            folders are scanned.
        stated_cases: "numTraining", or None.
    """

    name: str
    channel_names: tuple[str, ...]
    labels: LabelScheme
    label_names: dict[int, str]
    file_ending: str
    reader: str | None = None
    listed: dict[str, CaseFiles] | None = None
    stated_cases: int | None = None


def read_description(dataset_json: Path) -> DatasetDescription:
    """Read and check dataset.json.

    Raises:
        DatasetError: missing, malformed or contradictory; the message names the key.
    """
    content = read_json(dataset_json)
    if not isinstance(content, dict):
        raise _wrong(
            dataset_json, f"a JSON {type(content).__name__}", "a JSON object", "see docs/datasets.md"
        )
    labels = parse_labels(content, dataset_json)
    reader = content.get("overwrite_image_reader_writer")
    if reader is not None and reader not in READERS:
        raise _wrong(
            dataset_json,
            f"overwrite_image_reader_writer {reader!r}",
            f"one of {', '.join(READERS)}",
            "correct or remove it",
        )
    stated = content.get("numTraining")
    return DatasetDescription(
        name=str(content.get("name") or dataset_json.parent.name),
        channel_names=_channel_names(content, dataset_json),
        labels=labels,
        label_names=_label_names(labels),
        file_ending=_file_ending(content, dataset_json),
        reader=reader,
        listed=_listed(content.get("dataset"), dataset_json),
        stated_cases=stated if isinstance(stated, int) and not isinstance(stated, bool) else None,
    )


def _channel_names(content: dict[str, Any], where: Path) -> tuple[str, ...]:
    names = content.get("channel_names", content.get("modality"))
    fix = 'write "channel_names": {"0": "T1", "1": "T2"} (or "CT"), one entry per channel'
    if not isinstance(names, dict) or not names:
        raise _wrong(
            where,
            "no channel_names" if names is None else f"channel_names {names!r}",
            "channel number -> name",
            fix,
        )
    numbered = {whole_number(key): str(name) for key, name in names.items()}
    if numbered.keys() != set(range(len(names))):
        raise _wrong(where, f"channel numbers {', '.join(names)[:60]}", f"0 to {len(names) - 1}", fix)
    return tuple(numbered[index] for index in range(len(numbered)))


def _file_ending(content: dict[str, Any], where: Path) -> str:
    ending = content.get("file_ending")
    if not isinstance(ending, str) or ending not in FILE_ENDINGS:
        raise _wrong(
            where,
            "no file_ending" if ending is None else f"file_ending {ending!r}",
            f"one of {', '.join(FILE_ENDINGS)}",
            'write "file_ending": ".nii.gz" (or that of the images)',
        )
    return ending


def _label_names(labels: LabelScheme) -> dict[int, str]:
    names: dict[int, str] = {0: "background"}
    for value in sorted(labels.allowed_values - {0}):
        holders = [name for name, values in zip(labels.names, labels.values, strict=True) if value in values]
        plain = [name for name in holders if len(labels.values[labels.names.index(name)]) == 1]
        names[value] = "ignore" if value == labels.ignore_value else (plain or ["+".join(holders)])[0]
    return names


def _listed(value: Any, where: Path) -> dict[str, CaseFiles] | None:
    if value is None:
        return None
    fix = (
        'write "dataset": {"CASE": {"images": ["imagesTr/CASE_0000.nii.gz"], "label": '
        '"labelsTr/CASE.nii.gz"}}, or remove it'
    )
    if not isinstance(value, dict) or not value:
        raise _wrong(where, f"dataset {str(value)[:60]!r}", "case -> images and label", fix)
    cases = {}
    for case, entry in value.items():
        require_case_name(case, where)
        images = entry.get("images") if isinstance(entry, dict) else None
        label = entry.get("label") if isinstance(entry, dict) else None
        if not (
            isinstance(images, list)
            and images
            and all(isinstance(image, str) for image in images)
            and isinstance(label, str)
        ):
            raise _wrong(where, f"case {case}: {str(entry)[:60]!r}", "images (a list) and label", fix)
        cases[case] = CaseFiles(case, tuple(_expand(image, where) for image in images), _expand(label, where))
    return dict(sorted(cases.items()))


def _expand(name: str, where: Path) -> Path:
    return where.parent / os.path.expandvars(name)  # nnU-Net expands variables here too


def _wrong(where: Path, found: str, expected: str, fix: str) -> DatasetError:
    return DatasetError(where, found=found, expected=expected, fix=fix)
