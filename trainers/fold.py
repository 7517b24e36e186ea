"""Training one fold from data to validated weights: puts the parts together, goes on from checkpoints, ends
with scores."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import time
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import torch

from balrsam_pipeline import __version__
from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.execution import default_workers, folder_lock
from balrsam_pipeline.files import atomic_path, read_json, write_json
from balrsam_pipeline.layout import FoldFolder, ModelFolder, RawFolder
from balrsam_pipeline.logs import also_logged_to
from balrsam_pipeline.paths import launcher_environment, shown
from balrsam_pipeline.plan import read_plan, write_versioned
from balrsam_pipeline.progress import in_words, phase
from balrsam_pipeline.serialise import to_json
from evaluation import Summary, read_summary
from trainers.changed_cases import refuse_changed_cases
from trainers.changed_settings import as_begun
from trainers.checkpoints import CheckpointFolder, read_checkpoint
from trainers.config import TrainingConfig
from trainers.data import FoldData, open_fold
from trainers.initial_weights import require_starting_points
from trainers.memory_errors import named_memory_errors
from trainers.opening import expected_by_log, opening_lines
from trainers.parallel import Ranks, joined_ranks, local_device, name_lost_ranks
from trainers.request import FoldResult, TrainRequest
from trainers.resume import refuse_changed_settings
from trainers.setup import assemble
from trainers.stopping import StopRequest, TrainingStopped, stop_on_signals
from trainers.validation import forget_scores, validate_fold, was_interrupted

LOG = logging.getLogger(__name__)


def train_fold(request: TrainRequest) -> FoldResult:
    """Train a fold, or go on where it stopped, then validate it on whole images (fold "all" has none to
    validate on). What is done already is not done again.

    Raises:
        TrainingError: data are missing, settings or cases changed, the loss stays non-finite, memory or disk
            run out.
        TrainingStopped: a signal asked to stop; all is saved and the same call goes on.
    """
    _take_threads(request)
    data = open_fold(request)
    network = data.configuration.network
    require_starting_points(network, request.base, request.init_from, request.planning)
    world_size = launcher_environment()["world_size"]
    begun = CheckpointFolder(data.folder).begun()
    config = request.config
    if begun is not None:
        refuse_changed_cases(data, begun)
        of_file = request.epochs_of_settings and not request.accept_changed_settings
        config = as_begun(config, begun["settings"], epochs_of_file=of_file)
    config = config.completed(data.configuration, world_size, data.training_cases)
    if config.patience is not None and not data.fold.val:
        raise TrainingError(
            "training setting 'patience'",
            found="a fold without validation cases",
            expected="a validation to be patient for",
            fix="train a fold of the cross-validation, or without --patience",
        )
    device = local_device(request.device)
    files, first = FoldFolder(data.folder), launcher_environment()["rank"] == 0
    with also_logged_to(files.text_log) if first else nullcontext():
        if first and begun is not None:
            _say_what_is_not_heeded(request, config)
        with joined_ranks(device) as ranks:
            done = _train_if_due(request, data, config, ranks)
        if not first or not data.fold.val:  # ranks have parted: none waits for the validation
            if first:
                LOG.info("%s: trained on all cases; nothing validates it", shown(data.folder))
            return FoldResult(folder=data.folder, summary=None, already_done=done)
        scored = _scores(data) if done else None
        if scored is not None:
            LOG.info("%s: trained and validated already; nothing to do", shown(data.folder))
            return FoldResult(folder=data.folder, summary=scored, already_done=True)
        with folder_lock(data.folder):
            summary = _validate(request, data, device)
    return FoldResult(folder=data.folder, summary=summary, already_done=False)


def _scores(data: FoldData) -> Summary | None:
    """The scores of the fold's validation cases; None where there are none, or of other cases."""
    path = FoldFolder(data.folder).validation.summary
    summary = read_summary(path) if path.is_file() else None
    return summary if summary is not None and set(summary.cases) == set(data.fold.val) else None


def _say_what_is_not_heeded(request: TrainRequest, config: TrainingConfig) -> None:
    """What of a request a fold that was begun leaves aside, going on with `config`."""
    if request.init_from is not None:
        LOG.info(
            "fold %s was begun: it goes on from its own checkpoint, and --init-from %s is not read again",
            request.fold,
            request.init_from,
        )
    if config.epochs is None and request.config.epochs is not None:
        LOG.info(
            "fold %s was begun by its minutes or steps alone, as earlier versions did, and goes on so: the "
            "%d epochs of --settings do not end it",
            request.fold,
            request.config.epochs,
        )


def validate_trained(request: TrainRequest) -> FoldResult:
    """Validate a trained fold with the plan that it was trained with. Predictions and scores of the final
    checkpoint are made again; those of another kind have a folder of their own.

    Raises:
        TrainingError: there is no such checkpoint, the fold has no validation cases, or its cases are not
            those that the weights were trained with.
    """
    _take_threads(request)
    data = open_fold(request)
    files = FoldFolder(data.folder)
    checkpoint = files.checkpoint(request.weights)
    if not data.fold.val or not checkpoint.is_file():
        raise TrainingError(
            checkpoint,
            found="no such file"
            if data.fold.val
            else "a model of all cases, which leaves none to validate on",
            expected="a trained fold with cases to validate",
            fix=f"train it: balrsam train {request.dataset.name} --fold {request.fold}"
            if data.fold.val
            else "validate a fold of the cross-validation, or score its predictions of other images",
        )
    refuse_changed_cases(data, CheckpointFolder(data.folder).header(request.weights) or {})
    plan = read_plan(ModelFolder(data.folder.parent).plan)
    data = replace(data, plan=plan, configuration=plan.configuration(data.configuration.name))
    require_starting_points(data.configuration.network, request.base, None, request.planning)
    with also_logged_to(files.text_log), folder_lock(data.folder):
        summary = _validate(request, data, local_device(request.device))
    return FoldResult(folder=data.folder, summary=summary, already_done=False)


def _take_threads(request: TrainRequest) -> None:
    if request.threads is not None:
        torch.set_num_threads(request.threads)


def _train_if_due(request: TrainRequest, data: FoldData, config: TrainingConfig, ranks: Ranks) -> bool:
    """Train, unless that is done; returns whether it was: the first rank looks, all do as it says."""
    with folder_lock(data.folder) if ranks.first else nullcontext():
        done = False
        if ranks.first:
            checkpoints = CheckpointFolder(data.folder)
            checkpoints.remove_leftovers()
            done = _finished(checkpoints, data, config, request)
            if not done:
                forget_scores(data.folder)
                _write_model_folder(data)
        with name_lost_ranks(ranks):
            done, _ = ranks.agree(done, 0.0)
        if not done:
            _train(request, data, config, ranks)
    return done


def _validate(request: TrainRequest, data: FoldData, device: torch.device) -> Summary:
    """Validate on whole images, having said how long that takes."""
    cases, began = len(data.fold.val), time.monotonic()
    expected_s, source = expected_by_log(data)
    goes_on = was_interrupted(FoldFolder(data.folder).validation_with(request.weights))
    LOG.info(
        "fold %s: %s %d cases on whole images%s",
        request.fold,
        "going on to validate" if goes_on else "validating",
        cases,
        f", about {in_words(expected_s)} ({source})" if expected_s is not None else "",
    )
    with phase(f"validation of fold {request.fold}") as going:
        if expected_s is not None:
            going.expect(expected_s)
        workers = request.threads or default_workers()
        summary = validate_fold(data, request.weights, request.base, device, workers)
    if request.weights == "final" and not goes_on:
        _note(data, {"validation_s": round(time.monotonic() - began, 1)})
    return summary


def _finished(
    checkpoints: CheckpointFolder, data: FoldData, config: TrainingConfig, request: TrainRequest
) -> bool:
    """Whether the final weights are there, made with these settings; with changed settings that were
    accepted, they are not."""
    final = checkpoints.path("final")
    if not final.exists():
        return False
    checkpoint = read_checkpoint(final)
    refuse_changed_settings(checkpoint, config, data.plan.sha256(), request.accept_changed_settings)
    if not refuse_changed_settings(checkpoint, config, data.plan.sha256(), accepted=True):
        return True
    LOG.warning(
        "%s: settings have changed, and that was accepted: its final weights and validation are removed, and "
        "training goes on from the latest checkpoint",
        shown(data.folder),
    )
    forget_scores(data.folder)
    final.unlink()
    shutil.rmtree(FoldFolder(data.folder).validation.path, ignore_errors=True)
    return False


def _train(request: TrainRequest, data: FoldData, config: TrainingConfig, ranks: Ranks) -> None:
    with (
        stop_on_signals() as stop,
        named_memory_errors(request, data, config) as begun,
        assemble(request, data, config, ranks, stop) as run,
    ):
        begun.append(run)
        if ranks.first:
            _note_start(data, config, run.state.step, ranks.device)
            for line in opening_lines(request, data, config, run):
                LOG.info("%s", line)
        with name_lost_ranks(ranks):
            used = run.trainer.run()
    if used and ranks.first:
        LOG.info(
            "fold %s: trained %d steps in %s",
            request.fold,
            run.state.step,
            in_words(run.run_state.budget.used_s()),
        )
    if used and ranks.first:  # last, when progress.png is drawn: its presence says that training is complete
        _note(
            data,
            {
                "finished": _now(),
                "steps": run.state.step,
                "training_s": round(run.run_state.budget.used_s(), 1),
            },
        )
        run.run_state.save(run.checkpoints, run.state, "final")
    if not used:
        raise _stopped(stop, data, run.state.step)


def _stopped(stop: StopRequest, data: FoldData, step: int) -> TrainingStopped:
    return TrainingStopped(
        data.folder,
        found=f"{stop.signal_name or 'a signal to another rank'} after step {step}; saved",
        expected="to train until the budget is used",
        fix="run the same command again: it goes on from there (exit code 75 asks a scheduler to do so)",
    )


def _write_model_folder(data: FoldData) -> None:
    """Put plan.json and dataset.json where prediction looks for them.

    Raises:
        TrainingError: folds trained with another plan are there.
        PlanError: the plan there is damaged.
    """
    model = ModelFolder(data.folder.parent)
    trained = [fold for fold in map(model.fold, model.all_folds()) if fold.has_checkpoint()]
    if model.plan.is_file() and trained and read_plan(model.plan).sha256() != data.plan.sha256():
        others = [fold.path.name for fold in trained if fold.path != data.folder]
        if others:
            raise TrainingError(
                model.plan,
                found=f"another plan than the preprocessed dataset's; trained with it: {', '.join(others)}",
                expected="all folds trained with one plan",
                fix="train into another --results, or delete those folds",
            )
    write_versioned(model.plan, data.plan)
    with atomic_path(model.description) as temporary:
        shutil.copyfile(RawFolder(data.raw.folder).description, temporary)


def _note_start(data: FoldData, config: TrainingConfig, step: int, device: torch.device) -> None:
    start = {"time": _now(), "step": step, **_machine(device)}
    path = FoldFolder(data.folder).run
    earlier = read_json(path, TrainingError)["starts"] if step and path.is_file() else []
    write_json(
        path,
        {
            "dataset": data.plan.dataset,
            "configuration": data.configuration.name,
            "plan_sha256": data.plan.sha256(),
            "training_cases": list(data.fold.train),
            "validation_cases": list(data.fold.val),
            "settings": to_json(config),
            "starts": [*earlier, start],
        },
    )


def _machine(device: torch.device) -> dict[str, str | int]:
    """What a run ran on: processor, device, and the versions that shape results."""
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine()
    )
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "balrsam_pipeline": __version__,
        "device": str(device),
        "device_name": name,
        "cpu_cores": os.cpu_count() or 1,
        "torch_threads": torch.get_num_threads(),
    }


def _note(data: FoldData, facts: dict[str, Any]) -> None:
    path = FoldFolder(data.folder).run
    write_json(path, read_json(path, TrainingError) | facts)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
