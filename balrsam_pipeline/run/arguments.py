"""The options of `balrsam run`, and what they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from balrsam_pipeline.command import add_roots, roots_of
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.execution.cli_options import add_cluster_arguments, cluster_of
from balrsam_pipeline.folds import fold_name
from balrsam_pipeline.hardware import best_device, checked_device, chosen_devices, cpu_devices
from balrsam_pipeline.layout import RawFolder
from balrsam_pipeline.paths import find_dataset
from balrsam_pipeline.plan_names import UNNAMED, plan_name
from balrsam_pipeline.run.effort import EFFORTS, with_effort
from balrsam_pipeline.run.handed_on import add_handed_on, require_files
from balrsam_pipeline.run.request import RunRequest


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam run`."""
    parser.add_argument("dataset", help="a dataset: folder name, number, or path")
    parser.add_argument(
        "--effort",
        choices=tuple(EFFORTS),
        help="quick: one fold, 10 minutes (GPU: 20); standard: all folds, 20 minutes each (GPU: the planned "
        "epochs); best: every planned configuration, 60 minutes per fold (GPU: the planned epochs), and the "
        "most accurate is taken; what else is given here goes before (default: all folds, planned epochs)",
    )
    parser.add_argument(
        "--configurations",
        nargs="+",
        metavar="NAME",
        help="2d, 2.5d, triplanar, 3d (default: the one the plan recommends, and what it has for cores or "
        "GPUs that would be idle)",
    )
    parser.add_argument(
        "--plan",
        type=plan_name,
        default=UNNAMED,
        metavar="NAME",
        help="plan, train and predict under this name, beside the dataset's other plans",
    )
    parser.add_argument(
        "--folds",
        nargs="+",
        type=fold_name,
        metavar="N",
        help="folds to train (default: those of the cross-validation); all: on all cases, to predict with",
    )
    _add_training(parser)
    _add_where(parser)
    parser.add_argument(
        "--wait", action="store_true", help="where another run works on this dataset, wait until it ends"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the steps, what of them is done and how long the rest will take",
    )
    add_cluster_arguments(parser)
    add_roots(parser)
    add_handed_on(parser)


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-minutes",
        type=float,
        metavar="M",
        help="training minutes per fold (default: the planned number of epochs)",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="training epochs per fold (default: 300, where SAM is adapted 400,000 samples; with "
        "--max-minutes: no limit)",
    )
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="JSON file with any settings of trainers.TrainingConfig"
    )
    parser.add_argument(
        "--accept-changed-settings",
        action="store_true",
        help="train on although settings differ from the start",
    )


def _add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="cuda, cuda:1, cpu, mps (default: the best there is)")
    parser.add_argument(
        "--devices",
        nargs="+",
        default=["auto"],
        metavar="DEVICE",
        help="train at once, one fold on each: auto (default: all GPUs here; without one the cores of the "
        "CPU), none, or cuda:0 cuda:1",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes for planning, choosing and scoring the test cases (default: one per core; folds are "
        "scored by --threads), cases in flight in prediction (default: 3)",
    )


def request_of(arguments: argparse.Namespace) -> RunRequest:
    """What the command line of `balrsam run` asks for.

    Raises:
        UsageError: options contradict each other, or there is no such dataset, device or file.
    """
    roots = roots_of(arguments)
    if arguments.cluster is None and not arguments.dry_run:  # else it is another machine that has them
        for name in filter(None, (arguments.device, *arguments.devices)):
            if name not in ("auto", "none"):
                checked_device(name)
    dataset = find_dataset(arguments.dataset, roots)
    if arguments.cluster is None:
        require_files(arguments)
    _require_dicom(dataset, getattr(arguments, "options", {}).get("predict", {}))
    request = RunRequest(
        dataset=dataset,
        roots=roots,
        plan=arguments.plan,
        configurations=tuple(arguments.configurations) if arguments.configurations else None,
        folds=tuple(arguments.folds) if arguments.folds else None,
        max_minutes=arguments.max_minutes,
        epochs=arguments.epochs,
        settings=arguments.settings,
        accept_changed_settings=arguments.accept_changed_settings,
        device=arguments.device,
        devices=_devices(arguments),
        workers=arguments.workers,
        cluster=cluster_of(arguments),
        options=getattr(arguments, "options", {}),
    )
    if arguments.effort is not None:
        device = arguments.device or str(best_device())
        return with_effort(request, arguments.effort, on_gpu=device.startswith("cuda"))
    return request


def _require_dicom(dataset: Path, options: Mapping[str, tuple[str, ...]]) -> None:
    """Options of DICOM, which the prediction refuses of other images, are refused before the training.

    Raises:
        UsageError: the test images are files of another format.
    """
    from balrsam_pipeline.imageio.formats import known_ending

    given = [name for name in ("--output-format", "--codes", "--series") if name in options]
    if options.get("--output-format") == ("nifti",):  # which suits all images
        given.remove("--output-format")
    folder = RawFolder(dataset).images_ts
    if not given or not folder.is_dir():
        return
    there = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if there and all(map(known_ending, there)):
        raise UsageError(
            ", ".join(given),
            found=f"test images that are no DICOM series: {there[0]}",
            expected="DICOM in imagesTs",
            fix="leave it out, and predict the DICOM series when the run is done: balrsam predict -i FOLDER",
        )


def _devices(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Where folds train at the same time; nowhere by default where one device or a cluster was named.

    Raises:
        UsageError: devices are named beside a device or a cluster.
    """
    beside = [name for name in ("--device", "--cluster") if getattr(arguments, name.strip("-")) is not None]
    if beside and arguments.devices not in (["auto"], ["none"]):
        raise UsageError(
            "--devices",
            found=f"{beside[0]} as well",
            expected="several devices, or one, or a cluster",
            fix="leave one out",
        )
    given = getattr(arguments, "options", {}).get("train", {}).get("--threads")
    threads = int(given[0]) if given else None
    if beside == ["--device"] and arguments.device == "cpu" and arguments.devices == ["auto"]:
        return cpu_devices(threads)
    return () if beside else chosen_devices(arguments.devices, threads)
