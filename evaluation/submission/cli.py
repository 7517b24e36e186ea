"""The sub-command `submit`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from balrsam_pipeline.command import BEGINS_ANEW, Command, add_roots
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.printable import plural
from balrsam_pipeline.whole_numbers import whole_number

if TYPE_CHECKING:
    from evaluation.submission.leaderboards import Form
    from evaluation.submission.request import SubmissionRequest

IN_CONTAINERS = {  # options that a container carries, or that say which and where
    *("output", "format", "format_file", "container", "input_slugs", "output_slug"),
    *("model", "dataset", "configuration", "plan", "best", "folds", "weights", "checkpoint", "base"),
    *("no_mirror", "tile_step", "postprocessing", "no_postprocessing"),
    *("raw", "preprocessed", "results"),
}


def _add_submit(parser: argparse.ArgumentParser) -> None:
    from balrsam_pipeline.inference.arguments import add_model_choice, add_prediction_options

    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="ZIP",
        help="the archive to write (with rle the .csv table, with --container the folder)",
    )
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument(
        "--format-file",
        type=Path,
        metavar="JSON",
        help="a leaderboard by its description in a file",
    )
    form.add_argument(
        "--format",
        choices=("msd", "amos", "isic", "grand-challenge", "flare", "npz", "rle", "plain"),
        help="which leaderboard",
    )
    parser.add_argument(
        "-p",
        "--predictions",
        nargs="+",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="predictions to pack (else the model predicts --images first); of several datasets for one "
        "archive, as msd wants it",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="the test images, which say what must be there; a folder for each of the predictions",
    )
    _add_names_and_values(parser)
    _add_container(parser)
    add_model_choice(parser)
    add_prediction_options(parser)
    add_roots(parser)


def _add_names_and_values(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--template",
        metavar="NAME",
        help='name of each file: "{case}_seg.nii.gz"; fields {case} {dataset} {number} {ending}; of each row '
        "with rle: {case} {slice} {label}",
    )
    parser.add_argument(
        "--label-map",
        nargs="+",
        default=[],
        metavar="OURS=THEIRS",
        help="label values to write instead of ours",
    )
    parser.add_argument(
        "--dataset-json",
        type=Path,
        metavar="FILE",
        help="the dataset's labels (default: beside the predictions)",
    )
    parser.add_argument(
        "--dataset-name",
        metavar="NAME",
        help="for {dataset} and {number} (default: the folder that the images are in)",
    )
    parser.add_argument("--max-megabytes", type=float, metavar="MB", help="refuse a larger archive")


def _add_container(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--container",
        action="store_true",
        help="with grand-challenge or flare: a container folder that holds the model",
    )
    parser.add_argument(
        "--input-slugs",
        nargs="+",
        metavar="SLUG",
        default=["image"],
        help="grand-challenge: sockets of the images, one per channel, in their order",
    )
    parser.add_argument(
        "--output-slug",
        metavar="SLUG",
        default="segmentation",
        help="grand-challenge: the label map goes to /output/images/SLUG",
    )


def _submit(arguments: argparse.Namespace) -> int:
    if arguments.container:
        return _container(arguments)
    from evaluation.submission.leaderboards import FORMS, read_form
    from evaluation.submission.pack import pack_submission
    from evaluation.submission.request import SubmissionRequest
    from evaluation.submission.run_length import pack_run_lengths

    form = read_form(arguments.format_file) if arguments.format_file else FORMS[arguments.format]
    _require_folders(arguments, form)
    limit = arguments.max_megabytes or form.max_megabytes
    theirs = {int(ours): value for ours, value in form.label_map.items()} | _label_map(arguments.label_map)
    requests = [
        SubmissionRequest(
            predictions=predictions,
            images=images,
            form=form,
            output=arguments.output,
            dataset_json=arguments.dataset_json,
            dataset=arguments.dataset_name,
            template=arguments.template,
            label_map=theirs,
            limit_bytes=None if limit is None else int(limit * 2**20),
            workers=arguments.workers,
        )
        for predictions, images in zip(
            arguments.predictions or [_to_be_predicted(arguments)], arguments.images, strict=True
        )
    ]
    if not arguments.predictions:
        _predict_first(arguments, requests[0])
    done = pack_run_lengths(requests[0]) if form.kind == "rle" else pack_submission(*requests)
    for warning in done.warnings:
        print(f"warning: {warning}")
    print(
        f"{plural(done.cases, 'case')} in {done.archive}\nSHA-256 {done.sha256}\n"
        f"manifest {done.manifest}\nreport {done.report}"
    )
    return 0


def _require_folders(arguments: argparse.Namespace, form: Form) -> None:
    """A folder of images for each of the predictions; options of one dataset are not for several.

    Raises:
        UsageError: they do not fit together.
    """
    images, predictions = len(arguments.images), len(arguments.predictions)
    if images != max(1, predictions):
        raise UsageError(
            "--images",
            found=f"{images} folders for {predictions} of predictions" if images else "none",
            expected="the folder of test images" + (" of each, in the same order" if predictions > 1 else ""),
            fix="add --images FOLDER"
            if images < max(1, predictions)
            else "name the folders of predictions: -p",
        )
    given = [
        name
        for name, value in (
            ("--dataset-name", arguments.dataset_name),
            ("--dataset-json", arguments.dataset_json),
            ("--label-map", arguments.label_map),
            ("--format rle", form.kind == "rle"),
        )
        if value
    ]
    if predictions > 1 and given:
        raise UsageError(
            given[0],
            found=f"{predictions} folders of predictions",
            expected="one",
            fix="leave it out: datasets are named by the folders of their images, labels by the dataset.json "
            "beside the predictions",
        )


def _container(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.inference.request import chosen_postprocessing, model_choice, predictor_options
    from evaluation.submission.container import ContainerRequest, write_container

    if arguments.format not in ("grand-challenge", "flare"):
        raise UsageError(
            "--container",
            found=f"--format {arguments.format or arguments.format_file}",
            expected="--format grand-challenge or flare",
            fix="add it",
        )
    _require_carried(arguments)
    choice, how = model_choice(arguments), predictor_options(arguments)
    request = ContainerRequest(
        choice=replace(choice, postprocessing=chosen_postprocessing(arguments, choice)),
        contract=arguments.format,
        folder=arguments.output,
        input_slugs=tuple(arguments.input_slugs),
        output_slug=arguments.output_slug,
        mirror=how.mirror,
        tile_step=how.tile_step,
    )
    folder = write_container(request)
    print(f"container folder {folder}\nbuild and try it: {folder / 'do_test_run.sh'}")
    return 0


def _require_carried(arguments: argparse.Namespace) -> None:
    """Of all that can be said of an archive, a container takes how its models predict.

    Raises:
        UsageError: something else was said.
    """
    parser = argparse.ArgumentParser()
    _add_submit(parser)
    others = [
        action.option_strings[-1]
        for action in parser._actions
        if action.dest not in IN_CONTAINERS
        and getattr(arguments, action.dest, action.default) != action.default
    ]
    if others:
        raise UsageError(
            "--container",
            found=", ".join(others),
            expected="the models, --postprocessing or --no-postprocessing, --no-mirror, --tile-step, and the "
            "names of the sockets: a container decides nothing else",
            fix=f"leave out {', '.join(others)}",
        )


def _to_be_predicted(arguments: argparse.Namespace) -> Path:
    output: Path = arguments.output
    return output.with_name(f"{output.stem}_predictions")


def _predict_first(arguments: argparse.Namespace, request: SubmissionRequest) -> None:
    from balrsam_pipeline.dataset import read_description
    from balrsam_pipeline.inference.request import model_choice, predict_from_arguments
    from balrsam_pipeline.layout import ModelFolder
    from evaluation.submission.pack import require_possible
    from evaluation.submission.run_length import require_table

    labels = request.dataset_json or ModelFolder(model_choice(arguments).folders[0]).description
    if request.dataset_json or labels.is_file():  # without one prediction says what is no model
        check = require_table if request.form.kind == "rle" else require_possible
        check(request, read_description(labels))
    words = {**vars(arguments), "input": arguments.images, "output": request.predictions}
    print(predict_from_arguments(argparse.Namespace(**words)).table())


def _label_map(words: list[str]) -> dict[int, int]:
    mapping = {}
    for word in words:
        ours, theirs = (whole_number(part) for part in word.partition("=")[::2])
        if ours is None or theirs is None:
            raise UsageError(
                "--label-map",
                found=word,
                expected="OURS=THEIRS, whole numbers",
                fix="for example --label-map 1=255",
            )
        mapping[ours] = theirs
    return mapping


COMMANDS: dict[str, Command] = {
    "submit": Command(
        summary="Check predictions as a leaderboard's server would, and pack the archive (or a "
        "grand-challenge container folder).",
        example="balrsam submit --format msd -p predictions --images raw/Dataset004_Hippocampus/imagesTs -o "
        "submission.zip\n"
        "balrsam submit --format msd -p liver spleen --images raw/Dataset003_Liver/imagesTs "
        "raw/Dataset009_Spleen/imagesTs -o all.zip\n"
        "balrsam submit --format grand-challenge --container -d Dataset004_Hippocampus --best -o container\n"
        "balrsam submit --format flare --container -d Dataset004_Hippocampus --best -o team",
        add_arguments=_add_submit,
        run=_submit,
        again=BEGINS_ANEW,
    ),
}
