"""From the options of `balrsam predict` to models, cases and settings."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from balrsam_pipeline.command import roots_of
from balrsam_pipeline.dataset import read_description
from balrsam_pipeline.errors import PredictionError, UsageError
from balrsam_pipeline.execution import ExecutionOptions, folder_lock
from balrsam_pipeline.execution.cli_options import execution_of
from balrsam_pipeline.files import read_text, write_text
from balrsam_pipeline.imageio import is_flat
from balrsam_pipeline.inference.best_configuration import read_best
from balrsam_pipeline.inference.chosen_with import rules_of, warn_of_further_folds, warn_of_other_weights
from balrsam_pipeline.inference.cluster import Models, OnCluster
from balrsam_pipeline.inference.dicom.codes import codes_of
from balrsam_pipeline.inference.dicom.inputs import DicomInputs, dicom_inputs
from balrsam_pipeline.inference.inputs import Inputs, find_cases, part_of
from balrsam_pipeline.inference.members import Member
from balrsam_pipeline.inference.model_folder import ModelChoice, find_model, find_results, load_members
from balrsam_pipeline.inference.one_file import names_a_file, predict_one_file
from balrsam_pipeline.inference.postprocessing import Postprocessing, read_postprocessing
from balrsam_pipeline.inference.predict_cases import FileOptions, PredictionReport, predict_cases
from balrsam_pipeline.inference.prediction_json import SeriesRecord
from balrsam_pipeline.inference.predictor import PredictorOptions
from balrsam_pipeline.layout import ModelFolder, PredictionFolder
from balrsam_pipeline.paths import Roots, model_folder
from balrsam_pipeline.plan_names import UNNAMED
from balrsam_pipeline.protect import require_apart, require_folder_place, require_utf8

STARTING = "start"  # the part of a folder that parts hold in turn, to look through it


def predict_from_arguments(arguments: argparse.Namespace) -> PredictionReport:
    """Carry out `balrsam predict`; cases whose files are incomplete are among the failed."""
    require_utf8(arguments.output)
    if not names_a_file(arguments.output):
        require_folder_place(arguments.output)
    choice, settings = model_choice(arguments), predictor_options(arguments)
    _require_room_beside(arguments)
    execution = execution_of(arguments, arguments.workers)
    members = load_members(choice, settings if execution.cluster is None else replace(settings, device="cpu"))
    description = read_description(ModelFolder(choice.folders[0]).description)
    volumes = not is_flat(members[0].predictor.configuration.spacing_mm)
    meant = bool(arguments.series or arguments.codes or arguments.output_format != "nifti")
    with dicom_inputs(
        arguments.input,
        description.channel_names,
        arguments.series,
        volumes=volumes,
        meant=meant,
        part=arguments.part,
    ) as dicom:
        _require_dicom(arguments, dicom)
        if dicom is not None and not dicom.cases and dicom.refused and not arguments.part:
            raise next(iter(dicom.refused.values()))
        paths = [dicom.folder] if dicom is not None else arguments.input
        inputs = Inputs(cases={}, refused={})  # as a part of few studies has
        if dicom is None or dicom.cases:
            inputs = find_cases(paths, members[0].predictor.channels, description.file_ending)
        codes = codes_of(description.labels.names, arguments.codes)  # what is wrong with them is told at once
        records = dicom.records() if dicom is not None else {}
        report = _predict(arguments, choice, settings, members, inputs, records)
        if dicom is None:
            return report
        failed = dicom.export(report.present, arguments.output, arguments.output_format, description, codes)
        return report.with_failures(dicom.refused | failed)


def _require_room_beside(arguments: argparse.Namespace) -> None:
    """One file has nothing beside it.

    Raises:
        UsageError: probabilities are asked for where -o names a file.
    """
    if arguments.save_probabilities and names_a_file(arguments.output):
        raise UsageError(
            arguments.output,
            found="the name of a file, and --save-probabilities",
            expected="a folder, for the label map and the probabilities beside it",
            fix="give -o FOLDER, or leave --save-probabilities out",
        )


def _require_dicom(arguments: argparse.Namespace, dicom: DicomInputs | None) -> None:
    """Options of DICOM are for DICOM, and it needs a folder to write to.

    Raises:
        UsageError: they are given for images of another kind, or the output is one file.
    """
    form = arguments.output_format
    if dicom is None and (form != "nifti" or arguments.series or arguments.codes):
        raise UsageError(
            f"--output-format {form}" if form != "nifti" else "--series, --codes",
            found="images that are no DICOM series",
            expected="-i FOLDER_OF_DICOM",
            fix="leave the option out, or name the folder of the series",
        )
    if form != "nifti" and names_a_file(arguments.output):
        raise UsageError(
            arguments.output,
            found="the name of a file",
            expected=f"a folder, for the label map and the {form} beside it",
            fix="give -o FOLDER",
        )


def _predict(
    arguments: argparse.Namespace,
    choice: ModelChoice,
    settings: PredictorOptions,
    members: Sequence[Member],
    inputs: Inputs,
    series: Mapping[str, SeriesRecord],
) -> PredictionReport:
    """Predict the cases into a folder, or the only one into a file; `series` is what cases of DICOM were read
    from."""
    execution = execution_of(arguments, arguments.workers)
    output: Path = arguments.output
    if not names_a_file(output):
        require_apart(output, [*arguments.input, *inputs.files])
    in_parts = arguments.part and not series  # of which those of the part alone were read
    cases = part_of(inputs.cases, arguments.part) if in_parts else inputs.cases
    options = FileOptions(
        workers=arguments.workers,
        save_probabilities=arguments.save_probabilities,
        skip_existing=arguments.continue_run,
        postprocessing=chosen_postprocessing(arguments, choice),
        case_timeout_s=execution.case_timeout_s,
        grey=arguments.grey,
    )
    weights = tuple(member.predictor.weights_sha256 for member in members)
    runner = _elsewhere(choice, settings, weights, execution)

    def into(folder: Path) -> PredictionReport:
        with folder_lock(folder, part=arguments.part):
            starting = partial(folder_lock, folder, part=STARTING, wait=True)
            report = predict_cases(
                members,
                cases,
                folder,
                options,
                runner,
                {case: series[case] for case in cases if case in series},
                starting if arguments.part else nullcontext,
            )
            labels = read_text(ModelFolder(choice.folders[0]).description, PredictionError)
            write_text(PredictionFolder(folder).description, labels)
        return report

    if names_a_file(output):
        report = predict_one_file(output, inputs.files, len(inputs.cases) + len(inputs.refused), into)
    else:
        report = into(output)
    return report.with_failures(inputs.refused)


def _elsewhere(
    choice: ModelChoice,
    settings: PredictorOptions,
    weights_sha256: tuple[str, ...],
    execution: ExecutionOptions,
) -> OnCluster | None:
    if execution.cluster is None:
        return None
    shared = replace(
        choice,
        folders=tuple(map(execution.shared, choice.folders)),
        base=execution.shared(choice.base) if choice.base is not None else None,
    )
    return OnCluster(Models(shared, settings, weights_sha256), execution)


def model_choice(arguments: argparse.Namespace) -> ModelChoice:
    """The models that `--model`, or `-d` with `--configuration` or `--best`, name.

    Raises:
        UsageError: neither or both are given, or options that would say nothing beside them, or weights do
            not fit.
        PredictionError: no such model.
    """
    if bool(arguments.model) == bool(arguments.dataset):
        raise UsageError(
            "model",
            found="both --model and -d" if arguments.model else "neither --model nor -d",
            expected="one of them",
            fix="give --model FOLDER, or -d DATASET with --configuration NAME or --best",
        )
    _require_one_choice(arguments)
    folds = tuple(arguments.folds) if arguments.folds else None
    postprocessing = Postprocessing()
    if arguments.model:
        folders = tuple(arguments.model)
    elif arguments.best:
        roots = roots_of(arguments)
        results = find_results(arguments.dataset, roots)
        best = read_best(results)
        folders = tuple(model_folder(roots, results.name, name) for name in best.configurations)
        if folds is None:
            warn_of_further_folds(best, folders)
        folds, postprocessing = folds or best.folds, best.postprocessing
        for name, folder in zip(best.configurations, folders, strict=True):
            warn_of_other_weights("the best configuration", folder, folds, best.weights_sha256.get(name, {}))
    else:
        folders = _named(arguments, roots_of(arguments))
    if len(folders) == 1 and not arguments.best:
        postprocessing = rules_of(folders[0], folds)
    weights = tuple(arguments.weights or [1.0] * len(folders))
    if len(weights) != len(folders) or not all(0 < weight < math.inf for weight in weights):
        raise UsageError(
            "--weights",
            found=", ".join(map(str, weights)),
            expected=f"{len(folders)} positive numbers",
            fix="give one weight per model",
        )
    return ModelChoice(
        folders=folders,
        weights=weights,
        folds=folds,
        checkpoint=arguments.checkpoint,
        postprocessing=postprocessing,
        base=arguments.base,
    )


def _require_one_choice(arguments: argparse.Namespace) -> None:
    """Each of these names the models by itself; beside another it would be passed over.

    Raises:
        UsageError: two are given.
    """
    given = {"--configuration": bool(arguments.configuration), "--plan": arguments.plan != UNNAMED}
    leader = "--model" if arguments.model else "--best" if arguments.best else None
    beside = [name for name, here in given.items() if here] + (["--best"] if arguments.best else [])
    others = [name for name in beside if name != leader]
    if leader is not None and others:
        raise UsageError(
            f"{leader} with {', '.join(others)}",
            found="several choices of models",
            expected=f"{leader} alone, which names them already",
            fix=f"leave out {leader}, or {' and '.join(others)}",
        )


def predictor_options(arguments: argparse.Namespace) -> PredictorOptions:
    """How to predict, from the command line.

    Raises:
        UsageError: an option is out of its range.
    """
    for name, value, holds in (
        ("--tile-step", arguments.tile_step, 0 < arguments.tile_step <= 1),
        ("--batch-size", arguments.batch_size, arguments.batch_size is None or arguments.batch_size >= 1),
        ("--workers", arguments.workers, arguments.workers >= 1),
    ):
        if not holds:
            raise UsageError(
                name,
                found=str(value),
                expected="above 0 and at most 1" if name == "--tile-step" else "1 or more",
                fix="correct it",
            )
    return PredictorOptions(
        device=arguments.device,
        mirror=not arguments.no_mirror,
        tile_step=arguments.tile_step,
        batch_size=arguments.batch_size,
        amp=not arguments.no_amp,
    )


def _named(arguments: argparse.Namespace, roots: Roots) -> tuple[Path, ...]:
    names: Sequence[str | None] = arguments.configuration or (None,)
    return tuple(find_model(arguments.dataset, name, roots, arguments.plan) for name in names)


def chosen_postprocessing(arguments: argparse.Namespace, choice: ModelChoice) -> Postprocessing:
    """What is done to predictions: what the command line says, else what was chosen for the models."""
    if arguments.no_postprocessing:
        return Postprocessing()
    return (
        read_postprocessing(arguments.postprocessing) if arguments.postprocessing else choice.postprocessing
    )
