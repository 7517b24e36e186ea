"""The sub-commands `train` and `crossval`."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from balrsam_pipeline.command import Command, CommandFiles, add_roots, roots_of
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.execution.cli_options import add_cluster_arguments, cluster_of
from balrsam_pipeline.folds import fold_number
from balrsam_pipeline.hardware import checked_device, chosen_devices
from balrsam_pipeline.layout import ModelFolder, ResultsFolder
from balrsam_pipeline.options import add_options, given
from balrsam_pipeline.paths import find_dataset, launcher_environment
from balrsam_pipeline.plan_names import UNNAMED, model_name
from balrsam_pipeline.terminal import painted
from trainers.stopping import stop_before_training

if TYPE_CHECKING:
    from trainers.config import TrainingConfig
    from trainers.request import TrainRequest


VALIDATED = ("final", "best", "latest")  # checkpoints that --only-validate takes


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam train`."""
    parser.add_argument("dataset", help="a dataset: folder name, number, or path")
    _add_common(parser)


def add_crossval_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam crossval`."""
    parser.add_argument("dataset", help="a dataset: folder name, number, or path")
    parser.add_argument(
        "--folds", nargs="+", type=fold_number, metavar="N", help="folds to train (default: all)"
    )
    parser.add_argument(
        "--parallel-folds",
        nargs="+",
        metavar="DEVICE",
        help="train folds at the same time, one on each device: cuda:0 cuda:1, cpu cpu (which share "
        "the cores), or auto: all GPUs here, without one the cores of the CPU",
    )
    parser.add_argument(
        "--folds-only",
        action="store_true",
        help="with --parallel-folds or --cluster: train and validate the folds, and leave pooling their "
        "scores to the next call",
    )
    parser.add_argument(
        "--configurations",
        nargs="+",
        metavar="NAME",
        help="cross-validate several, on a cluster all at the same time",
    )
    parser.add_argument(
        "--gpus-per-fold",
        type=int,
        default=1,
        metavar="N",
        help="with --cluster: processes that train a fold",
    )
    _add_common(parser, without=("fold", "only_validate"))
    add_cluster_arguments(parser)


def train(arguments: argparse.Namespace) -> int:
    """Run `balrsam train`."""
    with stop_before_training():  # before all else, for libraries take seconds to load
        from balrsam_pipeline.allocator import keep_freed_memory
        from evaluation import summary_table
        from trainers.fold import train_fold, validate_trained

        keep_freed_memory()
        request = _request(arguments)
        result = validate_trained(request) if request.only_validate else train_fold(request)
    if result.summary is not None:
        print(painted(summary_table(result.summary)))
    if launcher_environment()["rank"] == 0:
        print(f"{'already done' if result.already_done else 'done'}: {result.folder}")
    return 0


def crossval(arguments: argparse.Namespace) -> int:
    """Run `balrsam crossval`."""
    with stop_before_training():
        return _crossval(arguments)


def _crossval(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.allocator import keep_freed_memory
    from evaluation import summary_table
    from trainers.crossval import (
        CrossvalRequest,
        cross_validate,
        require_folds_apart,
        train_all_on_cluster,
        train_all_over_devices,
    )
    from trainers.parallel.cluster import ClusterTraining

    keep_freed_memory()
    _refuse_contradictions(arguments)
    folds = tuple(arguments.folds) if arguments.folds else None
    devices = chosen_devices(arguments.parallel_folds or ["none"])
    for device in devices:
        checked_device(device)
    train, cluster = _request(arguments), cluster_of(arguments)
    names = list(dict.fromkeys(arguments.configurations or [arguments.configuration]))
    requests = [
        CrossvalRequest(train=dataclasses.replace(train, configuration=name), folds=folds) for name in names
    ]
    for request in () if arguments.folds_only else requests:
        require_folds_apart(request)
    if cluster is not None:
        train_all_on_cluster(requests, ClusterTraining(cluster=cluster, processes=arguments.gpus_per_fold))
    if devices:
        train_all_over_devices(requests, devices)
    for request in () if arguments.folds_only else requests:
        result = cross_validate(request)
        if not result.repeats:
            print(painted(summary_table(result.summary)))
        print(result.intervals)
        print(f"{'already done' if result.already_done else 'done'}: {result.folder}")
    return 0


def train_files(arguments: argparse.Namespace) -> CommandFiles:
    """What `balrsam train` writes."""
    model = _model(arguments, arguments.configuration)
    fold = model.fold(arguments.fold or 0)

    def finished(path: Path) -> tuple[Path, ...]:
        scored = path.parent == fold.validation.path
        return (fold.validation.summary if scored else fold.checkpoint("final"),)

    made = (model.plan, model.description, fold.checkpoint("final"), fold.validation.path / "*")
    return CommandFiles(outputs=made, finished=finished)


def crossval_files(arguments: argparse.Namespace) -> CommandFiles:
    """What `balrsam crossval` writes: pooled scores; where folds train at the same time, those."""
    models = [_model(arguments, name) for name in arguments.configurations or [arguments.configuration]]
    if arguments.cluster or arguments.parallel_folds:
        folds = [model.fold(fold) for model in models for fold in arguments.folds or model.folds()]
        return CommandFiles(outputs=tuple(fold.checkpoint("final") for fold in folds))
    pooled = [model.crossval for model in models]
    return CommandFiles(
        outputs=tuple(path for scores in pooled for path in (scores.summary, scores.per_case, scores.report)),
        finished=lambda path: tuple(scores.summary for scores in pooled if scores.path == path.parent),
    )


def _model(arguments: argparse.Namespace, configuration: str) -> ModelFolder:
    results = ResultsFolder(roots_of(arguments).results / Path(arguments.dataset).name)
    return results.model(model_name(configuration, arguments.plan or UNNAMED))


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    if arguments.configurations and arguments.configuration:
        raise UsageError(
            "--configurations", found="--configuration as well", expected="one of them", fix="leave one out"
        )
    if arguments.cluster and arguments.parallel_folds:
        raise UsageError(
            "--cluster", found="--parallel-folds as well", expected="one of them", fix="leave one out"
        )
    if arguments.folds_only and not (arguments.cluster or arguments.parallel_folds):
        raise UsageError(
            "--folds-only",
            found="neither --parallel-folds nor --cluster",
            expected="folds that are trained at the same time",
            fix="balrsam train trains one fold",
        )
    if arguments.gpus_per_fold < 1:
        raise UsageError(
            "--gpus-per-fold", found=str(arguments.gpus_per_fold), expected="1 or more", fix="correct it"
        )


def _add_common(parser: argparse.ArgumentParser, without: tuple[str, ...] = ()) -> None:
    from trainers.config import TrainingConfig
    from trainers.request import TrainRequest

    add_options(parser, TrainRequest, without=without)
    add_options(parser, TrainingConfig)
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="JSON file with any settings of trainers.TrainingConfig"
    )
    add_roots(parser)


def _request(arguments: argparse.Namespace) -> TrainRequest:
    from trainers.request import TrainRequest

    roots, chosen = roots_of(arguments), given(arguments, TrainRequest)
    if chosen.get("only_validate") and str(chosen.get("base")) in VALIDATED:
        chosen["weights"] = str(chosen.pop("base"))
    return TrainRequest(
        dataset=find_dataset(arguments.dataset, roots),
        roots=roots,
        config=_config(arguments),
        epochs_of_settings=_has_budget_beside_file(arguments),
        **chosen,
    )


def _has_budget_beside_file(arguments: argparse.Namespace) -> bool:
    """Whether minutes or steps, and no epochs, are given beside a file of settings."""
    typed = arguments.max_minutes is not None or arguments.max_steps is not None
    return arguments.settings is not None and arguments.epochs is None and typed


def _config(arguments: argparse.Namespace) -> TrainingConfig:
    from trainers.config import TrainingConfig, read_training_config

    config = read_training_config(arguments.settings) if arguments.settings else TrainingConfig()
    chosen = given(arguments, TrainingConfig)
    return dataclasses.replace(config, **chosen)


COMMANDS = {
    "train": Command(
        summary="Train one fold, then validate it on whole images; --fold all trains on every case and has "
        "no validation. Stopped or killed, the same command goes on.\n"
        "SIGTERM, SIGINT and SIGUSR1 save and exit with 75.",
        example="balrsam train Dataset004_Hippocampus --configuration 2d --fold 0 --max-minutes 20\n"
        "balrsam train 4 --fold all\nbalrsam train 4 --fold 0 --only-validate --checkpoint best\n"
        "python -m balrsam_pipeline.execution.launch --processes 2 -- train 4 --fold 0",
        add_arguments=add_train_arguments,
        run=train,
        files=train_files,
        how=frozenset({"--workers", "--threads", "--continue-on-worker-loss", "--loggers"}),
        long=True,
    ),
    "crossval": Command(
        summary="Train and validate all folds, one after the other, over devices or on a cluster, and pool "
        "the scores.",
        example="balrsam crossval Dataset004_Hippocampus --configuration 2d --max-minutes 20\n"
        "balrsam crossval 4 --parallel-folds cuda:0 cuda:1\n"
        "balrsam crossval 4 --configurations 2d 2.5d --cluster tcp://scheduler:8786",
        add_arguments=add_crossval_arguments,
        run=crossval,
        files=crossval_files,
        long=True,
    ),
}
