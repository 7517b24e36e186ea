"""`export_model`: trained folds, plan, dataset.json, scores, postprocessing and a model card in one zip."""

from __future__ import annotations

import filecmp
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from balrsam_pipeline import __version__
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.extensions import refuse_in_archive
from balrsam_pipeline.files import atomic_path, read_json
from balrsam_pipeline.folds import FoldName
from balrsam_pipeline.inference.best_configuration import read_best
from balrsam_pipeline.inference.model_folder import checkpoint_file, trained_folds
from balrsam_pipeline.inference.sharing.card import model_card
from balrsam_pipeline.inference.sharing.manifest import NAME, ModelManifest, SharedFile
from balrsam_pipeline.layout import ModelFolder, ResultsFolder
from balrsam_pipeline.plan import read_plan
from balrsam_pipeline.pooled import FOLDS, pooled_folds
from balrsam_pipeline.serialise import to_json

EPOCH = (1980, 1, 1, 0, 0, 0)
Content = bytes | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What to share.

    Attributes:
        folders: model folders of one dataset.
        folds: which; None takes all that are trained.
        fingerprint: the dataset's fingerprint.json, or None to leave it out.
        with_choice: include best_configuration.json, so that `predict --best` works where the model is
            installed.
        overwrite: replace a file of other content.
    """

    folders: tuple[Path, ...]
    output: Path
    folds: tuple[FoldName, ...] | None = None
    fingerprint: Path | None = None
    with_choice: bool = False
    overwrite: bool = True


def export_model(request: ExportRequest) -> ModelManifest:
    """Write the zip; returns its manifest.

    Raises:
        PredictionError: a folder is no trained model, folders belong to different datasets, or another file
            is there that may not be replaced.
    """
    datasets = {read_plan(ModelFolder(folder).plan).dataset for folder in request.folders}
    if len(datasets) != 1:
        raise PredictionError(
            "export_model",
            found=f"models of {', '.join(sorted(datasets))}",
            expected="models of one dataset",
            fix="export them one by one",
        )
    dataset = datasets.pop()
    files: dict[str, Content] = {}
    for folder in request.folders:
        files |= {
            f"{dataset}/{ModelFolder(folder).folder_name}/{name}": content
            for name, content in _model_files(folder, request.folds).items()
        }
    if request.fingerprint is not None:
        files[f"{dataset}/{request.fingerprint.name}"] = request.fingerprint
    if request.with_choice:
        results = ResultsFolder(request.folders[0].absolute().parent)  # a model in it may be a link
        files[f"{dataset}/{results.best_configuration.name}"] = _choice(results, request.folds)
    files["README.md"] = model_card(dataset, request.folders, request.folds, request.with_choice).encode()
    manifest = ModelManifest(
        version=__version__,
        dataset=dataset,
        models=tuple(ModelFolder(folder).folder_name for folder in request.folders),
        files={name: SharedFile.of(content) for name, content in sorted(files.items())},
    )
    content = {NAME: json.dumps(to_json(manifest), indent=2).encode(), **files}
    with atomic_path(request.output) as temporary:
        _write_zip(temporary, content)
        if request.output.exists() and not request.overwrite:
            _require_same(temporary, request.output)
    return manifest


def _model_files(folder: Path, folds: Sequence[FoldName] | None) -> dict[str, Content]:
    model = ModelFolder(folder)
    configuration = read_plan(model.plan).configuration(model.configuration)
    refuse_in_archive(model.path, configuration.network.extension)
    files: dict[Path, Content] = {path: path for path in (model.plan, model.description)}
    for fold in folds or trained_folds(folder):
        checkpoint = checkpoint_file(folder, fold, "final")
        files[checkpoint] = checkpoint
    rules, summary = model.crossval.postprocessing, model.crossval.summary
    if rules.is_file():
        files[rules] = rules
    if summary.is_file():
        files[summary] = _without_cases(summary)
    return {path.relative_to(folder).as_posix(): content for path, content in files.items()}


def _choice(results: ResultsFolder, folds: tuple[FoldName, ...] | None) -> bytes:
    """The choice of the best configuration, with the folds that are in the file."""
    best = read_best(results.path)
    return json.dumps(to_json(replace(best, folds=folds or best.folds)), indent=2).encode()


def _without_cases(summary: Path) -> bytes:
    """The means of a summary alone, and of which folds they are: case names and paths of the training data
    stay at home."""
    content = read_json(summary, PredictionError)
    kept = {key: content[key] for key in ("foreground_mean", "mean") if key in content}
    return json.dumps(kept | {FOLDS: pooled_folds(content)}, indent=2).encode()


def _write_zip(path: Path, files: dict[str, Content]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as target:
                if isinstance(content, bytes):
                    target.write(content)
                    continue
                with content.open("rb") as source:
                    while block := source.read(2**20):
                        target.write(block)


def _require_same(made: Path, there: Path) -> None:
    """A file that is there is what would be written: then the command was given before, and that is that.

    Raises:
        PredictionError: it is another one.
    """
    if not filecmp.cmp(made, there, shallow=False):
        raise PredictionError(
            there,
            found="another file, which is there already",
            expected="a new name",
            fix="choose another -o, or replace it with --overwrite",
        )
