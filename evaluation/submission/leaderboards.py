"""What each leaderboard wants: names of files, their format, and which values masks hold."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.printable import one_line
from balrsam_pipeline.serialise import from_json
from balrsam_pipeline.whole_numbers import whole_number
from evaluation.decathlon import DATASET, MSD_TASKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The form of one leaderboard's archive.

    Attributes:
        template: name of each file in the archive; fields {case}, {dataset}, {number} and {ending} (the
            predictions' own).
        foreground: the value that a mask's single foreground label gets; None keeps label values.
        kind: "files" in an archive, or "rle": one table of run lengths.
        label_map: our value -> the leaderboard's, where they differ (`--label-map` goes before).
        max_megabytes: the largest archive that the server takes.
        left_out: cases that the server does not want, though they are among the test images.
        folders: of an archive of all tasks; what is missing is warned about.
        source: where the form is described.
    """

    name: str
    template: str
    foreground: int | None = None
    kind: Literal["files", "rle"] = "files"
    label_map: dict[str, int] = field(default_factory=dict)
    max_megabytes: float | None = None
    left_out: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    source: str = ""


LARGEST_VALUE = 2**16 - 1  # of a label map that is written
# fields stand for themselves, but for a number's digits: what else Python's format strings can do, such as
# names of a gigabyte, is nothing for a text out of a file
FIELD = re.compile(r"\{(case|dataset|ending|number(:0?\d?d)?)\}")
# the server of the Medical Segmentation Decathlon wants no prediction of these test cases
NOT_IN_MSD = (
    *(f"liver_{number}" for number in (141, 156, 160, 161, 162, 164, 167, 182, 189, 190)),
    "hepaticvessel_247",
)
FORMS: dict[str, Form] = {
    "msd": Form(
        name="msd",
        template="Task{number:02d}_{dataset}/{case}.nii.gz",
        left_out=NOT_IN_MSD,
        folders=MSD_TASKS,
        source="Medical Segmentation Decathlon, evaluation server: one archive with a folder per task, files "
        "named as the images",
    ),
    "amos": Form(
        name="amos",
        template="results/{case}.nii.gz",
        source="AMOS 2022, amos22.grand-challenge.org/Evaluation: results/amos_0008.nii.gz, one for each "
        "image",
    ),
    "isic": Form(
        name="isic",
        template="{case}_segmentation.png",
        foreground=255,
        source="ISIC 2018 task 1: 8-bit PNG masks of 0 and 255, ID_segmentation.png",
    ),
    "grand-challenge": Form(
        name="grand-challenge", template="{case}.mha", source="grand-challenge.org prefers MetaImage"
    ),
    "flare": Form(
        name="flare",
        template="{case}.nii.gz",
        source="FLARE 2022 to 2025: CASE_0000.nii.gz in, CASE.nii.gz out, all in one level",
    ),
    "npz": Form(
        name="npz",
        template="{case}.npz",
        source="CVPR 2024 and 2025 (MedSAM on Laptop, interactive 3D): an array 'segs' in CASE.npz, named as "
        "the image",
    ),
    "rle": Form(
        name="rle",
        template="{case}",
        kind="rle",
        source="run lengths in a CSV table of id and rle: down the columns, from 1 (Kaggle)",
    ),
    "plain": Form(name="plain", template="{case}{ending}", source="files as predicted"),
}


def read_form(path: Path) -> Form:
    """Read the form of another leaderboard from a JSON file with the fields of `Form`.

    Raises:
        PredictionError: unreadable, an unknown field, or values that are no whole numbers.
    """
    form = from_json(Form, read_json(path, PredictionError), path, PredictionError)
    written = [*form.label_map.values(), *([] if form.foreground is None else [form.foreground])]
    if not all(_is_value(ours) for ours in form.label_map) or not all(
        0 <= value <= LARGEST_VALUE for value in written
    ):
        raise PredictionError(
            path,
            found=f"label_map {form.label_map}, foreground {form.foreground}",
            expected=f"label values, whole numbers from 0 to {LARGEST_VALUE}",
            fix="correct it",
        )
    return form


def _is_value(text: str) -> bool:
    value = whole_number(text)
    return value is not None and value <= LARGEST_VALUE


def member_name(template: str, case: str, dataset: str, ending: str) -> str:
    """The name of a case's file in the archive.

    Args:
        dataset: such as "Dataset004_Hippocampus" or "Task04_Hippocampus"; its number and the rest of its
            name are fields of the template.

    Raises:
        PredictionError: the template has an unknown field, or makes a name outside the archive; or it has the
            number of a dataset whose name has none.

    >>> member_name("Task{number:02d}_{dataset}/{case}.nii.gz", "a_001", "Dataset004_Hippocampus", ".nii.gz")
    'Task04_Hippocampus/a_001.nii.gz'
    """
    parts = DATASET.fullmatch(dataset)
    if parts is None and "{number" in template:
        raise PredictionError(
            dataset,
            found="a dataset without a number, from the folder that the images are in or --dataset-name",
            expected=f"DatasetNNN_NAME or TaskNN_NAME, since files are called {template}",
            fix="name it: --dataset-name Task04_Hippocampus; of several datasets, rename their folders",
        )
    fields = {
        "case": case,
        "dataset": parts[2] if parts else dataset,
        "number": int(parts[1]) if parts else 0,
        "ending": ending,
    }
    if any(brace in FIELD.sub("", template) for brace in "{}"):
        raise _bad(template, "a template with other fields")
    name = template.format(**fields)
    leads_out = name.startswith("/") or ".." in name.split("/") or "\\" in name
    if leads_out or one_line(template) != template or "{case}" not in template:
        raise _bad(template, "a template without {case}, or one that leads out of the archive")
    return name


def _bad(template: str, found: str) -> PredictionError:
    return PredictionError(
        f"--template {template}",
        found=found,
        expected="a relative name with the fields {case}, {dataset}, {number}, {ending}",
        fix='for example --template "{case}.nii.gz"',
    )
