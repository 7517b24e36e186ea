"""Rules chosen on a folder and applied to a folder, without a model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.imageio import Geometry, read_geometry, read_label, write_label
from balrsam_pipeline.layout import PREDICTION
from balrsam_pipeline.outdated import STALE_NS

GRID = Geometry(dimension=3, shape_zyx=(6, 20, 20), spacing_mm=(3.0, 1.0, 1.0))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Twelve cases: a block in the reference, the block and an island far away in the prediction."""
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    for number in range(12):
        label = np.zeros(GRID.shape_zyx, np.uint8)
        label[1:4, 4 : 9 + number % 4, 4:9] = 1
        write_label(references / f"case_{number:02}.nii.gz", label, GRID)
        label[4:6, 16:19, 15:19] = 1
        write_label(predictions / f"case_{number:02}.nii.gz", label, GRID)
    text = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}
    (predictions / "dataset.json").write_text(json.dumps(text | {"numTraining": 12}))
    return predictions, references


def test_rules_are_chosen_and_applied_by_themselves(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The oracle is the reference: without the islands the predictions equal it."""
    predictions, references = folders
    rules, cleaned = tmp_path / "rules.json", tmp_path / "cleaned"
    words = ["postprocess", "-i", str(predictions)]
    assert main([*words, "--references", str(references), "-o", str(rules), "--workers", "1"]) == 0
    assert [step["kind"] for step in json.loads(rules.read_text())["steps"]] == ["largest_component"]
    assert main([*words, "--rules", str(rules), "-o", str(cleaned)]) == 0
    assert "12 label maps" in (out := capsys.readouterr().out) and "12 of them changed" in out
    for path in references.iterdir():
        np.testing.assert_array_equal(read_label(cleaned / path.name).data, read_label(path).data)
        assert read_geometry(cleaned / path.name) == read_geometry(predictions / path.name)
    assert (cleaned / "dataset.json").is_file()


def by_rules(predictions: Path, rules: Path, label: str) -> list[str]:
    """The command, but for its output, that keeps the largest component of a label."""
    step = {"kind": "largest_component", "names": [label]}
    rules.write_text(json.dumps({"schema_version": 2, "steps": [step], "reasons": []}))
    return ["postprocess", "-i", str(predictions), "--rules", str(rules), "-o"]


def test_a_damaged_label_map_is_named_and_the_others_are_cleaned(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions, _ = folders
    words, cleaned = by_rules(predictions, tmp_path / "rules.json", "organ"), tmp_path / "cleaned"
    assert main([*words, str(cleaned)]) == 0
    before = (cleaned / "case_00.nii.gz").read_bytes()
    for number in (0, 3):
        (predictions / f"case_{number:02}.nii.gz").write_bytes(b"damaged")
    assert main([*words, str(cleaned)]) == 1
    told = capsys.readouterr().err
    assert "case_00.nii.gz" in told and "1 more cases with problems: case_03.nii.gz" in told
    left = {f"case_{number:02}.nii.gz" for number in range(12) if number not in (0, 3)}
    assert {path.name for path in cleaned.glob("*.nii.gz")} == left
    assert (cleaned / "outdated" / "case_00.nii.gz").read_bytes() == before
    assert main([*words, str(tmp_path / "again")]) == 1
    assert {path.name for path in (tmp_path / "again").glob("*.nii.gz")} == left


def test_of_a_damaged_stack_the_spacing_is_set_aside_too(folders: tuple[Path, Path], tmp_path: Path) -> None:
    stacks, cleaned = tmp_path / "stacks", tmp_path / "cleaned"
    for name in ("a.tif", "b.tif"):
        write_label(stacks / name, np.ones(GRID.shape_zyx), GRID)
    (stacks / "dataset.json").write_bytes((folders[0] / "dataset.json").read_bytes())
    words = [*by_rules(stacks, tmp_path / "rules.json", "organ"), str(cleaned)]
    assert main(words) == 0
    (stacks / "a.tif").write_bytes(b"damaged")
    assert main(words) == 1
    assert {path.name for path in cleaned.glob("?.*")} == {"b.tif", "b.json"}
    assert read_geometry(cleaned / "outdated" / "a.tif").spacing_mm == GRID.spacing_mm
    assert (stacks / "a.json").is_file()


def test_a_file_in_place_of_the_folder_is_told_as_a_file(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions, _ = folders
    one = predictions / "case_00.nii.gz"
    assert main([*by_rules(one, tmp_path / "rules.json", "organ"), str(tmp_path / "cleaned")]) == 2
    assert "found:    a file" in capsys.readouterr().err


def test_predictions_are_not_overwritten_and_labels_must_be_known(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions, _ = folders
    words = by_rules(predictions, tmp_path / "rules.json", "liver")
    assert main([*words, str(predictions)]) == 2
    assert main([*words, str(tmp_path / "cleaned")]) == 2
    assert "a rule for liver" in capsys.readouterr().err
    (predictions / "dataset.json").unlink()
    assert main([*words, str(tmp_path / "cleaned")]) == 2
    assert "--labels" in capsys.readouterr().err


def test_somebody_elses_label_maps_are_not_overwritten(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions, references = folders
    words = by_rules(predictions, tmp_path / "rules.json", "organ")
    (references / "dataset.json").write_text("mine")
    before = {path: path.read_bytes() for path in references.iterdir()}
    assert main([*words, str(references)]) == 2
    assert "not made by this command" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in references.iterdir()} == before
    for _ in range(2):  # what this command made it may make again
        assert main([*words, str(tmp_path / "cleaned")]) == 0
    assert json.loads((tmp_path / "cleaned" / "postprocessed.json").read_text())["steps"][0]["names"] == [
        "organ"
    ]
    assert main([*words, str(tmp_path / "cleaned"), "--labels", str(tmp_path / "cleaned/dataset.json")]) == 2
    assert "a file that is read" in capsys.readouterr().err


def test_somebodys_file_where_the_spacing_of_a_stack_goes_is_not_replaced(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stacks, notes = tmp_path / "stacks", tmp_path / "cleaned" / "a.json"
    write_label(stacks / "a.tif", np.ones(GRID.shape_zyx), GRID)
    (stacks / "dataset.json").write_bytes((folders[0] / "dataset.json").read_bytes())
    words = [*by_rules(stacks, tmp_path / "rules.json", "organ"), str(notes.parent)]
    for _ in range(2):
        assert main(words) == 0
        assert read_geometry(notes.with_suffix(".tif")).spacing_mm == GRID.spacing_mm
    (notes.parent / "postprocessed.json").unlink()
    for name in ("a.tif", "dataset.json"):
        (notes.parent / name).unlink()
    notes.write_text("mine")
    assert main(words) == 2
    assert "a.json" in capsys.readouterr().err and notes.read_text() == "mine"


def test_rules_replace_rules_and_no_other_file(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions, references = folders
    manifest, notes = predictions / PREDICTION, tmp_path / "notes.json"
    manifest.write_text("{}")
    notes.write_text('{"mine": 1}')
    words = ["postprocess", "-i", str(predictions), "--references", str(references), "--workers", "1", "-o"]
    for path in (manifest, notes, predictions / "dataset.json"):
        before = path.read_bytes()
        assert main([*words, str(path)]) == 2
        assert "not made by this command" in capsys.readouterr().err
        assert path.read_bytes() == before
    for _ in range(2):
        assert main([*words, str(tmp_path / "rules.json")]) == 0


def test_predictions_of_an_earlier_run_are_not_cleaned(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions, _ = folders
    (predictions / PREDICTION).write_text("{}")
    os.utime(predictions / "case_03.nii.gz", ns=(STALE_NS, STALE_NS))
    words = by_rules(predictions, tmp_path / "rules.json", "organ")
    assert main([*words, str(tmp_path / "cleaned")]) == 2
    assert "to be predicted again: case_03" in capsys.readouterr().err
    assert not (tmp_path / "cleaned").exists()


def test_label_maps_in_npz_are_cleaned_but_probabilities_are_none(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    predictions, _ = folders
    image = read_label(predictions / "case_00.nii.gz")
    write_label(predictions / "other.npz", image.data[0], image.geometry)
    (predictions / "case_00.npz").write_bytes(b"probabilities, as nnU-Net keeps them")
    assert main([*by_rules(predictions, tmp_path / "rules.json", "organ"), str(tmp_path / "cleaned")]) == 0
    names = {path.name for path in (tmp_path / "cleaned").iterdir()}
    assert "other.npz" in names and "case_00.npz" not in names
