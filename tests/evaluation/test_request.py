"""What is scored, and by which labels: where a dataset.json is looked for, and what else is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from balrsam_pipeline.errors import BalrsamError, EvaluationError
from evaluation.request import resolve

REGIONS = {
    "channel_names": {"0": "MRI"},
    "labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
    "regions_class_order": [1, 2],
    "numTraining": 4,
    "file_ending": ".nii.gz",
}


def names(predictions: Path, references: Path) -> tuple[str, ...]:
    return resolve(predictions, references, None, None, missing_as_empty=False).labels.names


@pytest.mark.parametrize("place", ["predictions", "references", "."])
def test_a_dataset_json_near_two_files_names_their_labels(folder_pair: tuple[Path, Path], place: str) -> None:
    (folder_pair[0].parent / place / "dataset.json").write_text(json.dumps(REGIONS))
    predicted, referenced = (folder / "case_0.nii.gz" for folder in folder_pair)
    assert names(predicted, referenced) == names(*folder_pair) == ("whole", "core")


@pytest.mark.parametrize(("inside", "path"), [("references", "."), ("references/deeper", "..")])
def test_a_dataset_json_beside_the_working_folder_names_the_labels(
    folder_pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, inside: str, path: str
) -> None:
    (folder_pair[0].parent / "dataset.json").write_text(json.dumps(REGIONS))
    (folder_pair[1] / "deeper").mkdir()
    monkeypatch.chdir(folder_pair[0].parent / inside)
    assert names(folder_pair[0], Path(path)) == ("whole", "core")


def test_a_dataset_json_beside_a_link_to_references_names_the_labels(
    folder_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "labelsTr").symlink_to(folder_pair[1])
    (tmp_path / "raw" / "dataset.json").write_text(json.dumps(REGIONS))
    assert names(folder_pair[0], tmp_path / "raw" / "labelsTr") == ("whole", "core")


@pytest.mark.parametrize(
    ("option", "cases", "missing_as_empty"), [("--cases", ["a"], False), ("--missing-as-empty", None, True)]
)
def test_what_is_asked_of_folders_is_refused_for_two_files(
    folder_pair: tuple[Path, Path], option: str, cases: list[str] | None, missing_as_empty: bool
) -> None:
    files = [folder / "case_0.nii.gz" for folder in folder_pair]
    with pytest.raises(EvaluationError, match=option):
        resolve(files[0], files[1], None, cases, missing_as_empty)


def test_masks_that_are_no_label_maps_are_named_where_no_label_is_found(tmp_path: Path) -> None:
    """Masks in colour have no values to find; saying that they have no label would lead astray."""
    for folder in ("predictions", "references"):
        (tmp_path / folder).mkdir()
        colours = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(colours).save(tmp_path / folder / "a.png")
    with pytest.raises(BalrsamError) as problem:
        names(tmp_path / "predictions", tmp_path / "references")
    assert "a.png" in problem.value.where and "no label in any file" not in problem.value.found
