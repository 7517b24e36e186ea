"""The sub-commands `plan_and_preprocess` and `verify`; heavy imports happen inside the functions that run."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from balrsam_pipeline.command import Command, CommandFiles, add_roots, roots_of
from balrsam_pipeline.errors import PARTLY, UsageError
from balrsam_pipeline.execution.cli_options import add_execution_arguments, execution_of
from balrsam_pipeline.layout import PlanFolder, PreprocessedFolder, StoredFiles, stored_files
from balrsam_pipeline.paths import find_dataset
from balrsam_pipeline.plan import Backbone, Plan
from balrsam_pipeline.plan_names import RECOMMENDED, UNNAMED, plan_name
from balrsam_pipeline.protect import require_folder_place

if TYPE_CHECKING:
    from balrsam_pipeline.preprocessing.conservation import LabelVoxels
    from planners.overrides import Overrides
    from planners.plan_and_preprocess import Preparation

LOG = logging.getLogger(__name__)
CONFIGURATIONS = ("2d", "2.5d", "triplanar", "3d")
SHOWN_LOSSES = 20  # cases


def add_planning_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam plan_and_preprocess`."""
    parser.add_argument("dataset", metavar="DATASET", help="folder name, number or path of a raw dataset")
    parser.add_argument(
        "--configurations",
        nargs="+",
        choices=(*CONFIGURATIONS, RECOMMENDED),
        help="those to preprocess; recommended: the plan's default and its companions (default: all that "
        "suit)",
    )
    _add_overrides(parser)
    parser.add_argument(
        "--like", metavar="PLAN", help="take over the plan of another dataset: its name, folder or plan.json"
    )
    parser.add_argument(
        "--plan",
        type=plan_name,
        default=UNNAMED,
        metavar="NAME",
        help="name this plan, which then lies beside the dataset's others",
    )
    parser.add_argument(
        "--keep-plan",
        action="store_true",
        help="keep the plan that is there where it is of the data as they are now: check, measure and "
        "preprocess alone",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core)")
    parser.add_argument("--no-verify", action="store_true", help="skip the integrity check")
    parser.add_argument("--offline", action="store_true", help="fetch nothing (also: balrsam_offline=1)")
    add_execution_arguments(parser)
    add_roots(parser)


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    """What the user decides instead of the rules."""
    parser.add_argument(
        "--gpu-memory-gb",
        type=float,
        metavar="GB",
        help="memory to plan for; 0 is a CPU (default: that of the GPU here)",
    )
    parser.add_argument("--device", choices=("cpu",), help="plan for the CPU here, though there may be a GPU")
    parser.add_argument(
        "--backbone",
        choices=get_args(Backbone),
        help="SAM's encoder (default: by memory and checkpoints at hand)",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="NAME",
        help="the published checkpoint to adapt (default: by channel names and memory; "
        "balrsam download_checkpoint --list)",
    )
    parser.add_argument(
        "--input-size",
        type=int,
        metavar="PIXELS",
        help="whole slices at this longer side, a multiple of 16",
    )
    parser.add_argument(
        "--tiles", type=int, metavar="PIXELS", help="tiles of this side at full resolution, a multiple of 16"
    )
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="slices per training step (default: what memory holds)"
    )
    parser.add_argument(
        "--spacing",
        type=float,
        nargs=3,
        metavar=("Z", "Y", "X"),
        help="target spacing in mm (default: by the data)",
    )


def planning_files(arguments: argparse.Namespace) -> CommandFiles:
    """What `balrsam plan_and_preprocess` writes."""
    files = PreprocessedFolder(roots_of(arguments).preprocessed / Path(arguments.dataset).name)
    measured = (files.fingerprint, files.fingerprint_quantiles)

    def finished(path: Path) -> tuple[Path, ...]:
        stored = stored_files(path)
        if stored is not None and path.parent != planned.path:
            return stored.facts, StoredFiles(path.parent, path.stem).facts  # a case may be called X_label
        return (files.fingerprint_sources,) if path in measured else ()

    planned = files.planned(arguments.plan)
    outputs = (planned.plan, files.folds, files.description, *measured, planned.path / "*/*")
    return CommandFiles(outputs=outputs, finished=finished)


def run_planning(arguments: argparse.Namespace) -> int:
    """Run `balrsam plan_and_preprocess`; 1 where cases failed and the others are done."""
    from balrsam_pipeline.execution import start_workers_early

    if arguments.workers != 1 and not arguments.cluster:
        start_workers_early()
    from balrsam_pipeline.execution import default_workers
    from planners.hardware import detect_hardware
    from planners.overrides import Overrides
    from planners.plan_and_preprocess import PlanRequest, plan_and_preprocess
    from planners.plan_like import find_plan

    roots = roots_of(arguments)
    execution = execution_of(arguments, arguments.workers or default_workers())
    spacing = arguments.spacing
    overrides = Overrides(
        backbone=arguments.backbone,
        checkpoint=arguments.checkpoint,
        input_size=arguments.input_size,
        tiles=arguments.tiles,
        batch_size=arguments.batch_size,
        spacing_mm=(spacing[0], spacing[1], spacing[2]) if spacing else None,
    )
    _refuse_contradictions(arguments, overrides)
    request = PlanRequest(
        raw=find_dataset(arguments.dataset, roots),
        preprocessed=execution.shared(roots.preprocessed),
        hardware=detect_hardware(arguments.gpu_memory_gb, cpu=arguments.device == "cpu"),
        overrides=overrides,
        configurations=tuple(arguments.configurations) if arguments.configurations else None,
        like=find_plan(arguments.like, roots.preprocessed) if arguments.like else None,
        execution=execution,
        verify=not arguments.no_verify,
        offline=arguments.offline or None,
        name=arguments.plan,
        keep=arguments.keep_plan,
    )
    return _report(plan_and_preprocess(request), request.name)


def _refuse_contradictions(arguments: argparse.Namespace, overrides: Overrides) -> None:
    decided = ", ".join(overrides.as_text())
    if arguments.like and decided:
        raise UsageError(
            f"--like {arguments.like}",
            found=f"together with {decided}",
            expected="a plan taken over as it is, or decisions of your own",
            fix="leave out --like, or the others",
        )
    if arguments.keep_plan and (decided or arguments.like):
        raise UsageError(
            "--keep-plan",
            found=f"together with {decided or '--like'}",
            expected="the plan that is there, or another one",
            fix="leave out --keep-plan, or the others",
        )


def _report(preparation: Preparation, plan_called: str) -> int:
    if preparation.warnings:
        print(preparation.warnings)
    plan, cases = preparation.plan, len(preparation.extraction.fingerprint.cases)
    print(f"{plan.dataset}: {cases} cases, {len(preparation.extraction.measured)} measured anew")
    for name, configuration in plan.configurations.items():
        size = " × ".join(map(str, configuration.patch_shape))
        mark = " (default)" if name == plan.default_configuration else ""
        mark = " (its companion)" if name in plan.companions else mark
        print(
            f"  {name}{mark}: {configuration.network.backbone}, patches of {size} voxels, batches of "
            f"{configuration.batch_size}"
        )
    failed = 0
    for report in preparation.reports:
        print(
            f"  {report.folder}: {len(report.written)} cases preprocessed, {len(report.kept)} were there "
            "already"
        )
        for line in _losses(report.losses):
            print(f"  {line}")
        for case, problem in report.failures.items():
            failed += 1
            print(f"  failed: case {case}: {problem}")
    if missing := _missing_checkpoint(plan):
        print(missing)
    named = f" --plan {plan_called}" if plan_called else ""
    where = PlanFolder(preparation.folder).plan
    print(f"plan: {where}    in plain words: balrsam describe {plan.dataset}{named}")
    return PARTLY if failed else 0


def _missing_checkpoint(plan: Plan) -> str:
    """What is said where the planned checkpoint is not on this machine, as after planning for another one."""
    from balrsam_pipeline.network.official_checkpoints import find_checkpoint

    network = plan.configurations[plan.default_configuration].network
    if network.from_scratch or find_checkpoint(network.base) is not None:
        return ""
    return (
        f"checkpoint: {network.base} was not fetched; training fetches it where it has a connection. Where "
        f"it has none: balrsam download_checkpoint {network.base}"
    )


def _losses(losses: Mapping[str, Mapping[str, LabelVoxels]]) -> Iterator[str]:
    """What resampling lost, by case and label; the rest of many is in the cases' JSON files."""
    for case, lost in list(losses.items())[:SHOWN_LOSSES]:
        for name, voxels in lost.items():
            yield (
                f"case {case}: label {name}: {voxels.lost} of {voxels.raw} voxels are lost by resampling"
                + (
                    f": none was left, so {voxels.stored} nearest voxels were given to it"
                    if voxels.restored
                    else ""
                )
            )
    if len(losses) > SHOWN_LOSSES:
        yield f"label voxels are lost in {len(losses) - SHOWN_LOSSES} more cases (label_voxels in CASE.json)"


def add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam verify`."""
    parser.add_argument("dataset", metavar="DATASET", help="folder name, number or path of a raw dataset")
    parser.add_argument(
        "--fix",
        type=Path,
        metavar="NEW_FOLDER",
        help="write a fixed copy here; the dataset itself is never touched",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core)")
    add_roots(parser)


def run_verify(arguments: argparse.Namespace) -> int:
    """Run `balrsam verify`; 1 where there are errors (left)."""
    from balrsam_pipeline.dataset.integrity.check_dataset import check_dataset
    from balrsam_pipeline.execution import default_workers

    workers = arguments.workers or default_workers()
    folder = find_dataset(arguments.dataset, roots_of(arguments))
    if arguments.fix:
        require_folder_place(arguments.fix, "--fix")
        _fix(folder, arguments.fix, workers)
        folder = arguments.fix
    report = check_dataset(folder, workers)
    print(json.dumps(report.to_json(), indent=2) if arguments.json else report.table())
    return PARTLY if any(problem.severity == "error" for problem in report.problems) else 0


def _fix(folder: Path, target: Path, workers: int) -> None:
    """Write the fixed copy, unless it is there already."""
    from balrsam_pipeline.dataset.integrity.check_dataset import check_dataset
    from balrsam_pipeline.dataset.integrity.fix import fix_dataset, made_of
    from balrsam_pipeline.execution.whole_folder import is_made

    if is_made(target, made_of(folder)):
        LOG.info("%s: made already, of %s as it is now; nothing to do", target, folder)
        return
    fix_dataset(folder, check_dataset(folder, workers), target, workers)


COMMANDS = {
    "plan_and_preprocess": Command(
        summary="Measure a dataset, plan every configuration that suits it, and preprocess its cases. Only "
        "what changed is done again.",
        example="balrsam plan_and_preprocess Dataset004_Hippocampus\nbalrsam plan_and_preprocess 4 "
        "--gpu-memory-gb 24 --configurations 2d\nbalrsam plan_and_preprocess 4 --plan wide --input-size 320",
        add_arguments=add_planning_arguments,
        run=run_planning,
        files=planning_files,
        how=frozenset({"--no-verify", "--case-timeout"}),
        long=True,
    ),
    "verify": Command(
        summary="Check a raw dataset: every problem of every case in one report, each with what fixes it.",
        example="balrsam verify Dataset004_Hippocampus\nbalrsam verify Dataset004_Hippocampus --fix "
        "raw/Dataset104_HippocampusMended",
        add_arguments=add_verify_arguments,
        run=run_verify,
        long=True,
    ),
}
