"""Opening what a fold trains on: plan, split, preprocessed cases, labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.dataset import Fold, LabelScheme, RawDataset, open_dataset, read_folds, require_source
from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.folds import ALL, FoldName
from balrsam_pipeline.layout import ModelFolder, PreprocessedFolder
from balrsam_pipeline.plan import Configuration, Plan, read_plan
from balrsam_pipeline.preprocessing import CaseStore, store_folder
from trainers.data.patches import CachedSource, SliceSource
from trainers.data.sampling import SamplingCase
from trainers.request import TrainRequest

# decoded cases are kept in memory up to this size, over all processes that make batches; of many small ones,
# of which each is one short read, up to the other
CACHE_BYTES, MANY_SMALL_BYTES = 2 * 2**30, 2**26


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldData:
    """A fold's plan and data; `folder` is where its results go, `training_cases` how many the largest fold of
    the cross-validation trains on: what settings follow, so that all folds, and "all", train alike."""

    raw: RawDataset
    plan: Plan
    configuration: Configuration
    fold: Fold
    store: CaseStore
    folder: Path
    training_cases: int

    @property
    def labels(self) -> LabelScheme:
        """The dataset's label scheme."""
        return self.raw.description.labels

    def sampling_cases(self, cases: Sequence[str]) -> tuple[SamplingCase, ...]:
        """What sampling needs of `cases`."""
        return tuple(SamplingCase(case=case, shape_zyx=self.store.shape(case)) for case in cases)

    def source(self, cases: Sequence[SamplingCase], processes: int) -> SliceSource:
        """Where patches are read from: memory where `cases` fit in every process, else the store."""
        bytes_a_voxel = 4 * len(self.configuration.normalization) + 2
        size = (
            sum(case.shape_zyx[0] * case.shape_zyx[1] * case.shape_zyx[2] for case in cases) * bytes_a_voxel
        )
        most = MANY_SMALL_BYTES if self.store.has_packs else CACHE_BYTES
        return CachedSource(self.store) if size * max(1, processes) <= most else self.store


def open_fold(request: TrainRequest) -> FoldData:
    """Open the fold that `request` names.

    Raises:
        TrainingError: the dataset is not preprocessed, or has no such fold.
        PlanError: the plan has no such configuration.
    """
    raw = open_dataset(request.dataset)
    preprocessed = request.roots.preprocessed / request.dataset.name
    files, planned, fix = PreprocessedFolder(preprocessed), request.planned, request.planning
    for path in (planned.plan, files.folds):
        if not path.is_file():
            raise TrainingError(
                path.parent, found=f"no {path.name}", expected="a planned and preprocessed dataset", fix=fix
            )
    plan = read_plan(planned.plan)
    configuration = plan.configuration(request.configuration or plan.default_configuration)
    augmentation = request.config.augmentation
    if not (augmentation.enabled and augmentation.mirroring):
        plan, configuration = _without_mirroring(plan, configuration)
    if request.config.network_extension:
        plan, configuration = _with_extension(plan, configuration, request.config.network_extension)
    folds = read_folds(files.folds)
    fold = _chosen_fold(folds, files.folds, request.fold, raw)
    store = CaseStore(store_folder(planned.path, configuration))
    missing = sorted(set(fold.train + fold.val) - set(store.cases))
    if missing:
        found = f"{len(missing)} cases of the fold missing: {', '.join(missing[:5])}"
        raise TrainingError(
            store.folder,
            found=found,
            expected="every case preprocessed",
            fix=fix,
        )
    _require_raw_cases(raw, fold, fix)
    model_folder = request.model_folder(configuration.name)
    require_source(preprocessed, raw.folder)
    require_source(model_folder, raw.folder)
    folder = ModelFolder(model_folder).fold(request.fold).path
    return FoldData(
        raw=raw,
        plan=plan,
        configuration=configuration,
        fold=fold,
        store=store,
        folder=folder,
        training_cases=max(len(each.train) for each in folds),
    )


def _chosen_fold(folds: Sequence[Fold], path: Path, name: FoldName, raw: RawDataset) -> Fold:
    """The fold of that name; "all" trains on every case that the dataset has, whether its splits name it or
    not.

    Raises:
        TrainingError: there is no such fold.
    """
    if name == ALL:
        return Fold(train=tuple(sorted(raw.training_cases())), val=())
    if not 0 <= name < len(folds):
        raise TrainingError(
            path,
            found=f"fold {name}",
            expected=f"a fold from 0 to {len(folds) - 1}, or all",
            fix="choose one with --fold",
        )
    return folds[name]


def _require_raw_cases(raw: RawDataset, fold: Fold, fix: str) -> None:
    """What validation needs in the end is there before training begins.

    Raises:
        TrainingError: cases of the fold were withdrawn from the raw dataset; DatasetError: files are missing.
    """
    if raw.has_training_cases(fold.train + fold.val):
        return
    withdrawn = sorted(set(fold.train + fold.val) - set(raw.training_cases()))
    if withdrawn:
        raise TrainingError(
            raw.folder,
            found=f"{len(withdrawn)} cases of the fold withdrawn since planning: {', '.join(withdrawn[:5])}",
            expected="every case that was planned and preprocessed",
            fix=f"plan without them: {fix}",
        )


def _without_mirroring(plan: Plan, configuration: Configuration) -> tuple[Plan, Configuration]:
    """The same without mirror axes, so that prediction, which reads the stored plan, does not average over
    unseen mirrors."""
    reasons = configuration.reasons | {"mirror_axes": "mirroring was switched off in training"}
    return _with(plan, dataclasses.replace(configuration, mirror_axes=(), reasons=reasons))


def _with_extension(plan: Plan, configuration: Configuration, name: str) -> tuple[Plan, Configuration]:
    """The same with a network that a function of the user's own changes: prediction, which reads the stored
    plan, has to call it too."""
    network = dataclasses.replace(configuration.network, extension=name)
    return _with(plan, dataclasses.replace(configuration, network=network))


def _with(plan: Plan, changed: Configuration) -> tuple[Plan, Configuration]:
    configurations = plan.configurations | {changed.name: changed}
    return dataclasses.replace(plan, configurations=configurations), changed
