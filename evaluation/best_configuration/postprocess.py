"""Postprocessing by itself: rules chosen on a folder of predictions with known references, and rules
applied to a folder of label maps, whoever predicted them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from balrsam_pipeline.dataset import LabelScheme, read_description
from balrsam_pipeline.errors import BalrsamError, EvaluationError, first_of
from balrsam_pipeline.imageio import images_among, read_label, write_label, written_beside
from balrsam_pipeline.inference.outputs import mark_stale, set_aside_stale
from balrsam_pipeline.inference.postprocessing import (
    Postprocessing,
    apply_postprocessing,
    is_postprocessing,
    read_postprocessing,
    write_postprocessing,
)
from balrsam_pipeline.layout import DESCRIPTION, PredictionFolder
from balrsam_pipeline.outdated import require_current
from balrsam_pipeline.progress import track
from balrsam_pipeline.protect import (
    require_apart,
    require_folder_place,
    require_not_read,
    require_own,
    require_utf8,
)
from evaluation.best_configuration.choose_rules import choose_postprocessing
from evaluation.request import resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What applying rules did: the files written, and the names of those whose label map changed."""

    written: tuple[Path, ...]
    changed: tuple[str, ...]


def determine_postprocessing(
    predictions: Path, references: Path, description: Path | None, output: Path, workers: int = 1
) -> Postprocessing:
    """Choose rules on predictions of cases that no model of theirs was trained on, and write them as JSON.

    Args:
        description: a dataset.json; None looks for one as `balrsam evaluate` does.
        output: the JSON file.

    Raises:
        EvaluationError: nothing to score, files without a partner, or a pair that does not fit.
        UsageError: the output is a file that holds no such rules: an input, or somebody else's.
    """
    require_own([output], output, is_postprocessing)
    request = resolve(predictions, references, description, None, missing_as_empty=False)
    pairs = {
        pair.case: (pair.prediction, pair.reference) for pair in request.pairs if pair.prediction is not None
    }
    chosen = choose_postprocessing(pairs, request.labels, workers)
    write_postprocessing(output, chosen)
    return chosen


def apply_to_folder(folder: Path, output: Path, rules: Path, description: Path | None = None) -> Applied:
    """Write every label map of a folder into another, cleaned; geometry and file ending stay. The rules lie
    beside them, which says that we made them.

    Args:
        rules: a postprocessing.json.
        description: a dataset.json; None takes the one that lies beside the label maps.

    Raises:
        EvaluationError: no label maps, or no dataset.json that says what their values mean.
        PredictionError: the rules are for other labels.
        UsageError: the output is the folder itself, or has files of that name that we did not make, or its
            name is no folder's.
        BalrsamError: some label maps are damaged; the others are cleaned then.
    """
    require_folder_place(output)
    require_utf8(output)
    files = _label_maps(folder)
    require_current(folder, {path.name: path for path in files}, EvaluationError)
    own = description or PredictionFolder(folder).description
    if not own.is_file():
        raise EvaluationError(
            own,
            found="no such file",
            expected=f"a {DESCRIPTION}, which says what the values mean",
            fix="name it: --labels DATASET/dataset.json",
        )
    postprocessing, labels = read_postprocessing(rules), read_description(own).labels
    outputs, made = [output / path.name for path in files], PredictionFolder(output)
    replaced = [*outputs, *chain.from_iterable(map(written_beside, outputs)), made.description]
    require_apart(output, [folder])
    require_not_read([*replaced, made.postprocessed], [*files, own, rules])
    require_own(replaced, made.postprocessed)
    output.mkdir(parents=True, exist_ok=True)
    write_postprocessing(made.postprocessed, postprocessing)  # first, so that a killed call may go on
    changed, problems = [], dict[str, BalrsamError]()
    for path, target in track(zip(files, outputs, strict=True), len(files), "postprocessing"):
        try:
            changed += [path.name] if _apply(path, target, labels, postprocessing) else []
        except BalrsamError as problem:
            problems[path.name] = problem
            earlier = [target, *written_beside(target)]  # of an earlier call, with other rules perhaps
            mark_stale(earlier)
            set_aside_stale(path.name, earlier)
    shutil.copyfile(own, made.description)
    if problems:
        raise first_of(problems, done=len(problems) < len(files))
    return Applied(written=tuple(outputs), changed=tuple(changed))


def _apply(path: Path, target: Path, labels: LabelScheme, rules: Postprocessing) -> bool:
    """Clean one label map; whether that changed it."""
    image = read_label(path)
    before = image.data[0]
    after = apply_postprocessing(before, image.geometry, labels, rules)
    write_label(target, after, image.geometry, path)
    return bool((after != before).any())


def _label_maps(folder: Path) -> Sequence[Path]:
    files = (
        images_among(sorted(path for path in folder.iterdir() if path.is_file())) if folder.is_dir() else []
    )
    if not files:
        raise EvaluationError(
            folder,
            found="no label map" if folder.is_dir() else "a file" if folder.exists() else "no such folder",
            expected="a folder of predicted label maps",
            fix="check the folder",
        )
    return files
