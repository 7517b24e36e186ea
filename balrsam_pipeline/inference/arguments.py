"""Options that several commands share: which trained model predicts, and how."""

from __future__ import annotations

import argparse
from pathlib import Path

from balrsam_pipeline.execution.cli_options import add_execution_arguments
from balrsam_pipeline.folds import fold_name
from balrsam_pipeline.plan_names import UNNAMED, plan_name


def add_models(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Options that name trained models and folds of them; returns their group."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="folder(s) CONFIGURATION__balrsam; several are averaged (an ensemble)",
    )
    group.add_argument(
        "-d", "--dataset", help="instead of --model: the dataset that was trained, by name or number"
    )
    group.add_argument(
        "--configuration",
        nargs="+",
        metavar="NAME",
        help="with -d: 2d, 2.5d, triplanar, 3d; several are averaged",
    )
    group.add_argument(
        "--plan",
        type=plan_name,
        default=UNNAMED,
        metavar="NAME",
        help="with -d: the plan, where it has a name",
    )
    group.add_argument(
        "--best",
        action="store_true",
        help="with -d: what find_best_configuration chose, with its postprocessing",
    )
    group.add_argument(
        "--folds",
        nargs="+",
        type=fold_name,
        metavar="N",
        help="folds to average (default: all of the cross-validation that are trained); all: the model that "
        "is trained on all cases",
    )
    return group


def add_model_choice(parser: argparse.ArgumentParser) -> None:
    """Options that say which trained model predicts."""
    group = add_models(parser)
    group.add_argument(
        "--weights",
        nargs="+",
        type=float,
        metavar="W",
        help="weight of each model of an ensemble (default: equal)",
    )
    group.add_argument(
        "--checkpoint",
        choices=("final", "best", "latest"),
        default="final",
        help="which checkpoint (default: final)",
    )
    add_base(group)


def add_base(parser: argparse._ActionsContainer) -> None:
    """The option that names the checkpoint below a model."""
    parser.add_argument(
        "--base",
        type=Path,
        metavar="FILE",
        help="the SAM checkpoint that the model adapts (default: found by its hash)",
    )


def add_prediction_options(parser: argparse.ArgumentParser) -> None:
    """Options that say how to predict and what to write."""
    parser.add_argument(
        "--no-mirror",
        action="store_true",
        help="no averaging over mirrored and rotated copies: faster, a little less accurate",
    )
    parser.add_argument(
        "--tile-step",
        type=float,
        default=0.5,
        metavar="F",
        help="distance of tiles as a fraction of the patch (default 0.5)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="patches per forward pass (default: by device and patch size)",
    )
    parser.add_argument(
        "--no-amp", action="store_true", help="compute in 32 bits where 16 are the default: slower"
    )
    parser.add_argument("--device", help="cuda, cuda:1, cpu, mps (default: the best there is)")
    parser.add_argument(
        "--workers", type=int, default=3, metavar="N", help="cases in flight at once (default 3)"
    )
    parser.add_argument(
        "--continue",
        dest="continue_run",
        action="store_true",
        help="skip cases whose output is there already",
    )
    parser.add_argument(
        "--part", metavar="I/N", help="predict every N-th case, for N machines that share a folder"
    )
    parser.add_argument(
        "--save-probabilities",
        action="store_true",
        help="also write float16 probabilities, for 'balrsam ensemble'",
    )
    parser.add_argument(
        "--grey", action="store_true", help="turn colour pictures into grey ones, for a model of one channel"
    )
    _add_dicom(parser)
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--postprocessing",
        type=Path,
        metavar="JSON",
        help="steps to apply (default: those chosen for the model)",
    )
    group.add_argument("--no-postprocessing", action="store_true", help="apply none")
    add_execution_arguments(parser)


def _add_dicom(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--series",
        nargs="+",
        default=(),
        metavar="WORD",
        help="with DICOM: words of the descriptions (or numbers) of the series to take, one per channel",
    )
    parser.add_argument(
        "--output-format",
        choices=("nifti", "dicom-seg", "rtstruct"),
        default="nifti",
        help="with DICOM: what is written beside the label map as NIfTI (default: nothing)",
    )
    parser.add_argument(
        "--codes", type=Path, metavar="JSON", help="with DICOM: codes and colours of the labels"
    )
