"""The sub-command `run`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from balrsam_pipeline.command import Command, add_roots, roots_of
from balrsam_pipeline.paths import find_dataset
from balrsam_pipeline.plan import read_plan
from balrsam_pipeline.run.steps import RunRequest, Step, planning_step, steps_after_planning


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam run`."""
    parser.add_argument("dataset", help="a dataset: folder name, number, or path")
    parser.add_argument("--configurations", nargs="+", metavar="NAME", help="2d, 2.5d, triplanar (default: the one the plan recommends)")
    parser.add_argument("--folds", nargs="+", type=int, metavar="N", help="folds to train (default: all)")
    parser.add_argument("--max-minutes", type=float, metavar="M", help="training minutes a fold (default: the planned number of epochs)")
    parser.add_argument("--device", help="cuda, cuda:1, cpu, mps (default: the best there is)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes for planning, prediction and scoring (default: one a core)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and run none")
    add_roots(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `balrsam run`."""
    roots = roots_of(arguments)
    request = RunRequest(
        dataset=find_dataset(arguments.dataset, roots),
        roots=roots,
        configurations=tuple(arguments.configurations) if arguments.configurations else None,
        folds=tuple(arguments.folds) if arguments.folds else None,
        max_minutes=arguments.max_minutes,
        device=arguments.device,
        workers=arguments.workers,
    )
    return run_all(request, dry_run=arguments.dry_run)


def run_all(request: RunRequest, dry_run: bool = False) -> int:
    """Carry out every step; stop at the first that fails.

    Returns:
        0 when all is done, 1 when some test cases could not be predicted, otherwise the exit code of the step that stopped it.
    """
    first, plan_file = planning_step(request), request.roots.preprocessed / request.dataset.name / "plan.json"
    if dry_run:
        later = steps_after_planning(request, read_plan(plan_file)) if plan_file.is_file() else ()
        print("\n".join(map(str, (first, *later))))
        return 0
    started = time.monotonic()
    code = _carry_out(first, 1, None)
    if code != 0:
        return code
    steps = steps_after_planning(request, read_plan(plan_file))
    worst = 0
    for number, step in enumerate(steps, 2):
        code = _carry_out(step, number, len(steps) + 1)
        if code not in (0, 1):
            return code
        worst = max(worst, code)
    print(f"\nDone in {(time.monotonic() - started) / 60:.1f} min. Where everything lies:")
    for what, where in _places(request):
        print(f"  {what:<34} {where}")
    return worst


def _carry_out(step: Step, number: int, total: int | None) -> int:
    from balrsam_pipeline.cli import run_command

    print(f"\n[{number}/{total or '?'}] {step.title}\n      {step}", flush=True)
    code = run_command(step.command, step.words)
    if code not in (0, 1):
        print(f"\nStopped at: {step.title} (exit code {code}). Run the same command again to continue.", file=sys.stderr)
    return code


def _places(request: RunRequest) -> list[tuple[str, Path]]:
    """What a run leaves behind and where, as far as it is there."""
    preprocessed = request.roots.preprocessed / request.dataset.name
    places = [
        ("the plan and its reasons", preprocessed / "plan.json"),
        *((f"{folder.name.partition('__')[0]}: models, folds", folder) for folder in sorted(request.results.glob("*__balrsam"))),
        *(
            (f"{report.parents[1].name.partition('__')[0]}: cross-validation report", report)
            for report in sorted(request.results.glob("*__balrsam/crossval/report.html"))
        ),
        ("the best configuration", request.results / "best_configuration.json"),
        ("predictions of imagesTs", request.predictions),
        ("their report", request.predictions / "evaluation" / "report.html"),
    ]
    return [(what, where) for what, where in places if where.exists()]


COMMANDS = {
    "run": Command(
        summary="Everything for a dataset: measure, plan, preprocess, cross-validate, choose the best, predict imagesTs, score.\n"
        "Stopped or killed, the same command continues.",
        example="balrsam run Dataset004_Hippocampus --raw FOLDER_OF_DATASETS --folds 0 --max-minutes 20\n"
        "balrsam run 4 --configurations 2d triplanar",
        add_arguments=add_arguments,
        run=run,
    )
}
