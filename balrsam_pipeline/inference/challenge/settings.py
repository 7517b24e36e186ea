"""`container.json` beside the weights: what a container predicts with, and the names of what comes in and
goes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.folds import FoldName
from balrsam_pipeline.inference.postprocessing import Postprocessing
from balrsam_pipeline.serialise import from_json

NAME, FOLDER = "container.json", "model"
MOUNTED = Path("/opt/ml/model")  # where grand-challenge unpacks model.tar.gz, read-only
Contract = Literal["grand-challenge", "flare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSettings:
    """What a container predicts with.

    Attributes:
        models: their folders, from where this file lies on; `folds` and `weights` are theirs.
        input_slugs: sockets (grand-challenge), one per channel, in the order of channels.
        output_path: below the output folder, where the label map goes (grand-challenge).
        mirror: average over mirrored copies.
        tile_step: distance of tiles as a fraction of the patch.
    """

    contract: Contract
    models: tuple[str, ...]
    folds: tuple[tuple[FoldName, ...], ...]
    weights: tuple[float, ...]
    checkpoint: str
    postprocessing: Postprocessing = field(default_factory=Postprocessing)
    input_slugs: tuple[str, ...]
    output_path: str
    mirror: bool = True
    tile_step: float = 0.5


def model_folder_of(container: Path, mounted: Path = MOUNTED) -> Path:
    """Where weights and settings are: mounted apart from the image, in it, or (without Docker) beside the
    code."""
    places = (mounted, container / FOLDER, container.parent / FOLDER)
    return next((place for place in places if (place / NAME).is_file()), places[1])


def read_settings(folder: Path) -> ContainerSettings:
    """Read the settings.

    Raises:
        PredictionError: missing or malformed.
    """
    path = folder / NAME
    return from_json(ContainerSettings, read_json(path, PredictionError), path, PredictionError)
