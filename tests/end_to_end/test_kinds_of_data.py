"""The one command, from raw folder to scored predictions, on every kind of dataset that nnU-Net takes;
training lasts a second."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support import kinds
from support.runs import roots

from balrsam_pipeline.cli import main
from balrsam_pipeline.dataset import open_dataset
from balrsam_pipeline.imageio import read_image, read_label
from balrsam_pipeline.plan import read_plan
from balrsam_pipeline.processor import usable_cores

NEEDS_DATA = (kinds.hippocampus, kinds.drive, kinds.ct_of_one_label, kinds.mr_stored_lps)


@pytest.mark.parametrize("build", kinds.KINDS, ids=lambda build: build.__name__)
def test_a_dataset_of_this_kind_runs_from_raw_folder_to_scores(
    build: kinds.Builder, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue("test_data") if build in NEEDS_DATA else tmp_path
    folder = build(tmp_path / "raw", data)
    names = kinds.take_test_images(folder)
    quick = ("--folds", "0", "--max-minutes", "0.015", "--device", "cpu", "--workers", "1")
    quick += () if build is kinds.hippocampus else ("--devices", "none")  # of one kind with its companion
    assert main(["run", folder.name, *roots(tmp_path), *quick]) == 0

    dataset = open_dataset(folder)
    there = tmp_path / "results" / folder.name
    predictions = {
        path.name.split(".")[0]: path
        for path in (there / "predictions").iterdir()
        if path.name.startswith("test_")
    }
    assert sorted(predictions) == sorted(names)
    labels = {0, *(value for values in dataset.description.labels.values for value in values)}
    for case, files in dataset.test_cases().items():
        prediction = read_label(predictions[case])
        assert prediction.geometry == read_image(files.images).geometry
        assert set(np.unique(prediction.data)) <= labels - {dataset.description.labels.ignore_value}
    summaries = list(there.glob("*/fold_0/validation/**/summary.json"))
    assert len(summaries) == (2 if build is kinds.hippocampus and usable_cores() > 1 else 1)
    for summary in summaries:
        scored = json.loads(summary.read_text())["mean"]
        assert len(scored) == len(dataset.description.labels.names)
        assert all(0 <= row["Dice"] <= 1 for row in scored.values())


def test_tiles_that_see_their_surroundings_run_to_predictions(tmp_path: Path) -> None:
    folder = kinds.thick_slices(tmp_path / "raw", tmp_path)
    names = kinds.take_test_images(folder)
    quick = (
        "--folds",
        "0",
        "--max-minutes",
        "0.015",
        "--device",
        "cpu",
        "--workers",
        "1",
        "--devices",
        "none",
    )
    assert main(["run", folder.name, *roots(tmp_path), *quick, "--tiles", "16"]) == 0
    planned = read_plan(tmp_path / "preprocessed" / folder.name / "plan.json")
    assert planned.configuration(planned.default_configuration).network.surroundings > 0
    predictions = tmp_path / "results" / folder.name / "predictions"
    assert {path.name.split(".")[0] for path in predictions.glob("test_*")} == set(names)
