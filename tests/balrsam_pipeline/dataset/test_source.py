"""Whose data a folder holds: datasets go by the name they are called by, and are never mixed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.datasets import volume_dataset

from balrsam_pipeline.dataset import open_dataset
from balrsam_pipeline.dataset.source import claim_folder, require_source
from balrsam_pipeline.errors import DatasetError, UsageError
from balrsam_pipeline.paths import Roots, find_dataset


@pytest.fixture
def two_of_one_name(tmp_path: Path) -> Roots:
    """Links Dataset041_A and Dataset042_B to two folders that are both called nnunet."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, project in (("Dataset041_A", "a"), ("Dataset042_B", "b")):
        made = volume_dataset(tmp_path / "projects" / project / "made", cases=2)
        made.rename(made.parent / "nnunet")
        (raw / name).symlink_to(made.parent / "nnunet")
    return Roots(raw=raw, preprocessed=tmp_path / "pre", results=tmp_path / "results")


def test_links_to_folders_of_one_name_are_two_datasets(two_of_one_name: Roots) -> None:
    names = [open_dataset(find_dataset(number, two_of_one_name)).name for number in ("41", "42")]
    assert names == ["Dataset041_A", "Dataset042_B"]


def test_a_folder_of_another_dataset_is_refused_while_that_one_is_there(two_of_one_name: Roots) -> None:
    first, second = (find_dataset(number, two_of_one_name) for number in ("41", "42"))
    folder = two_of_one_name.preprocessed / "shared"
    folder.mkdir(parents=True)
    claim_folder(folder, first)
    require_source(folder, first)
    with pytest.raises(UsageError, match="another dataset of that name"):
        claim_folder(folder, second)
    assert "projects/a" in (folder / "source.json").read_text()


@pytest.mark.parametrize("case", ["../../outside/x", "/etc/x", "a\x1b[2Jb"])
def test_listed_case_names_that_are_paths_or_act_on_a_terminal_are_refused(tmp_path: Path, case: str) -> None:
    folder = volume_dataset(tmp_path / "Dataset001_X", cases=2)
    path = folder / "dataset.json"
    content = json.loads(path.read_text())
    first = sorted((folder / "imagesTr").iterdir())[0].name
    label = sorted((folder / "labelsTr").iterdir())[0].name
    content["dataset"] = {case: {"images": [f"imagesTr/{first}"], "label": f"labelsTr/{label}"}}
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError) as refused:
        open_dataset(folder).training_cases()
    assert "\x1b" not in str(refused.value)
