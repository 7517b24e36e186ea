"""The sub-commands of prediction: `predict`, `ensemble`, `export_model`, `install_model`, `export_onnx`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from balrsam_pipeline.command import BEGINS_ANEW, Command, CommandFiles, add_roots, roots_of
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.folds import fold_name
from balrsam_pipeline.inference.arguments import (
    add_base,
    add_model_choice,
    add_models,
    add_prediction_options,
)
from balrsam_pipeline.layout import ModelFolder, PreprocessedFolder
from balrsam_pipeline.paths import shown
from balrsam_pipeline.printable import plural
from balrsam_pipeline.protect import require_file_place
from balrsam_pipeline.terminal import painted

LOG = logging.getLogger(__name__)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-i",
        "--input",
        nargs="+",
        type=Path,
        required=True,
        metavar="PATH",
        help="a folder, image files, a .txt file that lists them, or a folder of DICOM series",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where predictions go; for one case also the name of its mask, such as mask.nii.gz",
    )
    add_model_choice(parser)
    add_prediction_options(parser)
    add_roots(parser)


def _predict(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.allocator import keep_freed_memory
    from balrsam_pipeline.inference.request import predict_from_arguments

    keep_freed_memory()
    report = predict_from_arguments(arguments)
    print(painted(report.table()))
    print(
        f"{plural(len(report.written), 'case')} predicted into {shown(arguments.output)}"
        + (f", {len(report.skipped)} there already" if report.skipped else "")
    )
    if not report.failed:
        return 0
    print(f"{len(report.failed)} failed:")
    for case, problem in report.failed.items():
        print(f"- {case}: {problem}")
    return 1


def _predicted_files(arguments: argparse.Namespace) -> CommandFiles:
    made = (arguments.output / "*",)
    return CommandFiles(outputs=made, outdated=made)


def _add_ensemble(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-i",
        "--input",
        nargs="+",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folders predicted with --save-probabilities",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the averaged predictions go"
    )
    parser.add_argument(
        "--weights", nargs="+", type=float, metavar="W", help="weight of each folder (default: equal)"
    )
    parser.add_argument(
        "--save-probabilities", action="store_true", help="also write the averaged probabilities"
    )
    parser.add_argument("--postprocessing", type=Path, metavar="JSON", help="steps to apply to the result")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="cases at once (default 2)")


def _ensemble(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.inference.ensemble import ensemble_folders
    from balrsam_pipeline.inference.postprocessing import Postprocessing, read_postprocessing

    if arguments.weights is not None and len(arguments.weights) != len(arguments.input):
        raise UsageError(
            "--weights",
            found=f"{len(arguments.weights)} weights",
            expected=f"one for each of {len(arguments.input)} folders",
            fix="add or remove weights",
        )
    if arguments.workers < 1:
        raise UsageError("--workers", found=str(arguments.workers), expected="1 or more", fix="correct it")
    named = arguments.postprocessing
    postprocessing = read_postprocessing(named) if named else Postprocessing()
    weights = arguments.weights or [1.0] * len(arguments.input)
    written = ensemble_folders(
        dict(zip(arguments.input, weights, strict=True)),
        arguments.output,
        postprocessing,
        arguments.save_probabilities,
        arguments.workers,
    )
    print(f"{plural(len(written), 'case')} averaged into {shown(arguments.output)}")
    return 0


def _add_export_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="ZIP", help="the file to write")
    parser.add_argument(
        "--no-fingerprint",
        action="store_true",
        help="leave out the fingerprint, which names the training cases",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file where it is there")
    add_models(parser)
    parser.set_defaults(weights=None, checkpoint="final", base=None)  # what is shared: final weights
    add_roots(parser)


def _export_model(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.inference.request import model_choice
    from balrsam_pipeline.inference.sharing.pack import ExportRequest, export_model
    from balrsam_pipeline.plan import read_plan

    choice = model_choice(arguments)
    require_file_place(arguments.output, (".zip",))
    dataset = read_plan(ModelFolder(choice.folders[0]).plan).dataset
    fingerprint = PreprocessedFolder(roots_of(arguments).preprocessed / dataset).fingerprint
    if not fingerprint.is_file() and not arguments.no_fingerprint:
        LOG.warning(
            "%s: no such file, so the archive goes without the fingerprint; --preprocessed FOLDER says where "
            "it is, --no-fingerprint leaves it out",
            shown(fingerprint),
        )
    request = ExportRequest(
        folders=choice.folders,
        output=arguments.output,
        folds=choice.folds,
        fingerprint=fingerprint if fingerprint.is_file() and not arguments.no_fingerprint else None,
        with_choice=arguments.best,
        overwrite=arguments.overwrite,
    )
    manifest = export_model(request)
    size = sum(item.size_bytes for item in manifest.files.values())
    print(
        f"{arguments.output}: {', '.join(manifest.models)} of {manifest.dataset}, {len(manifest.files)} "
        f"files, {size / 2**20:.1f} MiB"
    )
    return 0


def _add_install_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("archive", type=Path, help="a zip made by export_model")
    parser.add_argument("--overwrite", action="store_true", help="replace a model that is there")
    add_roots(parser)


def _install_model(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.inference.sharing.install import install_model

    for folder in install_model(arguments.archive, roots_of(arguments).results, arguments.overwrite):
        print(f"installed {folder}")
    return 0


def _add_export_onnx(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="ONNX", help="the file to write")
    parser.add_argument(
        "--model", type=Path, required=True, metavar="FOLDER", help="a folder CONFIGURATION__balrsam"
    )
    parser.add_argument(
        "--fold", type=fold_name, default=0, metavar="N", help="which fold (default: 0), or all"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=1,
        metavar="N",
        help="patches per call, fixed in the file (default: 1)",
    )
    add_base(parser)


def _export_onnx(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.inference.sharing.onnx_export import export_onnx

    require_file_place(arguments.output, (".onnx",))
    done = export_onnx(
        arguments.model, arguments.fold, arguments.output, arguments.batch_size, arguments.base
    )
    print(
        f"{done.path}: input {done.shape}, largest difference from PyTorch "
        f"{done.max_difference:.2g}\nsettings {done.settings}"
    )
    return 0


COMMANDS: dict[str, Command] = {
    "predict": Command(
        summary="Segment new images with a trained model, the average of its folds, or an ensemble of "
        "models.",
        example="balrsam predict -i imagesTs -o predictions -d Dataset004_Hippocampus --configuration 2d\n"
        "balrsam predict -i case_0000.nii.gz -o out --model results/Dataset004_Hippocampus/2d__balrsam "
        "--folds 0 1 --no-mirror",
        add_arguments=_add_predict,
        run=_predict,
        files=_predicted_files,
        how=frozenset({"--batch-size", "--case-timeout"}),
        long=True,
        again="run the same command again with --continue: it goes on",
    ),
    "ensemble": Command(
        summary="Average the probabilities of several folders of predictions. (To ensemble models in one "
        "pass: predict --model A B.)",
        example="balrsam ensemble -i predictions_2d predictions_2.5d -o ensemble --weights 2 1",
        add_arguments=_add_ensemble,
        run=_ensemble,
        long=True,
        again=BEGINS_ANEW,
    ),
    "export_model": Command(
        summary="Pack a trained model into one zip to share: weights, plan, labels, scores, postprocessing, "
        "a model card, hashes.",
        example="balrsam export_model -d Dataset004_Hippocampus --configuration 2d -o hippocampus.zip",
        add_arguments=_add_export_model,
        run=_export_model,
        again=BEGINS_ANEW,
    ),
    "install_model": Command(
        summary="Unpack a shared model into the results folder, after checking every name, size and hash.",
        example="balrsam install_model hippocampus.zip",
        add_arguments=_add_install_model,
        run=_install_model,
        again=BEGINS_ANEW,
    ),
    "export_onnx": Command(
        summary="Write the merged network of one fold as ONNX and check it against PyTorch (needs onnx, "
        "onnxscript, onnxruntime).",
        example="balrsam export_onnx --model results/Dataset004_Hippocampus/2d__balrsam --fold 0 -o "
        "hippocampus.onnx",
        add_arguments=_add_export_onnx,
        run=_export_onnx,
        again=BEGINS_ANEW,
    ),
}
