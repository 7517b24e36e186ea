"""A folder that Docker builds into what a challenge runs: entry point, the package, the weights, scripts that
build, try and save it."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import balrsam_pipeline
from balrsam_pipeline import __version__
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.execution.whole_folder import is_made, tree_state_sha256, whole_folder
from balrsam_pipeline.files import write_json, write_text
from balrsam_pipeline.folds import FoldName
from balrsam_pipeline.layout import ModelFolder
from balrsam_pipeline.serialise import to_json

if TYPE_CHECKING:
    from balrsam_pipeline.inference.challenge.settings import Contract
    from balrsam_pipeline.inference.model_folder import ModelChoice

LOG = logging.getLogger(__name__)
TEMPLATES = Path(__file__).parent / "container_files"
CODE, MODEL, SCRIPT = "code", "model", ".sh"
UNNEEDED = shutil.ignore_patterns("__pycache__", "*.pyc")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRequest:
    """What goes into the container.

    Attributes:
        choice: the models.
        contract: whose container it is.
        folder: made; must not exist or be empty.
        input_slugs: grand-challenge's sockets, one per channel, in the order of channels.
        output_slug: the socket that the label map goes to: /output/images/SLUG.
        mirror: average over mirrored copies.
        tile_step: distance of tiles as a fraction of the patch.
    """

    choice: ModelChoice
    folder: Path
    contract: Contract = "grand-challenge"
    input_slugs: tuple[str, ...]
    output_slug: str
    mirror: bool = True
    tile_step: float = 0.5


def write_container(request: ContainerRequest) -> Path:
    """Write the folder, whole or not at all; returns it. One that is there already, made of the same, is left
    as it is.

    Raises:
        PredictionError: the folder holds something else, a model adapts a SAM checkpoint that is not to be
            found, sockets are neither one nor as many as channels, or rules are for other labels.
    """
    _require_fitting(request)
    made_of = _made_of(request)
    if is_made(request.folder, made_of):
        LOG.info("%s: made already, of the same models; nothing to do", request.folder)
        return request.folder
    if request.folder.exists() and any(request.folder.iterdir()):
        raise PredictionError(
            request.folder,
            found="a folder that is not empty, and was made otherwise",
            expected="a new folder",
            fix="give another -o, or remove it",
        )
    with whole_folder(request.folder, made_of) as folder:
        _fill(request, folder)
    return request.folder


def _require_fitting(request: ContainerRequest) -> None:
    """A socket for each channel, or one whose images hold all of them; rules for labels that there are."""
    from balrsam_pipeline.dataset import read_description
    from balrsam_pipeline.inference.postprocessing import require_rules_fit

    description = read_description(ModelFolder(request.choice.folders[0]).description)
    require_rules_fit(request.choice.postprocessing, description.labels)
    channels = description.channel_names
    if len(request.input_slugs) not in (1, len(channels)):
        raise PredictionError(
            "--input-slugs",
            found=f"{len(request.input_slugs)}: {', '.join(request.input_slugs)}",
            expected=f"{len(channels)}, in the order of the channels: {', '.join(channels)}",
            fix="name one socket per channel",
        )


def _made_of(request: ContainerRequest) -> str:
    """A hash of all that was asked for, and of the weights and plans as they are."""
    states = [tree_state_sha256(model) for model in request.choice.folders]
    asked = to_json(replace(request, folder=Path()))
    return hashlib.sha256(json.dumps([asked, states, __version__], default=str).encode()).hexdigest()


def _fill(request: ContainerRequest, folder: Path) -> None:
    from evaluation.submission.pins import pinned_requirements

    _write_model(request, folder / MODEL)
    code = folder / CODE
    package = Path(balrsam_pipeline.__file__).parent
    shutil.copytree(package, code / package.name, ignore=UNNEEDED)
    _copy_extensions(request.choice, code)
    for template in sorted((TEMPLATES / request.contract).glob("*.txt")):
        name = template.name.removesuffix(".txt")
        target = (code if name.endswith((".py", "predict.sh")) else folder) / name
        write_text(target, template.read_text(encoding="utf-8"))
        if target.suffix == SCRIPT:
            target.chmod(0o755)
    grand_challenge = request.contract == "grand-challenge"
    pins = pinned_requirements(dicom=grand_challenge)  # the other contract gives NIfTI
    write_text(folder / "requirements.txt", "\n".join(pins) + "\n")
    if grand_challenge:
        _write_example(request, folder / "test" / "input")
        write_text(folder / ".dockerignore", f"{MODEL}\ntest\n*.tar.gz\n")


def _write_model(request: ContainerRequest, target: Path) -> None:
    """The weights with the settings beside them."""
    from balrsam_pipeline.inference.challenge.settings import NAME, ContainerSettings
    from balrsam_pipeline.inference.model_folder import trained_folds

    choice, models, chosen = request.choice, [], []
    for number, model in enumerate(choice.folders):
        folds = choice.folds or trained_folds(model, choice.checkpoint)
        copy = target / "models" / str(number) / ModelFolder(model).folder_name
        _copy_model(model, copy, folds, choice.checkpoint)
        models.append(copy.relative_to(target).as_posix())
        chosen.append(folds)
    settings = ContainerSettings(
        contract=request.contract,
        models=tuple(models),
        folds=tuple(chosen),
        weights=choice.weights,
        checkpoint=choice.checkpoint,
        postprocessing=choice.postprocessing,
        input_slugs=request.input_slugs,
        output_path=f"images/{request.output_slug}",
        mirror=request.mirror,
        tile_step=request.tile_step,
    )
    write_json(target / NAME, to_json(settings))
    _copy_bases(choice, target / "checkpoints")


def _write_example(request: ContainerRequest, target: Path) -> None:
    """An input as grand-challenge lays it out, whose folders wait for an image each."""
    from balrsam_pipeline.inference.challenge.sockets import INPUTS

    entries: list[dict[str, Any]] = []
    for slug in request.input_slugs:
        place = f"images/{slug}"
        (target / place).mkdir(parents=True)
        entries.append({"interface": {"slug": slug, "kind": "Image", "relative_path": place}})
    write_json(target / INPUTS, entries)


def _copy_bases(choice: ModelChoice, target: Path) -> None:
    """Copy the SAM checkpoints that the models adapt, so that the container needs no network."""
    from balrsam_pipeline.inference.model_folder import checkpoint_file, trained_folds
    from balrsam_pipeline.network.trained_weights import find_base, read_metadata
    from balrsam_pipeline.plan import read_plan

    for model in choice.folders:
        network = read_plan(ModelFolder(model).plan).configuration(ModelFolder(model).configuration).network
        if network.from_scratch:
            continue
        fold = (choice.folds or trained_folds(model, choice.checkpoint))[0]
        trained = checkpoint_file(model, fold, choice.checkpoint)
        base = choice.base or find_base(trained, read_metadata(trained), network)
        target.mkdir(exist_ok=True)
        shutil.copyfile(base, target / base.name)


def _copy_extensions(choice: ModelChoice, target: Path) -> None:
    """Copy the packages that parts of the networks are in; what these need is for their author to add."""
    from balrsam_pipeline.extensions import load_extension
    from balrsam_pipeline.plan import read_plan

    for model in map(ModelFolder, choice.folders):
        name = read_plan(model.plan).configuration(model.configuration).network.extension
        if not name:
            continue
        load_extension(name, "network part", PredictionError)
        package = name.partition(":")[0].partition(".")[0]
        places = sys.modules[package].__spec__
        folders = list(places.submodule_search_locations or ()) if places is not None else []
        if folders:
            shutil.copytree(folders[0], target / package, ignore=UNNEEDED, dirs_exist_ok=True)
        elif places is not None and places.origin:
            shutil.copyfile(places.origin, target / f"{package}.py")


def _copy_model(model: Path, target: Path, folds: tuple[FoldName, ...], checkpoint: str) -> None:
    from balrsam_pipeline.inference.model_folder import checkpoint_file

    target.mkdir(parents=True)
    ours, copy = ModelFolder(model), ModelFolder(target)
    shutil.copyfile(ours.plan, copy.plan)
    shutil.copyfile(ours.description, copy.description)
    for fold in folds:
        folder = copy.fold(fold).path
        folder.mkdir()
        source = checkpoint_file(model, fold, checkpoint)
        shutil.copyfile(source, folder / source.name)
