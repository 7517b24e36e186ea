"""What to score: the pairs of two folders or files, and the labels that a dataset.json or the files name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import BalrsamError, EvaluationError
from balrsam_pipeline.imageio import ALL_ENDINGS, file_ending_of, images_among, label_ending, read_label
from balrsam_pipeline.layout import DESCRIPTION
from balrsam_pipeline.outdated import require_current
from evaluation.pairs import Pair, find_pairs, present_values


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
        description: a dataset.json; None looks in the folders of predictions and of references and beside
            the latter, and else takes every value that occurs as a label.
        cases: the cases to score, of two folders; None takes all.
        missing_as_empty: of two folders, score cases without a prediction as empty.

    Raises:
        EvaluationError: nothing to score, files without a partner, or what is for folders asked of two files.
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
    if predictions.is_file() and (cases is not None or missing_as_empty):
        raise EvaluationError(
            "--cases" if cases is not None else "--missing-as-empty",
            found=f"two files: {predictions} and {references}",
            expected="two folders, of whose files it says which count",
            fix="leave it out, or name the folders that the files are in",
        )
    found = description or _description_near(predictions, references)
    dataset = read_description(found) if found else None
    if predictions.is_file() and references.is_file():
        name = predictions.name[: -len(file_ending_of(predictions))]
        for path in (predictions, references):
            require_current(path.parent, {path.name: path}, EvaluationError)
        pairs: tuple[Pair, ...] = (Pair(case=name, prediction=predictions, reference=references),)
    else:
        ending = label_ending(dataset.file_ending) if dataset else _ending(references)
        pairs = find_pairs(predictions, references, ending, cases, missing_as_empty)
    return Request(pairs=pairs, labels=dataset.labels if dataset else discover_labels(pairs))


def discover_labels(pairs: Sequence[Pair]) -> LabelScheme:
    """Every value other than 0 that occurs in the files, as a label of its own.

    Raises:
        EvaluationError: there is none; DatasetError: there is none in the files that can be read, and the
            first of the others cannot.
    """
    values: set[int] = set()
    first_problem: BalrsamError | None = None
    for pair in pairs:
        for path in (pair.prediction, pair.reference):
            try:
                values |= set(present_values(read_label(path).data)) if path is not None else set()
            except (
                BalrsamError
            ) as problem:  # scoring names what cannot be read, if there is a label elsewhere
                first_problem = first_problem or problem
    foreground = sorted(values - {0})
    if not foreground and first_problem is not None:
        raise first_problem
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
    """The dataset.json in the folder of predictions, in that of references, or beside the latter: where its
    name says that it is, then where it really is."""
    predicted, referenced = (path if path.is_dir() else path.parent for path in (predictions, references))
    beside = referenced.absolute().parent, referenced.resolve().parent
    places = (folder / DESCRIPTION for folder in (predicted, referenced, *beside))
    return next((path for path in places if path.is_file()), None)


def _ending(folder: Path) -> str:
    """The file ending that most files of a folder have, of those that can be read."""
    counts = Counter(file_ending_of(path) for path in images_among(folder.iterdir()))
    if not counts:
        raise EvaluationError(
            folder,
            found="no label map",
            expected=f"files ending in {', '.join(ALL_ENDINGS)}",
            fix="check the path",
        )
    return counts.most_common(1)[0][0]
