"""From the words of a command line to pairs of files and a list of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import EvaluationError
from balrsam_pipeline.imageio import FILE_ENDINGS, file_ending_of, label_ending, read_label
from evaluation.pairs import Pair, find_pairs, present_values

DESCRIPTION_NAME = "dataset.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to score."""

    pairs: tuple[Pair, ...]
    labels: LabelScheme


def resolve(
    predictions: Path,
    references: Path,
    description: Path | None,
    cases: Sequence[str] | None,
    missing_as_empty: bool,
) -> Request:
    """Find the pairs and the labels.

    Args:
        predictions: a folder, or one label map.
        references: a folder, or one label map.
        description: a dataset.json; None looks in the folder of predictions, beside the folder of references,
            and else takes every value that occurs as a label.

    Raises:
        EvaluationError: nothing to score, or files without a partner.
    """
    from balrsam_pipeline.dataset import read_description

    for path in (predictions, references):
        if not path.exists():
            raise EvaluationError(
                path, found="no such file or folder", expected="label maps", fix="check the path"
            )
    if predictions.is_file() != references.is_file():
        raise EvaluationError(
            f"{predictions} and {references}",
            found="a file and a folder",
            expected="two files or two folders",
            fix="name both alike",
        )
    found = description or _description_near(predictions, references)
    dataset = read_description(found) if found else None
    if predictions.is_file() and references.is_file():
        name = predictions.name[: -len(file_ending_of(predictions))]
        pairs: tuple[Pair, ...] = (Pair(case=name, prediction=predictions, reference=references),)
    else:
        ending = label_ending(dataset.file_ending) if dataset else _ending(references)
        pairs = find_pairs(predictions, references, ending, cases, missing_as_empty)
    return Request(pairs=pairs, labels=dataset.labels if dataset else discover_labels(pairs))


def discover_labels(pairs: Sequence[Pair]) -> LabelScheme:
    """Every value other than 0 that occurs in the files, as a label of its own.

    Raises:
        EvaluationError: there is none.
    """
    values: set[int] = set()
    for pair in pairs:
        for path in (pair.prediction, pair.reference):
            if path is not None:
                values |= set(present_values(read_label(path).data))
    foreground = sorted(values - {0})
    if not foreground:
        raise EvaluationError(
            pairs[0].reference.parent,
            found="no label in any file",
            expected="label maps with foreground",
            fix="name the labels: --labels dataset.json",
        )
    return LabelScheme(
        names=tuple(str(value) for value in foreground),
        values=tuple((value,) for value in foreground),
        has_regions=False,
        region_order=(),
        ignore_value=None,
        largest=foreground[-1],
    )


def _description_near(predictions: Path, references: Path) -> Path | None:
    for folder in (predictions, references, references.parent):
        if folder.is_dir() and (folder / DESCRIPTION_NAME).is_file():
            return folder / DESCRIPTION_NAME
    return None


def _ending(folder: Path) -> str:
    """The file ending that most files of a folder have, of those that can be read."""
    endings = sorted(FILE_ENDINGS, key=len, reverse=True)
    counts = Counter(
        next((ending for ending in endings if path.name.lower().endswith(ending)), "")
        for path in folder.iterdir()
    )
    counts.pop("", None)
    if not counts:
        raise EvaluationError(
            folder,
            found="no label map",
            expected=f"files ending in {', '.join(endings)}",
            fix="check the path",
        )
    return counts.most_common(1)[0][0]
