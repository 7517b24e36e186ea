"""A folder of trained folds, `results/DATASET/CONFIGURATION__balrsam`, and finding it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.dataset import read_description
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.folds import ALL, FoldName, numbered
from balrsam_pipeline.inference.members import Member, require_fit_together
from balrsam_pipeline.inference.postprocessing import Postprocessing
from balrsam_pipeline.inference.predictor import Predictor, PredictorOptions
from balrsam_pipeline.layout import DESCRIPTION, PLAN, ModelFolder, ResultsFolder
from balrsam_pipeline.network import load_trained
from balrsam_pipeline.paths import Roots, dataset_number, model_folder, shown
from balrsam_pipeline.plan import read_plan
from balrsam_pipeline.plan_names import UNNAMED, model_name
from balrsam_pipeline.whole_numbers import whole_number

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model folders predict, with which folds and weights, and the postprocessing that was chosen for
    them; `base` is the SAM file they adapt, where the user names it."""

    folders: tuple[Path, ...]
    weights: tuple[float, ...]
    folds: tuple[FoldName, ...] | None
    checkpoint: str
    postprocessing: Postprocessing
    base: Path | None = None


def load_predictor(
    folder: Path | str,
    folds: Sequence[FoldName] | None = None,
    options: PredictorOptions | None = None,
    checkpoint: str = "final",
    base: Path | str | None = None,
) -> Predictor:
    """Load the trained folds of `results/DATASET/CONFIGURATION__balrsam`.

    Args:
        folds: which; None takes every fold of the cross-validation that has finished, or "all" where that
            alone has.
        checkpoint: "final", "best" or "latest".
        base: the SAM checkpoint that they adapt; default the one that is found by its hash.

    Raises:
        PredictionError: the folder is no model folder, or a fold is not trained.
        CheckpointError: a checkpoint is damaged or does not fit the plan.
    """
    folder = Path(folder)
    base = Path(base) if base is not None else None
    files = ModelFolder(folder)
    if not files.plan.is_file():
        raise PredictionError(
            folder,
            found=f"no {PLAN}" if folder.is_dir() else "no such folder",
            expected=f"a model folder: {PLAN}, {DESCRIPTION} and fold_N/ of a trained model",
            fix="give the folder results/DATASET/CONFIGURATION__balrsam, or train it: balrsam crossval "
            "DATASET",
        )
    plan = read_plan(files.plan)
    configuration = plan.configuration(configuration_of(folder))
    checkpoints = [
        checkpoint_file(folder, fold, checkpoint)
        for fold in (trained_folds(folder, checkpoint) if folds is None else folds)
    ]
    description = read_description(files.description)
    models = (load_trained(file, configuration.network, base) for file in checkpoints)
    return Predictor(
        models,
        plan,
        configuration,
        description.labels,
        options,
        weights_sha256=hash_weights(checkpoints),
        channel_names=description.channel_names,
    )


def load_members(choice: ModelChoice, options: PredictorOptions) -> list[Member]:
    """Load the chosen models.

    Raises:
        PredictionError: a folder is no trained model, or the models do not fit together.
    """
    members = [
        Member(load_predictor(folder, choice.folds, options, choice.checkpoint, choice.base), weight)
        for folder, weight in zip(choice.folders, choice.weights, strict=True)
    ]
    require_fit_together(members)
    for folder, member in zip(choice.folders, members, strict=True):
        folds = choice.folds or trained_folds(folder, choice.checkpoint)
        named = f"fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}"
        LOG.info("model %s: %s, on %s", shown(folder), named, member.predictor.device)
    return members


def configuration_of(folder: Path) -> str:
    """The configuration that a model folder's name says: "2d" of `2d__balrsam`."""
    return ModelFolder(folder).configuration


def trained_folds(folder: Path, checkpoint: str = "final") -> tuple[FoldName, ...]:
    """The folds that predict where none is named: those of the cross-validation that have the checkpoint,
    since they have scores; where none has, the one trained on all cases.

    Raises:
        PredictionError: there are none.
    """
    files = ModelFolder(folder)
    folds = files.all_folds()
    trained = tuple(fold for fold in folds if files.fold(fold).checkpoint(checkpoint).is_file())
    if trained != (ALL,):
        trained = numbered(trained)
    if not trained:
        raise PredictionError(
            folder,
            found=f"no fold with {files.fold(0).checkpoint(checkpoint).name}"
            + (f" among folds {list(folds)}" if folds else ""),
            expected="at least one fold whose training has finished",
            fix="finish training: balrsam crossval DATASET; or predict from an unfinished one: --checkpoint "
            "latest",
        )
    return trained


def checkpoint_file(folder: Path, fold: FoldName, checkpoint: str) -> Path:
    """The checkpoint of one fold.

    Raises:
        PredictionError: the fold has none.
    """
    path = ModelFolder(folder).fold(fold).checkpoint(checkpoint)
    if not path.is_file():
        raise PredictionError(
            path,
            found="no such file",
            expected=f"the checkpoint of fold {fold}",
            fix=f"name trained folds (--folds), or train it: balrsam train DATASET --fold {fold}",
        )
    return path


def find_results(dataset: str, roots: Roots) -> Path:
    """The results folder of a dataset, by name or number (or the name of a path).

    Raises:
        PredictionError: nothing was trained for it; the message lists what is there.
    """
    present = (
        sorted(path.name for path in roots.results.iterdir() if path.is_dir())
        if roots.results.is_dir()
        else []
    )
    name = Path(dataset).name
    number = whole_number(name)
    matches = [item for item in present if item == name] or [
        item for item in present if number is not None and dataset_number(item) == number
    ]
    if len(matches) == 1:
        return roots.results / matches[0]
    raise PredictionError(
        f"dataset '{dataset}'",
        found=f"results of {', '.join(matches or present) or 'no dataset'} in {roots.results}",
        expected="one dataset with a trained model",
        fix="name one of those, say where results lie (--results FOLDER), or train: balrsam crossval DATASET",
    )


def find_model(dataset: str, configuration: str | None, roots: Roots, plan: str = UNNAMED) -> Path:
    """The model folder of a plan's configuration; without a name, the only one there is.

    Raises:
        PredictionError: none, or several to choose from.
    """
    results = find_results(dataset, roots)
    models = ResultsFolder(results).models()
    present = [model.name for model in models]
    if configuration is None:
        own = [model for model in models if not plan or model.plan_name == plan]
        if len(own) == 1:
            return own[0].path
    elif model_name(configuration, plan) in present:
        return model_folder(roots, results.name, model_name(configuration, plan))
    raise PredictionError(
        results,
        found=f"trained configurations: {', '.join(present) or 'none'}",
        expected=f"'{model_name(configuration, plan)}'" if configuration else "a choice of one",
        fix="name one with --configuration (and --plan), or take the best (--best) after "
        "balrsam find_best_configuration DATASET",
    )


def hash_weights(files: Sequence[Path]) -> str:
    """SHA-256 (hexadecimal) that names a predictor's checkpoints in `prediction.json`."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
