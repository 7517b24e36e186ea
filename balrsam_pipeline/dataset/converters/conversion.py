"""What every converter is given and gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.execution import local_executor, run_cases
from balrsam_pipeline.files import read_json, write_json
from balrsam_pipeline.layout import DESCRIPTION, LABELS_TR
from balrsam_pipeline.progress import track

Job = TypeVar("Job")
Done = TypeVar("Done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A folder to convert, and what it cannot say itself.

    Attributes:
        source: the folder that is read, never written to.
        target: the new dataset folder, such as raw/Dataset007_Pancreas; must not exist.
        channel_names: in channel order; a name such as "CT" chooses the normalisation.
        labels: name -> value, for folders without a dataset.json.
        value_map: colour or grey value in the masks -> label value; see `value_map.parse_value_map`.
        images, masks, test: folders of the source that hold images, masks and test images, where the format
            does not fix them.
        workers: processes.
    """

    source: Path
    target: Path
    channel_names: tuple[str, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    value_map: Mapping[tuple[int, ...], int] = field(default_factory=dict)
    images: str = "images"
    masks: str = "masks"
    test: str = "test"
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What a conversion made: the dataset folder, and how many training and test cases lie in it."""

    target: Path
    training_cases: int
    test_cases: int


Converter = Callable[[Conversion], Converted]


def run_all(function: Callable[[Job], Done], jobs: Mapping[str, Job], workers: int) -> dict[str, Done]:
    """Do one job per case; the first that fails stops the conversion: a dataset is made whole or not at all.

    Raises:
        DatasetError: a job failed; the message names its file.
    """
    results = {}
    with local_executor(min(workers, len(jobs))) as executor:
        for outcome in track(
            run_cases(function, jobs, executor, workers, DatasetError), len(jobs), "converting"
        ):
            if outcome.error is not None:
                raise outcome.error
            if outcome.value is not None:
                results[outcome.case] = outcome.value
    return results


def write_dataset_json(
    folder: Path, names: tuple[str, ...], labels: Mapping[str, Any], ending: str, **others: Any
) -> None:
    """Write dataset.json; `numTraining` is counted from labelsTr.

    Args:
        labels: name -> value without background, which is written first.
        others: further keys, such as name, description, licence; None is left out.
    """
    count = sum(1 for path in (folder / LABELS_TR).iterdir() if path.name.endswith(ending))
    content = {
        **{key: value for key, value in others.items() if value is not None},
        "channel_names": {str(index): name for index, name in enumerate(names)},
        "labels": {"background": 0, **labels},
        "numTraining": count,
        "file_ending": ending,
    }
    write_json(folder / DESCRIPTION, content)


def labels_from_v1(content: Any, where: Path) -> dict[str, int]:
    """Turn value -> name (Decathlon and nnU-Net v1) into name -> value, without background.

    Raises:
        DatasetError: no such labels, or the values are no numbers.
    """
    labels = content.get("labels") if isinstance(content, dict) else None
    if (
        not isinstance(labels, dict)
        or not labels
        or not all(key.isascii() and key.isdigit() for key in labels)
    ):
        raise DatasetError(
            where,
            found=f"labels {str(labels)[:60]}",
            expected='value -> name, such as {"0": "background", "1": "liver"}',
            fix="correct dataset.json; a folder with name -> value is in nnU-Net v2's format already and "
            "needs no conversion",
        )
    named: dict[str, int] = {}
    for value, name in sorted(((int(key), str(name)) for key, name in labels.items())):
        if value:
            named[name if name not in named and name != "background" else f"{name}_{value}"] = value
    return named


def channels_from_v1(content: Any, where: Path) -> tuple[str, ...]:
    """The channel names in "modality", in order.

    Raises:
        DatasetError: there are none.
    """
    names = content.get("modality", content.get("channel_names")) if isinstance(content, dict) else None
    if not isinstance(names, dict) or not names or not all(key.isascii() and key.isdigit() for key in names):
        raise DatasetError(
            where,
            found=f"modality {str(names)[:60]}",
            expected='{"0": "MRI"}, one entry per channel',
            fix="write it into dataset.json",
        )
    return tuple(str(names[key]) for key in sorted(names, key=int))


def read_v1_json(source: Path) -> dict[str, Any]:
    """Read the source's dataset.json.

    Raises:
        DatasetError: missing or no JSON object.
    """
    content = read_json(source / DESCRIPTION)
    if not isinstance(content, dict):
        raise DatasetError(
            source / DESCRIPTION,
            found="no JSON object",
            expected="a JSON object",
            fix="download the dataset again",
        )
    return content
