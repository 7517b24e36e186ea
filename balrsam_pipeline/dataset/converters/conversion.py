"""What every converter is given and gives back."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from balrsam_pipeline.dataset.converters.hold_out import HoldOut, case_named, hold_out
from balrsam_pipeline.dataset.converters.source_files import ending_of, listed, stem_of
from balrsam_pipeline.dataset.integrity.checks.across import guess_patients
from balrsam_pipeline.dataset.splits import blocks_advice, read_groups, write_groups
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.execution import local_executor, run_cases
from balrsam_pipeline.execution.whole_folder import tree_state_sha256
from balrsam_pipeline.files import read_json, write_json
from balrsam_pipeline.imageio import read_geometry
from balrsam_pipeline.layout import DESCRIPTION, GROUPS, LABELS_TR, RawFolder
from balrsam_pipeline.progress import track
from balrsam_pipeline.serialise import to_json
from balrsam_pipeline.whole_numbers import whole_number

Job = TypeVar("Job")
Done = TypeVar("Done")
LOG = logging.getLogger(__name__)
IMAGES, MASKS = "images", "masks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A folder to convert, and what it cannot say itself.

    Attributes:
        source: the folder that is read, never written to.
        target: the new dataset folder, such as raw/Dataset007_Pancreas; must not exist.
        channel_names: in channel order; a name such as "CT" chooses the normalisation.
        labels: name -> value, for folders without a dataset.json.
        value_map: colour or grey value in the masks -> label value; see `value_map.parse_value_map`.
        images, masks, test, test_masks: folders of the source that hold images, masks, test images and their
            masks, where the format does not fix them; an empty name means none.
        more_masks: further folders of masks, each of which is a label of its own (pairs).
        pattern: how images and masks are named; see `pairing.pattern_rule`.
        fill_outlines: masks are lines around what they mean.
        hold_out: labelled cases to keep for testing.
        groups: a file that says which cases are of one patient; None takes groups.csv of the source, if any.
        workers: processes.
    """

    source: Path
    target: Path
    channel_names: tuple[str, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    value_map: Mapping[tuple[int, ...], int] = field(default_factory=dict)
    images: str = IMAGES
    masks: str = MASKS
    more_masks: tuple[str, ...] = ()
    test: str = "test"
    test_masks: str = ""
    pattern: tuple[str, str] | None = None
    fill_outlines: bool = False
    hold_out: HoldOut = field(default_factory=HoldOut)
    groups: Path | None = None
    workers: int = 1

    def made_of(self) -> str:
        """A hash of the source as it is, and of all that was said about it."""
        said = {name: value for name, value in to_json(self).items() if name not in ("target", "workers")}
        parts = said | {"source": str(self.source.resolve()), "state": tree_state_sha256(self.source)}
        if self.groups is not None and self.groups.is_file():
            parts["groups"] = hashlib.sha256(self.groups.read_bytes()).hexdigest()
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What a conversion made: the dataset folder, and how many cases for training and testing lie in it."""

    target: Path
    training_cases: int
    test_cases: int
    labelled_test_cases: int = 0


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


def finish(
    new: Path,
    conversion: Conversion,
    names: tuple[str, ...],
    labels: Mapping[str, Any],
    ending: str,
    aliases: Mapping[str, str] | None = None,
    **others: Any,
) -> Converted:
    """What every conversion ends with: keep cases for testing, write groups.csv and dataset.json.

    Args:
        new: the dataset, still under its temporary name.
        aliases: other names of cases, such as those of their files.

    Raises:
        DatasetError: the cases wished for cannot be kept for testing, or the groups are malformed.
    """
    raw = RawFolder(new)
    stated = _groups(conversion, raw, aliases or {})
    cases = [stem_of(path) for path in _images(raw.labels_tr)]
    groups = stated or (guess_patients(sorted(cases)) if conversion.hold_out else {})
    hold_out(new, conversion.hold_out, groups, bool(stated), aliases)
    training = {stem_of(path) for path in _images(raw.labels_tr)}
    if groups:
        write_groups(raw.groups, {case: group for case, group in groups.items() if case in training})
    write_dataset_json(new, names, labels, ending, **others)
    if len(training) == 1:
        _tell_one_case(raw, ending)
    test = {stem_of(path)[: -len("_0000")] for path in _images(raw.images_ts)}
    labelled = {stem_of(path) for path in _images(raw.labels_ts)}
    return Converted(
        target=conversion.target,
        training_cases=len(training),
        test_cases=len(test),
        labelled_test_cases=len(labelled),
    )


def _tell_one_case(raw: RawFolder, ending: str) -> None:
    """Say that one case is none to cross-validate with, while its files are still to be cut or added to."""
    volume = read_geometry(_images(raw.images_tr)[0]).dimension == 3
    LOG.warning(
        "one labelled case, which cannot be split into folds: %s",
        blocks_advice(ending) if volume else "add training cases",
    )


def _images(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if ending_of(path)] if folder.is_dir() else []


def _groups(conversion: Conversion, raw: RawFolder, aliases: Mapping[str, str]) -> dict[str, str]:
    """Case -> group, as a file states it; what it says of others than training cases is passed over."""
    given = conversion.groups
    path = given or conversion.source / GROUPS
    if given is None and not path.is_file():
        return {}
    cases = {stem_of(path) for path in _images(raw.labels_tr)}
    stated = {name: (case_named(name, cases, aliases), group) for name, group in read_groups(path).items()}
    groups = {case: group for case, group in stated.values() if case is not None}
    others = [name for name, (case, _) in stated.items() if case is None]
    if others and not groups:
        raise DatasetError(
            path,
            found=f"no labelled case in it, but {listed(others)}",
            expected=f"names of cases, such as {listed(sorted(cases)[:3])}",
            fix="correct the names",
        )
    if others:
        LOG.warning("%s: no labelled cases, passed over: %s", path, listed(others))
    return groups


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
    if not isinstance(labels, dict) or not labels or not all(_is_number(key) for key in labels):
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


def _is_number(key: str) -> bool:
    return whole_number(key) is not None


def channels_from_v1(content: Any, where: Path) -> tuple[str, ...]:
    """The channel names in "modality", in order.

    Raises:
        DatasetError: there are none.
    """
    names = content.get("modality", content.get("channel_names")) if isinstance(content, dict) else None
    if not isinstance(names, dict) or not names or not all(map(_is_number, names)):
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
