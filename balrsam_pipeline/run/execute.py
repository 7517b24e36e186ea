"""Carrying out a run: every step that is not done, in order, with its record written before and after."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from balrsam_pipeline.errors import PARTLY, PlanError
from balrsam_pipeline.execution import cluster_words
from balrsam_pipeline.files import read_json, write_json
from balrsam_pipeline.layout import PreprocessedFolder, ResultsFolder
from balrsam_pipeline.plan import read_plan
from balrsam_pipeline.run.by_hand import PLANNING, decides_planning, is_made_by_hand, planned
from balrsam_pipeline.run.file_hashes import ContentHashes, find_files
from balrsam_pipeline.run.invalidate import clear_for
from balrsam_pipeline.run.records import Output, StepRecord, begin, record_path, write_record
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.state import StepState, state_of
from balrsam_pipeline.run.step import PREPROCESSED, Step, labels
from balrsam_pipeline.run.steps import planning_step, steps_after_planning
from balrsam_pipeline.run.together import on_cluster, on_devices, trained_together_by

HASHES = "hashes.json"
REQUEST = "request.json"
FINISHED = 0  # and PARTLY: exit codes after which a run goes on
STOPPED = (75, 130)  # asked to stop: by a signal in training, by Ctrl-C
Command = Callable[[str, tuple[str, ...], Callable[[str], None]], int]


def records_folder(request: RunRequest) -> Path:
    """Where a run keeps its records: `results/DATASET/run`."""
    return ResultsFolder(request.results).run


def known_steps(request: RunRequest) -> tuple[Step, ...]:
    """The steps of a run as far as they are known: before there is a plan, the planning alone.

    Raises:
        PlanError: the plan is damaged, or has no such configuration.
    """
    files = PreprocessedFolder(request.preprocessed)
    first = planning_step(request)
    if not (request.planned.plan.is_file() and files.folds.is_file()):
        return (first,)
    folds = read_json(files.folds, PlanError)
    if not isinstance(folds, list):
        raise PlanError(
            files.folds,
            found="no list",
            expected="a list of folds",
            fix="make it anew: balrsam plan_and_preprocess DATASET",
        )
    return (first, *steps_after_planning(request, read_plan(request.planned.plan), range(len(folds))))


def remember_request(request: RunRequest) -> None:
    """Write down what was asked for, so that `balrsam status` can show the same steps."""
    chosen = {
        "plan": request.plan,
        "configurations": request.configurations,
        "every_configuration": request.every_configuration,
        "folds": request.folds,
        "max_minutes": request.max_minutes,
        "epochs": request.epochs,
        "options": request.options,
        "cluster": list(cluster_words(request.cluster)),
        "devices": request.devices,
    }
    settings = str(request.settings.resolve()) if request.settings else None
    write_json(records_folder(request) / REQUEST, {**chosen, "settings": settings})


def run_step(
    step: Step, state: StepState, request: RunRequest, hashes: ContentHashes, command: Command
) -> int:
    """Do one step: clear what is damaged or outdated, call its command, write down how it went.

    Args:
        command: runs a sub-command: (name, words, told of the message where it fails) -> exit code.

    Returns:
        The command's exit code.
    """
    folder = records_folder(request)
    clear_for(step, state, request.bases)
    if step.name in (on_cluster(request), on_devices(request)):
        _forget_folds(step, request, hashes)
    goes_on = state.same_inputs or bool(state.kept_plan)
    words = (*step.words, *step.continues) if goes_on else step.words
    record = begin(step.name, str(step), state.inputs, _cases(state.inputs))
    former = "" if goes_on else state.own_plan
    record = dataclasses.replace(record, kept_plan=state.kept_plan, replaced_plan=former)
    write_record(folder, record)
    started = time.monotonic()
    messages: list[str] = []
    with _noted(folder, record):
        code = command(step.command, words, messages.append)
    if code in STOPPED:
        write_record(folder, dataclasses.replace(record, state="stopped"))
        return code
    if code not in (FINISHED, PARTLY):
        with contextlib.suppress(OSError):  # the disk may be full; the command has said what matters
            write_record(
                folder,
                dataclasses.replace(
                    record, state="failed", message="\n".join(messages) or f"exit code {code}"
                ),
            )
        return code
    files = find_files(step.outputs, request.bases)
    contents = hashes.of(files.values())
    hashes.save()
    untimed = trained_together_by(step.needs, request) is not None or (
        state.record is not None
        and state.record.state in ("running", "stopped", "failed")
        and state.same_inputs
    )
    write_record(
        folder,
        dataclasses.replace(
            record,
            state="done" if code == FINISHED else "partly",
            outputs={
                label: Output(size=path.stat().st_size, sha256=contents[path])
                for label, path in files.items()
            },
            seconds=None if untimed else round(time.monotonic() - started, 2),
        ),
    )
    return code


def _forget_folds(step: Step, request: RunRequest, hashes: ContentHashes) -> None:
    """Before folds are trained at the same time: what of them is damaged goes here, and their own steps then
    take what they find; else they would hold it against their records, and train once more."""
    for other in known_steps(request):
        if step.name in other.needs:
            clear_for(other, check(other, request, hashes), request.bases)
            record_path(records_folder(request), other.name).unlink(missing_ok=True)


def check(step: Step, request: RunRequest, hashes: ContentHashes) -> StepState:
    """Where a step stands now. A plan that can be read is no damage, whoever changed it: it is kept, or what
    plans anew says what it was."""
    state = state_of(step, request.bases, records_folder(request), hashes)
    plan = planned(request) if step.command == PLANNING and state.status != "done" else None
    if plan is None:
        return state
    (file,) = labels(PREPROCESSED.planned(request.plan).plan)
    damaged = tuple(label for label in state.damaged if label != file)
    now = hashes.of([request.planned.plan])[request.planned.plan]
    if state.record is not None and state.record.replaced_plan == now:  # it was stopped before that
        return dataclasses.replace(state, own_plan=now, same_inputs=False, damaged=damaged)
    if file not in state.damaged and not is_made_by_hand(plan, state.record):
        return dataclasses.replace(state, own_plan=now)
    decides = decides_planning(request)
    found = "there is a plan made by hand"
    found += ", and the options of planning given here go before it" if decides else ""
    return dataclasses.replace(
        state,
        kept_plan="" if decides else plan.sha256(),
        damaged=damaged,
        why="; ".join(filter(None, (state.why, found))),
    )


@contextlib.contextmanager
def _noted(folder: Path, record: StepRecord) -> Iterator[None]:
    """Write down an exception that no command should raise, and let it pass."""
    try:
        yield
    except BaseException as problem:
        with contextlib.suppress(OSError):
            write_record(
                folder,
                dataclasses.replace(record, state="failed", message=f"{type(problem).__name__}: {problem}"),
            )
        raise


def _cases(inputs: dict[str, str]) -> int:
    """Images among the inputs: for times per case."""
    return sum(label.startswith("raw/images") for label in inputs)
