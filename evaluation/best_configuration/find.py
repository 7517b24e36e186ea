"""`find_best_configuration`: collect cross-validation predictions, rank, choose postprocessing, write the
choice down."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from balrsam_pipeline.dataset import DatasetDescription, RawDataset, open_dataset, read_description
from balrsam_pipeline.dataset.cases import prediction_name
from balrsam_pipeline.errors import EvaluationError
from balrsam_pipeline.execution import folder_lock
from balrsam_pipeline.folds import ALL
from balrsam_pipeline.inference.best_configuration import BestConfiguration, write_best
from balrsam_pipeline.inference.chosen_with import final_weights
from balrsam_pipeline.inference.postprocessing import Postprocessing, write_postprocessing
from balrsam_pipeline.layout import ModelFolder, RawFolder, ResultsFolder
from balrsam_pipeline.paths import Roots, model_folder, shown
from balrsam_pipeline.plan import read_plan
from balrsam_pipeline.plan_names import parts_of, words_of_model
from balrsam_pipeline.printable import plural
from evaluation.best_configuration.candidates import Candidate, candidates
from evaluation.best_configuration.choose_rules import choose_postprocessing
from evaluation.best_configuration.ensembles import ensemble_folder, predict_ensemble_fold
from evaluation.best_configuration.folds import (
    common_folds,
    fold_cases,
    folds_of,
    not_compared,
    require_distinct_cases,
    trained_configurations,
)
from evaluation.best_configuration.ranking import Preference, rank
from evaluation.best_configuration.rule_scores import Pairs, ScoreBoard
from evaluation.decathlon import is_decathlon

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BestRequest:
    """What to choose among.

    Attributes:
        dataset: the raw dataset folder (its labels are the reference, its images make ensembles).
        configurations: those to compare, as `plan_names.model_name` calls them (2d, or 2d__wide of the plan
            wide); None takes all that are trained.
        folds: those to compare on and to predict with; None compares on all that every configuration has
            finished, and predicts with all that the chosen one has.
        ensembles: compare pairs, and all together, too.
        device: for predicting ensembles.
        prefer: what to take where several are within noise of each other: the best, or the cheapest.
    """

    dataset: Path
    roots: Roots
    configurations: tuple[str, ...] | None = None
    folds: tuple[int, ...] | None = None
    ensembles: bool = True
    device: str | None = None
    workers: int = 1
    prefer: Preference = "speed"


def find_best_configuration(request: BestRequest) -> tuple[BestConfiguration, Path]:
    """Choose, and write `best_configuration.json` and every configuration's `crossval/postprocessing.json`.

    Returns:
        The choice, and the file.

    Raises:
        EvaluationError: nothing is trained, the configurations have no fold in common, a case was validated
            by two folds, or is no longer in the raw dataset.
        PredictionError: an ensemble could not be predicted.
    """
    raw = open_dataset(request.dataset)
    results = request.roots.results / raw.name
    if not results.is_dir():
        return _choose(request, raw, results)  # which says that nothing is trained
    with folder_lock(results):
        return _choose(request, raw, results)


def _choose(request: BestRequest, raw: RawDataset, results: Path) -> tuple[BestConfiguration, Path]:
    names = request.configurations or trained_configurations(results)
    folders = {name: model_folder(request.roots, raw.name, name) for name in names}
    folds = common_folds(folders, request.folds)
    plans = {
        name: replace(read_plan(ModelFolder(folder).plan).configuration(parts_of(name)[0]), name=name)
        for name, folder in folders.items()
    }
    if request.folds is None and (left_out := not_compared(folders, folds)):
        LOG.warning("%s", left_out)
    _require_same_cases(folders, folds)
    compared = candidates(list(plans.values()), request.ensembles)
    own = {
        item: folds_of(folders, item.configurations) if request.folds is None else folds for item in compared
    }
    for item in compared:
        require_distinct_cases(folders[item.configurations[0]], own[item])
    pairs = {item: _pairs(item, request, raw, folders, folds) for item in compared}
    labels = raw.description.labels
    boards = {
        item: ScoreBoard(pairs=found, labels=labels, workers=request.workers, distances=False, by_index=True)
        for item, found in pairs.items()
    }
    tables = {item: board.score([()])[()].dice_cl for item, board in boards.items()}
    scores, chosen, reason = rank(tables, request.prefer)
    rules: dict[Candidate, Postprocessing] = {}
    for item in pairs:
        if len(item.configurations) == 1 or item == chosen:
            further = [fold for fold in own[item] if fold not in folds]
            _require_same_cases({name: folders[name] for name in item.configurations}, further)
            found = {**pairs[item], **_pairs(item, request, raw, folders, further)}
            rules[item] = _rules(request, raw, folders[item.configurations[0]], own[item], found)
        if len(item.configurations) == 1:
            folder = folders[item.configurations[0]]
            noted = replace(rules[item], weights_sha256=final_weights(folder, own[item]))
            write_postprocessing(ModelFolder(folder).crossval.postprocessing, noted)
    best = BestConfiguration(
        dataset=raw.name,
        configurations=chosen.configurations,
        folds=own[chosen],
        postprocessing=rules[chosen],
        reason=reason,
        candidates=scores,
        weights_sha256={name: final_weights(folders[name], own[chosen]) for name in chosen.configurations},
    )
    return best, write_best(results, best)


def _rules(
    request: BestRequest, raw: RawDataset, folder: Path, folds: Sequence[int], pairs: Pairs
) -> Postprocessing:
    """The postprocessing of a candidate, on the cases of all folds that predict with it."""
    fold_of = {case: fold for fold in folds for case in fold_cases(folder, fold)}
    references = [files.label for files in raw.training_cases().values() if files.label is not None]
    return choose_postprocessing(
        pairs, raw.description.labels, request.workers, fold_of, references, by_index=True
    )


def _pairs(
    item: Candidate, request: BestRequest, raw: RawDataset, folders: Mapping[str, Path], folds: Sequence[int]
) -> Pairs:
    """Case -> (cross-validation prediction, reference) of a candidate; ensembles are predicted where they are
    not there yet."""
    files = raw.training_cases()
    found = {}
    for fold in folds:
        cases = fold_cases(folders[item.configurations[0]], fold)
        _require_raw_cases(raw, cases, files.keys(), fold)
        if len(item.configurations) == 1:
            folder = ModelFolder(folders[item.configurations[0]]).fold(fold).validation.path
        else:
            LOG.info("predicting the validation cases of fold %d with %s", fold, item.name)
            folder = ensemble_folder(request.roots.results / raw.name, item.configurations, fold)
            models = [folders[name] for name in item.configurations]
            predict_ensemble_fold(models, fold, {case: files[case] for case in cases}, folder, request.device)
        for case in cases:
            label = files[case].label
            prediction = folder / prediction_name(files[case])
            if label is None or not prediction.is_file():
                raise EvaluationError(
                    prediction,
                    found="no such prediction" if label else "a case without a reference label",
                    expected="the validation prediction of every case of the fold",
                    fix=f"finish the fold: balrsam train {raw.name} "
                    f"{words_of_model(item.configurations[0])} --fold {fold}",
                )
            found[case] = (prediction, label)
    return found


def _require_raw_cases(raw: RawDataset, cases: Sequence[str], there: Set[str], fold: int) -> None:
    withdrawn = sorted(set(cases) - there)
    if withdrawn:
        raise EvaluationError(
            raw.folder,
            found=f"{plural(len(withdrawn), 'case')} of fold {fold}, validated but no longer in the dataset: "
            f"{', '.join(withdrawn[:5])}",
            expected="every case that was validated",
            fix="put their files back, or plan and train without them: "
            f"balrsam plan_and_preprocess {raw.name}",
        )


def _require_same_cases(folders: Mapping[str, Path], folds: Sequence[int]) -> None:
    for fold in folds:
        sets = {name: set(fold_cases(folder, fold)) for name, folder in folders.items()}
        first = next(iter(sets))
        for name, cases in sets.items():
            if cases != sets[first]:
                raise EvaluationError(
                    f"fold {fold}",
                    found=f"'{name}' was validated on other cases than '{first}': "
                    f"{sorted(cases ^ sets[first])[:5]}",
                    expected="configurations trained on the same splits",
                    fix="train them from one splits.json (balrsam plan_and_preprocess keeps it)",
                )


def command_lines(best: BestConfiguration, request: BestRequest) -> tuple[str, ...]:
    """The commands that predict with the choice and pack a submission, ready to copy."""
    results = request.roots.results
    raw, own = RawFolder(request.dataset), ResultsFolder(results / best.dataset)
    images, output, archive = map(shown, (raw.images_ts, own.predictions.path, own.submission))
    form = _form(best.dataset, read_description(raw.description))
    folds = ("--folds", *map(str, best.folds))
    lines = (
        (
            "predict",
            "-i",
            images,
            "-o",
            output,
            "-d",
            best.dataset,
            "--best",
            *folds,
            "--results",
            shown(results),
        ),
        ("submit", "-p", output, "--images", images, "--format", form, "-o", archive),
    )
    return tuple(shlex.join(("balrsam", *words)) for words in lines)


def is_trained_on_all(best: BestConfiguration, request: BestRequest) -> bool:
    """Whether each chosen configuration also has a model that is trained on all cases."""
    results = ResultsFolder(request.roots.results / best.dataset)
    return all(results.model(name).fold(ALL).checkpoint("final").is_file() for name in best.configurations)


def _form(dataset: str, description: DatasetDescription) -> str:
    """The submission format that such a dataset most likely wants; --format takes any other."""
    if is_decathlon(dataset):
        return "msd"
    one_label = len(description.labels.allowed_values - {0, description.labels.ignore_value}) == 1
    return "isic" if description.file_ending in PICTURES and one_label else "plain"
