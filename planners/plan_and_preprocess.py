"""`plan_and_preprocess` as one function: check, measure, plan, fold, preprocess; only what changed is done
again."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from balrsam_pipeline.dataset import (
    IntegrityReport,
    RawDataset,
    check_files,
    claim_folder,
    folds_of,
    open_dataset,
    require_source,
    write_folds,
)
from balrsam_pipeline.errors import BalrsamError, CheckpointError, DatasetError, PlanError
from balrsam_pipeline.execution import ExecutionOptions, folder_lock, open_executor
from balrsam_pipeline.execution.whole_folder import tree_state_sha256
from balrsam_pipeline.files import file_stamp, read_json, write_json
from balrsam_pipeline.layout import PlanFolder, PreprocessedFolder, RawFolder
from balrsam_pipeline.network import obtain
from balrsam_pipeline.plan import Plan, read_plan, write_versioned
from balrsam_pipeline.plan_names import RECOMMENDED, UNNAMED
from balrsam_pipeline.preprocessing import store_folder
from planners.fingerprint import Extraction, changed_cases, extract_fingerprint
from planners.hardware import Hardware
from planners.measured import Measured, start_measuring
from planners.overrides import Overrides
from planners.plan_like import plan_like
from planners.planner import plan_dataset
from planners.preprocess import PreprocessReport, preprocess_cases
from planners.replaced import made_for, tell_replaced
from planners.scan import scan_dataset

LOG = logging.getLogger(__name__)
STATE, AS_COPIED = "dataset_state_sha256", "names_sizes_dates_sha256"  # in integrity.json


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What `plan_and_preprocess` is asked to do.

    Attributes:
        raw: the raw dataset's folder.
        name: of the plan; "" is the unnamed one.
        preprocessed: the folder of preprocessed datasets.
        configurations: those to preprocess, `RECOMMENDED` for the plan's default and its companions; None is
            all that the plan has.
        like: a plan to take over instead of planning.
        execution: where cases are worked on.
        keep: the plan that is there, where it is of the data as they are now.
        offline: forbids to fetch the checkpoint that is planned; None does what `balrsam_offline` says.
    """

    raw: Path
    preprocessed: Path
    hardware: Hardware
    overrides: Overrides
    configurations: tuple[str, ...] | None
    like: Plan | None
    execution: ExecutionOptions
    verify: bool
    offline: bool | None = None
    name: str = UNNAMED
    keep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What was done: the plan and its folder, which cases were measured, what preprocessing did to each
    store, and the check's warnings."""

    folder: Path
    plan: Plan
    extraction: Extraction
    reports: tuple[PreprocessReport, ...]
    warnings: str


def plan_and_preprocess(request: PlanRequest) -> Preparation:
    """Check, measure, plan and preprocess a dataset.

    Raises:
        BalrsamError: the dataset has errors, cannot be measured or planned, or another process prepares it.
    """
    dataset = open_dataset(request.raw)
    folder = request.preprocessed / dataset.name
    workers = request.execution.workers
    require_source(folder, dataset.folder)
    with folder_lock(folder), open_executor(request.execution, (dataset.folder, folder)) as executor:
        claim_folder(folder, dataset.folder)
        with start_measuring(folder) as measured:
            checked = scan_once(dataset, folder, measured, executor, workers) if request.verify else None
            extraction = extract_fingerprint(dataset, folder, executor, workers, measured)
        del measured  # 100,000 measurements are not kept while cases are preprocessed
        planned = PreprocessedFolder(folder).planned(request.name).path
        kept = _kept(request, extraction)
        plan = kept or _plan(request, dataset, extraction)
        names = _chosen(request, plan)
        if kept is None:
            plan = _recommending(plan, names)
            _write_if_new(planned, plan)
        write_folds(PreprocessedFolder(folder).folds, folds_of(dataset))
        write_json(PreprocessedFolder(folder).description, read_json(RawFolder(dataset.folder).description))
        reports = _preprocess(dataset, plan, names, planned, extraction, executor, workers)
    warnings = checked.table() if checked and checked.problems else ""
    return Preparation(folder=planned, plan=plan, extraction=extraction, reports=reports, warnings=warnings)


def scan_once(
    dataset: RawDataset, folder: Path, measured: Measured, executor: Executor | None, workers: int
) -> IntegrityReport | None:
    """Check a dataset, and measure what changed on the way; None where it is as it was when it last passed,
    or a copy of that: names, sizes and dates of all files alike, and contents of the training cases.

    Raises:
        DatasetError: there are errors; the message is their table.
    """
    path = PreprocessedFolder(folder).integrity
    state, as_copied = tree_state_sha256(dataset.folder, file_stamp), tree_state_sha256(dataset.folder)
    before = _passed_before(path)
    if before is not None and before.get(STATE) == state:
        return None
    found = check_files(dataset)
    labelled = {
        case: files
        for case, files in found.training.items()
        if files.label is not None and files.label.is_file()
    }
    changed = changed_cases(dataset, labelled, folder)
    if before is not None and not changed and before.get(AS_COPIED) == as_copied:
        write_json(path, before | {STATE: state})
        return None
    report = scan_dataset(dataset, found, changed, measured, executor, workers)
    errors = report.errors
    write_json(path, {STATE: state, AS_COPIED: as_copied, "passed": not errors, **report.to_json()})
    if errors:
        raise DatasetError(
            dataset.folder,
            found=f"{len(errors)} error(s)\n{report.table()}",
            expected="a dataset without errors",
            fix=errors[0].fix
            if len(errors) == 1
            else "fix them one by one, or those that are mechanical at once: balrsam verify DATASET --fix "
            "NEW_FOLDER",
        )
    return report


def _passed_before(path: Path) -> dict[str, Any] | None:
    """What an earlier check noted that the dataset passed; None where there is none."""
    if not path.is_file():
        return None
    try:
        before = read_json(path)
    except BalrsamError:
        return None
    return before if isinstance(before, dict) and before.get("passed") is True else None


def _kept(request: PlanRequest, extraction: Extraction) -> Plan | None:
    """The plan that is there, where it is to be kept and is of the data as they are now; None where all that
    was decided for it may be decided anew, and where it was made for a CPU by rules alone and here is a GPU.

    Raises:
        PlanError: a user decided something for it, and the data have changed since.
    """
    path = (
        PreprocessedFolder(request.preprocessed / extraction.fingerprint.dataset).planned(request.name).plan
    )
    plan = _readable(path) if request.keep else None
    if plan is None:
        return None
    if plan.fingerprint_sha256 != extraction.fingerprint.sha256():
        if not plan.overrides:
            return None
        raise PlanError(
            path,
            found=f"a plan made with {plan.decisions()}, and data that have changed since",
            expected="a plan of the data as they are now",
            fix=f"plan anew with that: balrsam plan_and_preprocess {plan.dataset}"
            f"{f' --plan {request.name}' if request.name else ''} {_again(path, plan, request.hardware)}; or "
            "without, to have the rules decide",
        )
    if not plan.overrides and plan.gpu_memory_gb == 0 and request.hardware.gpu_memory_gb is not None:
        return None
    LOG.info("%s: kept as it is, %s", path, made_for(plan))
    return plan


def _again(path: Path, plan: Plan, hardware: Hardware) -> str:
    """The options that plan for data of now what the plan in `path` planned for those of then: one that was
    taken over is taken over from itself, since the one that it was taken from may lie anywhere."""
    if "like" in plan.overrides:
        return f"--like {shlex.quote(str(path))}"
    elsewhere = plan.gpu_memory_gb not in (None, hardware.gpu_memory_gb or 0)
    memory = f"--gpu-memory-gb {plan.gpu_memory_gb:g} " if elsewhere else ""
    return memory + plan.decisions()


def _readable(path: Path) -> Plan | None:
    try:
        return read_plan(path) if path.is_file() else None
    except BalrsamError:
        return None


def _plan(request: PlanRequest, dataset: RawDataset, extraction: Extraction) -> Plan:
    if request.like is not None:
        return plan_like(request.like, extraction.fingerprint, dataset.description)
    plan = plan_dataset(extraction.fingerprint, dataset.description, request.hardware, request.overrides)
    network = plan.configurations[plan.default_configuration].network
    asked = request.overrides.backbone is not None  # then training may be given a file of the user's own
    if network.from_scratch or request.hardware.given or asked:  # given: trained on another machine
        return plan
    try:
        obtain(network.base, offline=request.offline)
    except CheckpointError as problem:
        if request.hardware.gpu_memory_gb is not None or request.overrides.checkpoint is not None:
            raise
        without = f"{network.base} could not be had ({problem.found})"
        LOG.warning("%s: planning a network that needs none; %s", without, problem.fix)
        return plan_dataset(
            extraction.fingerprint, dataset.description, request.hardware, request.overrides, without
        )
    return plan


def _chosen(request: PlanRequest, plan: Plan) -> tuple[str, ...]:
    names: list[str] = []
    for name in request.configurations or tuple(plan.configurations):
        names += (plan.default_configuration, *plan.companions) if name == RECOMMENDED else (name,)
    for name in names:
        plan.configuration(name)
    return tuple(dict.fromkeys(names))


def _recommending(plan: Plan, names: Sequence[str]) -> Plan:
    """The plan, where of what it recommends only these configurations were asked for."""
    first = plan.default_configuration if plan.default_configuration in names else names[0]
    beside = tuple(name for name in plan.companions if name in names and name != first)
    return replace(plan, default_configuration=first, companions=beside)


def _write_if_new(folder: Path, plan: Plan) -> None:
    path = PlanFolder(folder).plan
    before = _readable(path)
    if before == plan:
        return
    if before is not None and before.sha256() != plan.sha256():
        tell_replaced(path, before, plan)
    write_versioned(path, plan)


def _preprocess(
    dataset: RawDataset,
    plan: Plan,
    names: tuple[str, ...],
    folder: Path,
    extraction: Extraction,
    executor: Executor | None,
    workers: int,
) -> tuple[PreprocessReport, ...]:
    """Preprocess one configuration per store: those that share a store share its cases."""
    contents = {case.case: case.content_sha256 for case in extraction.fingerprint.cases}
    stores = {store_folder(folder, plan.configuration(name)): name for name in names}
    return tuple(
        preprocess_cases(dataset, plan, name, folder, contents, executor, workers) for name in stores.values()
    )
