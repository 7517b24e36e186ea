"""`predict` and `ensemble` touch no input, whatever leads to it, and replace nothing that others made."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.imageio import Geometry, Image, read_image, read_label, write_image
from balrsam_pipeline.imageio.simpleitk_io import reoriented
from balrsam_pipeline.inference import predict_files
from balrsam_pipeline.inference.inputs import find_cases
from balrsam_pipeline.inference.probabilities import ProbabilityFile

Folders = Callable[..., Path]
CPU = ("--device", "cpu", "--workers", "1")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_scan(path: Path, seed: int = 0, orientation: str = "LPS") -> None:
    """A volume of whole numbers 0 to 2, in which the test's network sees its classes."""
    data = np.random.default_rng(seed).integers(0, 3, (1, 3, 8, 9)).astype(np.float32)
    geometry = Geometry(dimension=3, shape_zyx=(3, 8, 9), spacing_mm=(1.0, 1.0, 1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image(data, geometry)
    write_image(path, image if orientation == "LPS" else reoriented(image, orientation))


@pytest.mark.parametrize("way", ["folder", "list", "links", "hard links", "link to folder", "dots"])
def test_an_output_over_the_scans_is_refused_whatever_leads_there(
    way: str, model_folder: Folders, tmp_path: Path
) -> None:
    scans, output = tmp_path / "scans", tmp_path / "scans"
    for case in ("a", "b"):
        write_scan(scans / f"{case}.nii.gz")
    given = scans
    if way == "list":
        given = tmp_path / "todo.txt"
        given.write_text(f"{scans}/a.nii.gz\n{scans}/b.nii.gz\n")
    elif way in ("links", "hard links"):
        given = tmp_path / "links"
        given.mkdir()
        for path in list(scans.iterdir()):
            (os.symlink if way == "links" else os.link)(path, given / path.name)
    elif way == "link to folder":
        output = tmp_path / "link"
        output.symlink_to(scans)
    elif way == "dots":
        output = tmp_path / "scans" / ".." / "scans"
    before = tree(scans)
    words = ["predict", "-i", str(given), "-o", str(output), "--model", str(model_folder(folds=(0,))), *CPU]
    assert main(words) == 2
    assert tree(scans) == before


def test_nothing_that_another_made_is_replaced(
    model_folder: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "Dataset001_Own"
    write_scan(raw / "imagesTr" / "a_0000.nii.gz")
    write_scan(raw / "labelsTr" / "a.nii.gz")
    (raw / "dataset.json").write_text("{}")
    before, model = tree(raw), str(model_folder(folds=(0,)))
    for output in (raw / "labelsTr", raw):
        assert main(["predict", "-i", str(raw / "imagesTr"), "-o", str(output), "--model", model, *CPU]) == 2
        assert "not made by this command" in capsys.readouterr().err
    assert tree(raw) == before


def test_somebodys_file_where_the_spacing_of_a_stack_goes_is_not_replaced(
    model_folder: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scan(tmp_path / "scans" / "a_0000.tif")
    notes, model = tmp_path / "out" / "a.json", str(model_folder(folds=(0,)))
    words = ["predict", "-i", str(tmp_path / "scans"), "-o", str(tmp_path / "out"), "--model", model, *CPU]
    for _ in range(2):  # what it made it may make again
        assert main(words) == 0
        assert json.loads(notes.read_text()) == {"spacing": [1.0, 1.0, 1.0]}
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    notes.write_text('{"mine": 1}')
    assert main(words) == 2
    assert "a.json" in (message := capsys.readouterr().err) and "not made by this command" in message
    assert tree(tmp_path / "out") == {"a.json": b'{"mine": 1}'}


def test_a_prediction_stays_until_its_replacement_is_complete(
    model_folder: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scan(tmp_path / "scans" / "a.nii.gz")
    words = ["predict", "-i", str(tmp_path / "scans"), "-o", str(tmp_path / "out"), *CPU]
    words += ["--model", str(model_folder(folds=(0,)))]
    assert main(words) == 0
    mask = tmp_path / "out" / "a.nii.gz"
    before = mask.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sys.modules[predict_files.__module__], "_here", killed)
        assert main(words) == 130
    assert mask.read_bytes() == before
    assert main([*words, "--continue"]) == 0  # made again: the one that is there was of the run before
    assert mask.stat().st_mtime > 0
    assert mask.read_bytes() == before


@pytest.mark.parametrize("change", ["shape", "spacing", "nothing"])
def test_continuing_predicts_again_what_no_longer_fits_its_image(
    change: str, model_folder: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scan, mask = tmp_path / "scans" / "a.nii.gz", tmp_path / "out" / "a.nii.gz"
    write_scan(scan)
    write_scan(tmp_path / "scans" / "b.nii.gz")
    words = ["predict", "-i", str(tmp_path / "scans"), "-o", str(tmp_path / "out"), *CPU]
    words += ["--model", str(model_folder(folds=(0,)))]
    assert main(words) == 0
    before, other = mask.stat().st_mtime_ns, (tmp_path / "out" / "b.nii.gz").stat().st_mtime_ns
    read = read_image([scan])
    shape = (3, 8, 10) if change == "shape" else (3, 8, 9)
    spacing_mm = (2.0, 1.0, 1.0) if change == "spacing" else (1.0, 1.0, 1.0)
    data = np.resize(read.data, (1, *shape))
    write_image(scan, Image(data, Geometry(dimension=3, shape_zyx=shape, spacing_mm=spacing_mm)))
    with caplog.at_level("INFO"):
        assert main([*words, "--continue"]) == 0
    assert read_label(mask).geometry == read_image([scan]).geometry
    assert (mask.stat().st_mtime_ns == before) == (change == "nothing")
    assert ("a is predicted again: a.nii.gz has" in caplog.text) == (change != "nothing")
    assert (tmp_path / "out" / "b.nii.gz").stat().st_mtime_ns == other


def test_a_mask_that_no_longer_fits_goes_where_its_image_cannot_be_predicted(
    model_folder: Folders, tmp_path: Path
) -> None:
    scan = tmp_path / "scans" / "a.nii.gz"
    write_scan(scan)
    words = ["predict", "-i", str(tmp_path / "scans"), "-o", str(tmp_path / "out"), *CPU]
    words += ["--model", str(model_folder(folds=(0,)))]
    assert main(words) == 0
    data = np.full((1, 3, 8, 10), np.nan, np.float32)
    write_image(scan, Image(data, Geometry(dimension=3, shape_zyx=(3, 8, 10), spacing_mm=(1.0, 1.0, 1.0))))
    assert main([*words, "--continue"]) == 1
    assert not (tmp_path / "out" / "a.nii.gz").exists()


def test_one_case_goes_to_one_file_in_the_format_of_its_name(model_folder: Folders, tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nii.gz")
    model = ["--model", str(model_folder(folds=(0,))), *CPU]
    for name in ("mask.nii.gz", "other.mha"):
        assert main(["predict", "-i", str(tmp_path / "a.nii.gz"), "-o", str(tmp_path / name), *model]) == 0
    first, second = (read_label(tmp_path / name).data for name in ("mask.nii.gz", "other.mha"))
    np.testing.assert_array_equal(first, second)
    before = tree(tmp_path)
    for refused in ("a.nii.gz", "mask.nii.gz", "mask.jpg"):
        words = ["predict", "-i", str(tmp_path / "a.nii.gz"), "-o", str(tmp_path / refused), *model]
        assert main(words) == 2
    assert tree(tmp_path) == before


def test_a_folder_of_several_endings_is_predicted_whole_and_hidden_files_are_nobodys(
    model_folder: Folders, tmp_path: Path
) -> None:
    for name in ("a.nii.gz", "b.nii", "d.mha"):
        write_scan(tmp_path / "scans" / name)
    write_scan(tmp_path / "c.nii.gz")
    (tmp_path / "c.nii.gz").rename(tmp_path / "scans" / "c.NII.GZ")
    (tmp_path / "scans" / "._a.nii.gz").write_bytes(b"Mac OS X")
    (tmp_path / "scans" / ".DS_Store").write_bytes(b"Bud1")
    words = ["predict", "-i", str(tmp_path / "scans"), "-o", str(tmp_path / "out"), *CPU]
    assert main([*words, "--model", str(model_folder(folds=(0,)))]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()} - {"dataset.json", "prediction.json"}
    assert names == {"a.nii.gz", "b.nii", "c.nii.gz", "d.mha"}


@pytest.mark.parametrize("name", ["dataset", "prediction", "a\x1b[2J", "a\nb", " a"])
def test_a_case_is_not_called_like_a_file_of_ours_and_its_name_acts_on_nothing(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / f"{name}_0000.nii.gz").write_bytes(b"")
    with pytest.raises(PredictionError) as caught:
        find_cases([tmp_path], 1, ".nii.gz")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("orientation", ["RAS", "PIR", "SAL"])
def test_an_image_in_another_orientation_gets_the_same_mask_in_space(
    orientation: str, model_folder: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_folder(folds=(0,))
    plan = json.loads((model / "plan.json").read_text())
    (model / "plan.json").write_text(json.dumps(plan | {"orientations": ["LPS"]}))
    write_scan(tmp_path / "scans" / "usual.nii.gz")
    write_scan(tmp_path / "scans" / "turned.nii.gz", orientation=orientation)
    words = ["predict", "-i", str(tmp_path / "scans"), "-o", str(tmp_path / "out"), "--save-probabilities"]
    with caplog.at_level("INFO"):
        assert main([*words, "--model", str(model), *CPU]) == 0
    assert f"turned is stored {orientation}" in caplog.text
    usual, turned = (read_image([tmp_path / "out" / f"{name}.nii.gz"]) for name in ("usual", "turned"))
    assert turned.geometry.orientation == orientation
    np.testing.assert_array_equal(reoriented(turned, "LPS").data, usual.data)
    expected, found = (
        ProbabilityFile(tmp_path / "out" / f"{name}_probabilities.b2nd") for name in ("usual", "turned")
    )
    back = reoriented(Image(found.read(0, found.geometry.shape_zyx[0]), found.geometry), "LPS")
    np.testing.assert_array_equal(back.data, expected.read(0, 3))
