"""The model card: what a shared model segments, how well, and how to use it, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from balrsam_pipeline.dataset import LabelScheme, read_description
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.folds import ALL, FoldName, numbered
from balrsam_pipeline.imageio import is_flat
from balrsam_pipeline.inference.model_folder import configuration_of, trained_folds
from balrsam_pipeline.layout import ModelFolder
from balrsam_pipeline.plan import read_plan
from balrsam_pipeline.plan_names import words_of_model
from balrsam_pipeline.pooled import pooled_folds


def model_card(
    dataset: str, folders: Sequence[Path], folds: Sequence[FoldName] | None, with_choice: bool = False
) -> str:
    """The card of the models in `folders`, which belong to one dataset.

    Args:
        with_choice: whether the choice of the best configuration is shared with them.
    """
    description = read_description(ModelFolder(folders[0]).description)
    lines = [
        f"# {dataset}", "",
        "A BALR-SAM model for medical image segmentation, made with balrsam-pipeline. Channels: "
        f"{', '.join(description.channel_names)}. "
        f"Segments: {', '.join(description.labels.names)}.", "",
    ]  # fmt: skip
    for folder in folders:
        lines += _configuration(folder, folds, description.labels)
    models = "--best" if with_choice else _words_of(folders)
    lines += [
        "## How to use", "",
        "    balrsam install_model THIS_FILE.zip",
        f"    balrsam predict -i IMAGES -o PREDICTIONS -d {dataset} {models}", "",
        f"Images are named CASE_0000{description.file_ending} (one file per channel).{_needed(folders)}", "",
        "Not a medical device. Scores are from cross-validation on the training data's source; other "
        "scanners and patients may differ.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _words_of(folders: Sequence[Path]) -> str:
    """The options that predict with all of the models."""
    names = [ModelFolder(folder).name for folder in folders]
    return words_of_model(names[0]) if len(names) == 1 else f"--configuration {' '.join(names)}"


def _needed(folders: Sequence[Path]) -> str:
    """Which SAM checkpoints the models adapt, and how to get them."""
    networks = [
        read_plan(ModelFolder(folder).plan).configuration(configuration_of(folder)).network
        for folder in folders
    ]
    bases = dict.fromkeys(network.base for network in networks if not network.from_scratch)
    if not bases:
        return ""
    fetched = ", ".join(f"`balrsam download_checkpoint {name}`" for name in bases)
    return (
        f" The SAM checkpoint that is adapted ({', '.join(bases)}) is not in the file: {fetched}, or "
        "`predict --base FILE` where it was trained with another file."
    )


def _configuration(folder: Path, folds: Sequence[FoldName] | None, labels: LabelScheme) -> list[str]:
    configuration = read_plan(ModelFolder(folder).plan).configuration(configuration_of(folder))
    network = configuration.network
    lines = [
        f"## Configuration {ModelFolder(folder).name}", "",
        f"- backbone {network.backbone}, {'trained from scratch' if network.from_scratch else 'adapted'}, "
        f"input {' × '.join(map(str, network.input_shape))}, patch "
        f"{' × '.join(map(str, configuration.patch_shape))}",
        f"- {_grid(configuration.spacing_mm)}",
        f"- {_folds(folds or trained_folds(folder))}", "",
    ]  # fmt: skip
    summary = ModelFolder(folder).crossval.summary
    if not summary.is_file():
        return [*lines, "No cross-validation summary was found.", ""]
    content = read_json(summary, PredictionError)
    scored = pooled_folds(content)
    named = f"fold{'s' if len(scored) > 1 else ''} {', '.join(map(str, scored))}"
    said = [f"Scores are of the validation of {named}:", ""] if scored else []
    return lines + said + _scores(content, labels)


def _folds(folds: Sequence[FoldName]) -> str:
    """Which folds are in the file, in words.

    Example:
        >>> _folds((0, 1)), _folds(("all",))
        ('folds 0, 1', 'trained on all cases, which leaves none to validate this model on')
    """
    of_all = "trained on all cases, which leaves none to validate this model on"
    numbers = ", ".join(map(str, numbered(folds)))
    parts = [f"folds {numbers}"] if numbers else []
    return "; another model ".join([*parts, *([of_all] if ALL in folds else [])])


def _grid(spacing_mm: tuple[float, float, float]) -> str:
    """The voxels that the network sees, in words; 2D images have no size across.

    Example:
        >>> _grid((3.0, 1.25, 1.25)), _grid((999.0, 1.0, 1.0))
        ('spacing 3 × 1.25 × 1.25 mm (transposed axes)', '2D images, pixels as they are')
    """
    if not is_flat(spacing_mm):
        return f"spacing {' × '.join(f'{value:g}' for value in spacing_mm)} mm (transposed axes)"
    if set(spacing_mm[1:]) == {1.0}:
        return "2D images, pixels as they are"
    return f"2D images, pixels of {' × '.join(f'{value:g}' for value in spacing_mm[1:])} mm"


def _scores(summary: dict[str, Any], labels: LabelScheme) -> list[str]:
    """A table of Dice and HD95: all foreground, then every label, by name (of the file's keys: values)."""
    values = [str(covered[0]) if len(covered) == 1 else str(covered) for covered in labels.values]
    names = dict(zip(values, labels.names, strict=True))
    rows = {"mean of foreground": summary.get("foreground_mean", {})}
    rows |= {names.get(key, key): row for key, row in summary.get("mean", {}).items()}
    lines = ["| | Dice | HD95 |", "|---|---|---|"]
    lines += [
        f"| {name} | {_number(row.get('Dice'))} | {_number(row.get('HD95'))} |" for name, row in rows.items()
    ]
    return [*lines, ""]


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else "–"
