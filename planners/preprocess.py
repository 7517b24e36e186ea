"""Preprocessing a whole dataset: parallel, resumable; a case that fails is named and the others finish."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from balrsam_pipeline.dataset import CaseFiles, DatasetDescription, RawDataset, read_case
from balrsam_pipeline.errors import BalrsamError, PreprocessingError
from balrsam_pipeline.execution import run_cases
from balrsam_pipeline.layout import StoredFiles
from balrsam_pipeline.plan import Configuration, Plan, json_sha256
from balrsam_pipeline.preprocessing import (
    CaseStore,
    PackEntry,
    is_small,
    pack_case,
    preprocess_image,
    store_folder,
    write_case,
)
from balrsam_pipeline.preprocessing.conservation import LabelVoxels
from balrsam_pipeline.progress import track
from balrsam_pipeline.serialise import to_json
from planners.packing import Packs

# raised whenever preprocessing changes what it writes; 2: float64 statistics, crops that keep labelled voxels
RECIPE_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessTask:
    """One case to preprocess into `folder`; `packed` says that small cases share files."""

    files: CaseFiles
    description: DatasetDescription
    plan: Plan
    configuration: Configuration
    folder: Path
    recipe_sha256: str
    packed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessReport:
    """What preprocessing a dataset did: cases written, cases that were there already, failures by case, and
    by case and label name the labels of which resampling lost voxels."""

    folder: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]
    failures: dict[str, BalrsamError]
    losses: dict[str, dict[str, LabelVoxels]] = field(default_factory=dict)


def preprocess_cases(
    dataset: RawDataset,
    plan: Plan,
    configuration_name: str,
    folder: Path,
    contents: dict[str, str],
    executor: Executor | None,
    workers: int,
) -> PreprocessReport:
    """Preprocess the training cases of a dataset for one configuration; those that are there and still fit
    are kept.

    Args:
        folder: of the plan; cases go to `store_folder(folder, configuration)`.
        contents: case -> SHA-256 of its content, as the fingerprint holds it.
    """
    configuration = plan.configuration(configuration_name)
    store = store_folder(folder, configuration)
    cases = dataset.training_cases()
    recipes = {case: recipe_sha256(contents[case], plan, configuration) for case in cases}
    packs = Packs(store, recipes)
    packs.remove_outdated()
    there = CaseStore(store)
    tasks = {
        case: PreprocessTask(
            files=files,
            description=dataset.description,
            plan=plan,
            configuration=configuration,
            folder=store,
            recipe_sha256=recipes[case],
            packed=packs.many,
        )
        for case, files in cases.items()
        if there.recipe(case) != recipes[case]
    }
    packs.expect(tasks)
    failures = {}
    for outcome in track(
        run_cases(preprocess_task, tasks, executor, workers, PreprocessingError), len(tasks), "preprocessing"
    ):
        packs.done(outcome.case, outcome.value)
        if outcome.error is not None:
            failures[outcome.case] = outcome.error
    _remove_strangers(store, set(cases))
    there = CaseStore(store)
    losses = {case: _losses(there, case, dataset.description) for case in cases if case not in failures}
    return PreprocessReport(
        folder=store,
        written=tuple(case for case in tasks if case not in failures),
        kept=tuple(case for case in cases if case not in tasks),
        failures=failures,
        losses={case: lost for case, lost in losses.items() if lost},
    )


def _losses(store: CaseStore, case: str, description: DatasetDescription) -> dict[str, LabelVoxels]:
    return {description.label_names[int(value)]: voxels for value, voxels in store.label_voxels(case).items()}


def preprocess_task(task: PreprocessTask) -> PackEntry | None:
    """Read and preprocess one case, and store it, or return it if it is small and goes into a pack.

    Raises:
        BalrsamError: a file cannot be read, or the case cannot be preprocessed.
    """
    image, label = read_case(task.files, task.description)
    preprocessed = preprocess_image(
        image, label, task.plan, task.configuration, task.description.labels.ignore_value
    )
    all_axes = task.configuration.slicing_axes != (0,)
    del image, label  # a large case must not be held twice while it is compressed
    case, labels = task.files.case, task.description.labels
    if task.packed and is_small(preprocessed.image_czyx):
        return pack_case(task.folder, case, preprocessed, labels, task.recipe_sha256)
    write_case(task.folder, case, preprocessed, labels, task.recipe_sha256, all_axes)
    return None


def recipe_sha256(content_sha256: str, plan: Plan, configuration: Configuration) -> str:
    """A hash of everything that a stored case depends on; any other change of the plan leaves the store as it
    is."""
    parts = {
        "version": RECIPE_VERSION,
        "content": content_sha256,
        "transpose": configuration.transpose,
        "spacing_mm": configuration.spacing_mm
        if configuration.slicing_axes != (0,)
        else configuration.spacing_mm[1:],
        "slicing_axes": configuration.slicing_axes,
        "normalization": configuration.normalization,
        "inside": configuration.normalize_inside_mask,
        "statistics": to_json(plan.channel_statistics) if "ct" in configuration.normalization else None,
    }
    if configuration.fitted_to is not None:
        parts["fitted_to"] = configuration.fitted_to
    if configuration.antialias:
        parts["antialias"] = True
    return json_sha256(parts)


def _remove_strangers(store: Path, cases: set[str]) -> None:
    """Remove cases that the raw dataset no longer has, so that nobody trains on them."""
    for path in store.glob("*.json"):
        if path.stem not in cases and not path.name.startswith("."):
            path.unlink()
            for array in StoredFiles(store, path.stem).arrays:
                array.unlink(missing_ok=True)
