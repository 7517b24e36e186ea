"""The entry point of a container: one case as grand-challenge hands it over, or a folder of them as FLARE
does."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.dataset import CaseFiles, prediction_name, read_description
from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.imageio import read_label, write_label
from balrsam_pipeline.inference.challenge.settings import (
    ContainerSettings,
    Contract,
    model_folder_of,
    read_settings,
)
from balrsam_pipeline.inference.challenge.sockets import INPUTS, OUTPUT, case_of
from balrsam_pipeline.inference.inputs import find_cases
from balrsam_pipeline.inference.members import Member
from balrsam_pipeline.inference.model_folder import load_predictor
from balrsam_pipeline.inference.predict_cases import FileOptions, predict_cases
from balrsam_pipeline.inference.predictor import PredictorOptions
from balrsam_pipeline.layout import ModelFolder
from balrsam_pipeline.paths import look_for_checkpoints_in

LOG = logging.getLogger(__name__)
FAILED = 1


@dataclass(frozen=True, slots=True)
class Places:
    """Where a contract has its inputs and outputs."""

    inputs: Path
    outputs: Path


CONTRACTS: Mapping[Contract, Places] = {
    "grand-challenge": Places(Path("/input"), Path("/output")),
    "flare": Places(Path("/workspace/inputs"), Path("/workspace/outputs")),
}


def main(container: Path, argv: Sequence[str] | None = None) -> int:
    """Predict what is in the input folder; all that is said goes to standard output, since grand-challenge
    shows anything on standard error as a warning.

    Args:
        container: the container's own folder.

    Returns:
        0 when all is predicted, 1 when a case failed, 2 when nothing could be done.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout, force=True)
    logging.captureWarnings(True)
    try:
        model = model_folder_of(container)
        settings = read_settings(model)
        places = CONTRACTS[settings.contract]
        parser = argparse.ArgumentParser()
        parser.add_argument("--input", type=Path, default=places.inputs)
        parser.add_argument("--output", type=Path, default=places.outputs)
        arguments = parser.parse_args(argv)
        look_for_checkpoints_in(model / "checkpoints")
        run = _flare if settings.contract == "flare" else _grand_challenge
        return run(settings, model, Places(arguments.input, arguments.output))
    except BalrsamError as problem:
        LOG.error("%s: %s", type(problem).__name__, problem)
        return problem.exit_code


def _grand_challenge(settings: ContainerSettings, model: Path, places: Places) -> int:
    """One case: its images from sockets, its label map as one compressed MetaImage of a fixed name."""
    target = places.outputs / settings.output_path / f"{OUTPUT}.mha"
    if not (places.inputs / INPUTS).is_file():
        LOG.error("%s: no %s, which names what came in", places.inputs, INPUTS)
        return BalrsamError.exit_code
    with tempfile.TemporaryDirectory() as scratch:
        case = case_of(places.inputs, settings.input_slugs, Path(scratch) / "inputs")

        def keep(path: Path) -> None:
            label = read_label(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_label(target, label.data[0], label.geometry)

        return _predicted(settings, model, {case.case: case}, keep, Path(scratch) / "outputs")


def _flare(settings: ContainerSettings, model: Path, places: Places) -> int:
    """A folder of cases CASE_0000.nii.gz, each to CASE.nii.gz; one at a time, since memory is scored."""
    first = ModelFolder(model / settings.models[0])
    description = read_description(first.description)
    inputs = find_cases([places.inputs], len(description.channel_names), description.file_ending)
    with tempfile.TemporaryDirectory() as scratch:

        def keep(path: Path) -> None:
            places.outputs.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, places.outputs / path.name)

        code = _predicted(settings, model, inputs.cases, keep, Path(scratch))
    for case, problem in inputs.refused.items():
        LOG.error("%s: %s", case, problem)
    return FAILED if inputs.refused else code


def _predicted(
    settings: ContainerSettings,
    model: Path,
    cases: Mapping[str, CaseFiles],
    keep: Callable[[Path], None],
    scratch: Path,
) -> int:
    """Predict cases and hand each label map to `keep`."""
    options = PredictorOptions(mirror=settings.mirror, tile_step=settings.tile_step)
    members = [
        Member(load_predictor(model / name, folds, options, settings.checkpoint), weight)
        for name, folds, weight in zip(settings.models, settings.folds, settings.weights, strict=True)
    ]
    chosen = FileOptions(postprocessing=settings.postprocessing, workers=1)
    report = predict_cases(members, cases, scratch, chosen)
    for case, files in cases.items():
        if case not in report.failed:
            keep(scratch / prediction_name(files))
    for case, problem in report.failed.items():
        LOG.error("%s: %s", case, problem)
    return FAILED if report.failed else 0
