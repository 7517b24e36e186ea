"""Masks as run lengths in a CSV table (`id,rle`), as Kaggle and its like want them: per image, or per slice
of a volume, and per label."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset import DatasetDescription, LabelScheme, read_description
from balrsam_pipeline.errors import BalrsamError, PredictionError
from balrsam_pipeline.files import ESCAPED, atomic_path
from balrsam_pipeline.imageio import label_ending
from balrsam_pipeline.outdated import require_current
from balrsam_pipeline.protect import require_not_read
from evaluation.submission.archive import file_sha256
from evaluation.submission.checks import (
    check_case_sets,
    check_label,
    check_size,
    left_out_findings,
    unreadable,
)
from evaluation.submission.leaderboards import FORMS
from evaluation.submission.pack import labels_beside, predicted_files, test_images
from evaluation.submission.papers import refuse, require_place, write_papers
from evaluation.submission.request import Submission, SubmissionRequest

COLUMNS = ("id", "rle")
LONGEST_FIELD = 2**31 - 1  # characters; csv refuses more than 131,072 unless told
FIELDS = "{case}, {slice} and {label}"


def run_lengths(mask_yx: npt.NDArray[np.bool_]) -> str:
    """The runs of a mask: pixels counted down the columns, from 1; "start length start length …".

    Example:
        >>> run_lengths(np.array([[0, 1, 1], [1, 1, 0]], dtype=bool))
        '2 4'
    """
    pixels = np.concatenate([[0], mask_yx.T.ravel().astype(np.int8), [0]])
    changes = np.flatnonzero(np.diff(pixels)) + 1
    changes[1::2] -= changes[::2]
    return " ".join(map(str, changes))


def mask_of(runs: str, shape_yx: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask that run lengths stand for.

    Example:
        >>> mask_of("2 4", (2, 3)).astype(int).tolist()
        [[0, 1, 1], [1, 1, 0]]
    """
    numbers = [int(word) for word in runs.split()]
    pixels = np.zeros(shape_yx[0] * shape_yx[1], dtype=np.bool_)
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        pixels[start - 1 : start - 1 + length] = True
    return pixels.reshape(shape_yx[1], shape_yx[0]).T


def require_table(request: SubmissionRequest, description: DatasetDescription) -> None:
    """Refuse, before anything is predicted, what a table of run lengths cannot be: an archive, masks with
    other values, or rows of ids with other fields.

    Args:
        description: of the dataset that is predicted.

    Raises:
        UsageError: the output is no `.csv`, or a file that was not made here; PredictionError: label values
            are to be changed, or the template cannot be filled in.
    """
    require_place(request.output, request.form)
    if request.template:
        _row_id(request.template, "case", 0, description.labels.names[0])
    if request.label_map or request.form.foreground is not None:
        raise PredictionError(
            "--label-map" if request.label_map else "foreground",
            found="values for labels, of run lengths",
            expected="none: a row holds the pixels of one label, which its id names",
            fix='leave it out; ids are named by --template "{case}_{label}"',
        )


def pack_run_lengths(request: SubmissionRequest) -> Submission:
    """Check every prediction, write the table with a row for every image or slice, empty ones included, and
    read it again.

    Args:
        request: its template makes each row's id; by default {case}, with _{slice} where images are volumes
            and _{label} where there are several labels.

    Raises:
        PredictionError: any rule is broken, ids are not unique, or predictions are to be made again; no
            table is written then.
        UsageError: the output is no `.csv`, is read, or is a file that was not made here.
    """
    labels = request.dataset_json or labels_beside(request.predictions)
    require_not_read([request.output], [labels])
    description = read_description(labels)
    require_table(request, description)
    images = test_images(request.images, description)
    predicted = predicted_files(request.predictions, label_ending(description.file_ending))
    unwanted = [case for case in request.form.left_out if case in images or case in predicted]
    images = {case: path for case, path in images.items() if case not in unwanted}
    predicted = {case: path for case, path in predicted.items() if case not in unwanted}
    require_current(request.predictions, predicted, PredictionError)
    findings = check_case_sets(predicted, images) + left_out_findings(unwanted, request.form.name)
    rows: dict[str, str] = {}
    allowed = description.labels.allowed_values - {description.labels.ignore_value}
    for case in sorted(predicted.keys() & images.keys()):
        try:
            label, found = check_label(case, predicted[case], images[case], allowed)
        except BalrsamError as problem:
            found, label = [unreadable(case, problem)], None
        findings += found
        if label is None:
            continue
        own = request.form.template if request.form.template != FORMS["rle"].template else None
        template = request.template or own or _usual(label.geometry.dimension, description.labels)
        for name, runs in _rows(template, case, label.data[0], description.labels):
            if name in rows:
                raise _not_unique(template, name)
            rows[name] = runs
    refuse(request, findings)
    require_not_read([request.output], [*predicted.values(), *images.values()])
    with atomic_path(request.output) as table:  # one that is there stays until this one is sound
        table.write_text(_table(rows), encoding="utf-8", errors=ESCAPED, newline="")
        _recheck(table, rows)
        size = table.stat().st_size
        refuse(request, findings + check_size(request.output.name, size, request.limit_bytes))
        hashes = {request.output.name: file_sha256(table)}
        return write_papers(request, table, hashes, findings, cases=len(predicted))


def _rows(
    template: str, case: str, label_zyx: npt.NDArray[np.integer], labels: LabelScheme
) -> Iterator[tuple[str, str]]:
    for name in labels.names:
        mask_zyx = labels.mask(label_zyx, name)
        for z, mask_yx in enumerate(mask_zyx):
            yield _row_id(template, case, z, name), run_lengths(mask_yx)


def _row_id(template: str, case: str, z: int, label: str) -> str:
    try:
        return template.format(case=case, slice=z, label=label)
    except (KeyError, IndexError, ValueError) as problem:
        raise PredictionError(
            f"--template {template}",
            found=f"a template that cannot be filled in ({problem})",
            expected=f"the fields {FIELDS}",
            fix='for example --template "{case}_{slice:03d}"',
        ) from None


def _usual(dimension: int, labels: LabelScheme) -> str:
    several = "_{label}" if len(labels.names) > 1 else ""
    return "{case}" + ("_{slice}" if dimension > 2 else "") + several


def _table(rows: Mapping[str, str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows.items())
    return text.getvalue()


def _recheck(path: Path, rows: Mapping[str, str]) -> None:
    """Read the table again, as the server will.

    Raises:
        PredictionError: it holds other rows than those written.
    """
    written = {name.encode(errors=ESCAPED).decode(): runs for name, runs in rows.items()}
    if read_run_lengths(path) != written:
        raise PredictionError(
            path,
            found="other rows than were written",
            expected="the table that was just written",
            fix="check the disk (full? failing?), then submit again",
        )


def _not_unique(template: str, name: str) -> PredictionError:
    return PredictionError(
        f"--template {template}",
        found=f"several rows of the id '{name}'",
        expected=f"an id of its own for every image, slice and label: {FIELDS}",
        fix="add the field that is missing",
    )


def read_run_lengths(path: Path) -> dict[str, str]:
    """The rows of a table: id -> run lengths, as long as they may be."""
    former = csv.field_size_limit(LONGEST_FIELD)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row[COLUMNS[0]]: row[COLUMNS[1]] for row in csv.DictReader(file)}
    finally:
        csv.field_size_limit(former)
