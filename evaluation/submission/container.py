"""A folder that grand-challenge.org builds into an algorithm: Dockerfile, entry point, the package, the
weights."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import TYPE_CHECKING

import balrsam_pipeline
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.files import write_json, write_text
from balrsam_pipeline.layout import ModelFolder
from balrsam_pipeline.serialise import to_json

if TYPE_CHECKING:
    from balrsam_pipeline.inference.model_folder import ModelChoice

TEMPLATES = Path(__file__).parent / "container_files"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRequest:
    """What goes into the container.

    Attributes:
        choice: the models.
        folder: made; must not exist or be empty.
        input_slugs: folders under /input/images, one per channel, in the order of channels.
        output_slug: folder under /output/images.
        mirror: average over mirrored copies.
    """

    choice: ModelChoice
    folder: Path
    input_slugs: tuple[str, ...]
    output_slug: str
    mirror: bool = True


def write_container(request: ContainerRequest) -> Path:
    """Write the folder; returns it.

    Raises:
        PredictionError: the folder holds something already, or a model adapts a SAM checkpoint that is not to
            be found.
    """
    from balrsam_pipeline.inference.model_folder import trained_folds

    folder = request.folder
    if folder.exists() and any(folder.iterdir()):
        raise PredictionError(
            folder,
            found="a folder that is not empty",
            expected="a new folder",
            fix="give another -o, or remove it",
        )
    models = []
    for number, model in enumerate(request.choice.folders):
        folds = request.choice.folds or trained_folds(model, request.choice.checkpoint)
        target = folder / "models" / str(number) / model.resolve().name
        _copy_model(model, target, folds, request.choice.checkpoint)
        models.append(str(target.relative_to(folder)))
    settings = {
        "models": models,
        "weights": list(request.choice.weights),
        "checkpoint": request.choice.checkpoint,
        "postprocessing": to_json(request.choice.postprocessing),
        "input_slugs": list(request.input_slugs),
        "output_slug": request.output_slug,
        "mirror": request.mirror,
    }
    write_json(folder / "container.json", settings)
    _copy_bases(request.choice, folder / "checkpoints")
    package = Path(balrsam_pipeline.__file__).parent
    shutil.copytree(
        package, folder / "balrsam_pipeline", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    for template in sorted(TEMPLATES.glob("*.txt")):
        write_text(folder / template.name.removesuffix(".txt"), template.read_text(encoding="utf-8"))
    write_text(folder / "requirements.txt", "\n".join(_requirements()) + "\n")
    return folder


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


def _copy_model(model: Path, target: Path, folds: tuple[int, ...], checkpoint: str) -> None:
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


def _requirements() -> list[str]:
    """What the package needs, as installed here; extras (tests, GUIs) are left out."""
    try:
        return [line for line in requires("balrsam-pipeline") or [] if "extra ==" not in line]
    except PackageNotFoundError:
        raise PredictionError(
            "balrsam-pipeline",
            found="not installed",
            expected="an installed package, whose requirements go into the image",
            fix="pip install -e .",
        ) from None
