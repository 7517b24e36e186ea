"""How long single cases take, and how much they read and write: what the simulation draws from."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from balrsam_pipeline.dataset import open_dataset
from balrsam_pipeline.dataset.raw import RawDataset
from balrsam_pipeline.inference import FileOptions, PredictorOptions, load_predictor, predict_files
from balrsam_pipeline.inference.model_folder import configuration_of
from balrsam_pipeline.plan import read_plan
from evaluation.scoring import evaluate_folders
from planners.preprocess import PreprocessTask, preprocess_task


def task_times(dataset_folder: Path, model: Path, folder: Path, cases: int) -> dict[str, dict[str, object]]:
    """Seconds and bytes of so many cases of each stage, one after the other in this process.

    Args:
        model: a trained model folder, whose plan is followed.
        folder: for outputs.
    """
    dataset = open_dataset(dataset_folder)
    training = dict(list(dataset.training_cases().items())[:cases])
    images = sum(path.stat().st_size for files in training.values() for path in files.images) / len(training)
    labels = sum(files.label.stat().st_size for files in training.values() if files.label is not None) / len(
        training
    )
    return {
        "preprocessing": _preprocessing(dataset, model, folder / "preprocessed", cases, images + labels),
        "prediction": _prediction(dataset, model, folder / "predictions", cases, images, labels),
        "evaluation": _evaluation(dataset, cases, 2 * labels),
    }


def _preprocessing(
    dataset: RawDataset, model: Path, folder: Path, cases: int, read_bytes: float
) -> dict[str, object]:
    plan = read_plan(model / "plan.json")
    configuration = plan.configuration(configuration_of(model))
    seconds = []
    for files in list(dataset.training_cases().values())[:cases]:
        task = PreprocessTask(
            files=files,
            description=dataset.description,
            plan=plan,
            configuration=configuration,
            folder=folder,
            recipe_sha256="",
        )
        seconds.append(_seconds(lambda task=task: preprocess_task(task)))  # type: ignore[misc]
    written = sum(path.stat().st_size for path in folder.iterdir()) / cases
    return {"seconds": seconds, "read_bytes": read_bytes, "written_bytes": written}


def _prediction(
    dataset: RawDataset, model: Path, folder: Path, cases: int, images: float, labels: float
) -> dict[str, object]:
    predictor = load_predictor(model, None, PredictorOptions(device="cpu"))
    options = FileOptions(workers=1)
    seconds = [
        _seconds(lambda case=case, files=files: predict_files(predictor, {case: files}, folder, options))  # type: ignore[misc]
        for case, files in list(dataset.test_cases().items())[:cases]
    ]
    return {"seconds": seconds, "read_bytes": images, "written_bytes": labels}


def _evaluation(dataset: RawDataset, cases: int, read_bytes: float) -> dict[str, object]:
    labels, ending = dataset.folder / "labelsTr", dataset.description.file_ending
    seconds = [
        _seconds(
            lambda case=case: evaluate_folders(
                labels, labels, dataset.description.labels, ending, cases=[case]
            )
        )  # type: ignore[misc]
        for case in list(dataset.training_cases())[:cases]
    ]
    return {"seconds": seconds, "read_bytes": read_bytes, "written_bytes": 0.0}


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return round(time.perf_counter() - started, 4)
