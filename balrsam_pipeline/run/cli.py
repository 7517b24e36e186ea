"""The sub-commands `run` and `status`."""

from __future__ import annotations

import argparse
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path

from balrsam_pipeline.command import Command, add_roots, roots_of
from balrsam_pipeline.errors import PARTLY, UsageError
from balrsam_pipeline.execution.lock import folder_lock
from balrsam_pipeline.folds import numbered
from balrsam_pipeline.layout import PreprocessedFolder, ResultsFolder
from balrsam_pipeline.logs import also_logged_to
from balrsam_pipeline.paths import find_dataset, shown
from balrsam_pipeline.progress import in_words
from balrsam_pipeline.run.arguments import add_run_arguments, request_of
from balrsam_pipeline.run.estimates import trains_one_configuration
from balrsam_pipeline.run.execute import (
    FINISHED,
    HASHES,
    check,
    known_steps,
    records_folder,
    remember_request,
    run_step,
)
from balrsam_pipeline.run.file_hashes import ContentHashes
from balrsam_pipeline.run.invalidate import remove_leftovers
from balrsam_pipeline.run.page_keeper import first_page, page_kept, write_page
from balrsam_pipeline.run.report import dry_run_lines, remembered, status_lines, time_line
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.step import Step
from balrsam_pipeline.run.steps import planning_step
from balrsam_pipeline.run.try_machine import try_machine
from balrsam_pipeline.run.words import shared_words

TRAINING = ("train", "crossval")  # commands before which the machine is tried


def run(arguments: argparse.Namespace) -> int:
    """Run `balrsam run`."""
    return run_all(request_of(arguments), dry_run=arguments.dry_run, wait=arguments.wait)


def run_all(request: RunRequest, dry_run: bool = False, wait: bool = False) -> int:
    """Carry out every step that is not done; stop at the first that fails.

    Args:
        wait: where another run holds the dataset's results, wait for it instead of refusing.

    Returns:
        0 when all is done, 1 when some test cases could not be predicted, otherwise the exit code of the step
        that stopped it.

    Raises:
        UsageError: another run is at work on this dataset.
        DatasetError: a case is validated by several of the folds, whose scores are pooled.
    """
    if dry_run:
        print("\n".join(dry_run_lines(request)))
        return FINISHED
    started = time.monotonic()
    with folder_lock(records_folder(request), wait=wait):
        log = ResultsFolder(request.results).run_log
        print(f"folders of every command: {shared_words(request)}\nlog: {shown(log)}")
        with also_logged_to(log) as note, page_kept(request):
            code = _run_locked(request, note)
    write_page(request)  # once more, when no run goes on any longer
    if code in (FINISHED, PARTLY):
        print(f"\nDone in {in_words(time.monotonic() - started)}. Where everything lies:")
        for what, where in _places(request):
            print(f"  {what:<34} {shown(where)}")
    return code


def _run_locked(request: RunRequest, note: Callable[[str], None]) -> int:
    from balrsam_pipeline.cli import run_command

    folders = (request.preprocessed, request.results)
    remove_leftovers(folders)
    remember_request(request)
    hashes = ContentHashes(records_folder(request) / HASHES)
    first = planning_step(request)
    code = _run_step(first, request, hashes, ("1/?", note))
    if code != FINISHED:
        return code
    _require_folds_apart(request)
    if expected := time_line(request, hashes):
        print(f"\nThe other steps, {expected}", flush=True)
    steps, worst = known_steps(request)[1:], FINISHED
    checked = request.cluster is not None  # whose workers are other machines
    for number, step in enumerate(steps, 2):
        if not checked and step.command in TRAINING and check(step, request, hashes).status != "done":
            print("\nThis machine:", flush=True)
            tried = try_machine(request, note, run_command)
            if not tried.good:
                print("Training is tried all the same.", flush=True)
            if tried.fold_s is not None and trains_one_configuration(steps):
                print(f"\nBy these steps, {time_line(request, hashes, tried.fold_s)}", flush=True)
            checked = True
        code = _run_step(step, request, hashes, (f"{number}/{len(steps) + 1}", note))
        if code not in (FINISHED, PARTLY):
            return code
        worst = max(worst, code)
    hashes.save()
    remove_leftovers(folders)
    return worst


def _require_folds_apart(request: RunRequest) -> None:
    """Before any fold is trained: the scores of all are pooled in the end.

    Raises:
        DatasetError: a case is validated by several of the folds.
    """
    from balrsam_pipeline.dataset import read_folds, require_validated_once  # brings readers of images along

    path = PreprocessedFolder(request.preprocessed).folds
    folds = read_folds(path)
    require_validated_once(path, folds, numbered(request.folds or range(len(folds))))


def _run_step(
    step: Step, request: RunRequest, hashes: ContentHashes, told: tuple[str, Callable[[str], None]]
) -> int:
    """Do one step, unless it is done; `told` is its number, and what notes a line in the log."""
    from balrsam_pipeline.cli import run_command

    (number, note), state = told, check(step, request, hashes)
    if state.status == "done":
        print(f"[{number}] {step.title}: already done", flush=True)
        return FINISHED
    print(
        f"\n[{number}] {step.title}: {state.status}{f' ({state.why})' if state.why else ''}\n"
        f"      {step.shown()}",
        flush=True,
    )
    note(f"[{number}] {step.shown()}")
    code = run_step(step, state, request, hashes, run_command)
    if code not in (FINISHED, PARTLY):
        print(
            f"\nStopped at: {step.title} (exit code {code}). Run the same command again to continue.",
            file=sys.stderr,
        )
    return code


def _places(request: RunRequest) -> list[tuple[str, Path]]:
    """What a run leaves behind and where, as far as it is there."""
    results = ResultsFolder(request.results)
    models = results.models()
    places = [
        ("one page about all of it", results.index),
        ("the plan and its reasons", request.planned.plan),
        *((f"{model.name}: models, folds", model.path) for model in models),
        *((f"{model.name}: cross-validation report", model.crossval.report) for model in models),
        ("the best configuration", results.best_configuration),
        ("predictions of imagesTs", results.predictions.path),
        ("their report", results.predictions.evaluation.report),
    ]
    return [(what, where) for what, where in places if where.exists()]


def add_status_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam status`."""
    parser.add_argument("dataset", help="a dataset: folder name, number, or path")
    add_roots(parser)


def status(arguments: argparse.Namespace) -> int:
    """Run `balrsam status`."""
    roots = roots_of(arguments)
    request = remembered(RunRequest(dataset=find_dataset(arguments.dataset, roots), roots=roots))
    print("\n".join(status_lines(request)))
    return FINISHED


def add_open_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam open`."""
    parser.add_argument("dataset", help="a dataset: folder name, number, or path")
    parser.add_argument("--no-browser", action="store_true", help="only print the link")
    add_roots(parser)


def open_page(arguments: argparse.Namespace) -> int:
    """Run `balrsam open`."""
    roots = roots_of(arguments)
    dataset = find_dataset(arguments.dataset, roots)
    results = ResultsFolder(roots.results / dataset.name)
    if results.path.is_dir():
        write_page(remembered(RunRequest(dataset=dataset, roots=roots)))
    page = first_page(results)
    if page is None:
        raise UsageError(
            shown(results.path),
            found="no report yet",
            expected="results of which a fold was validated, or images were predicted and scored",
            fix=f"balrsam run {dataset.name}",
        )
    link = page.resolve().as_uri()
    print(link)
    if not arguments.no_browser:
        webbrowser.open(link)
    return FINISHED


COMMANDS = {
    "run": Command(
        summary="Everything for a dataset: measure, plan, preprocess, cross-validate, choose the best, "
        "predict imagesTs, score.\n"
        "Only what is missing or outdated is done; stopped or killed, the same command continues.",
        example="balrsam run Dataset004_Hippocampus --raw FOLDER_OF_DATASETS --folds 0 --max-minutes 20\n"
        "balrsam run 4 --configurations 2d triplanar --dry-run",
        add_arguments=add_run_arguments,
        run=run,
        long=True,
    ),
    "status": Command(
        summary="What of a run is done, running, failed, to do, on one screen.",
        example="balrsam status Dataset004_Hippocampus --raw FOLDER_OF_DATASETS",
        add_arguments=add_status_arguments,
        run=status,
    ),
    "open": Command(
        summary="Open the page about a dataset's results in a browser, and print its link.",
        example="balrsam open Dataset004_Hippocampus\nbalrsam open 4 --no-browser",
        add_arguments=add_open_arguments,
        run=open_page,
    ),
}
