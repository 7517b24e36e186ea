"""What an earlier run left in a folder of predictions, when another one begins there."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.dicom import KINDS, write_kind

from balrsam_pipeline.cli import main
from balrsam_pipeline.execution import folder_lock
from balrsam_pipeline.imageio import Image, read_label, write_image
from balrsam_pipeline.imageio.geometry import picture_geometry
from balrsam_pipeline.inference.outputs import (
    files_of_case,
    mark_all,
    mark_stale,
    remove_stale,
    set_aside_stale,
)
from balrsam_pipeline.inference.postprocessing import Postprocessing, PostprocessingStep, write_postprocessing

Folders = Callable[..., Path]
CPU = ("--device", "cpu", "--workers", "1")


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.mark.parametrize("subset", ["one image", "one part"])
def test_continuing_after_a_run_on_a_subset_mixes_no_models(
    subset: str, image_folder: Folders, model_folder: Folders, tmp_path: Path
) -> None:
    """The second model alone, in a folder of its own, is the oracle."""
    first, second = str(model_folder("2d", (0,))), str(model_folder("2.5d", (0,)))
    images = image_folder(3)

    def predict(model: str, output: str, *words: str, given: Path = images) -> None:
        assert (
            main(["predict", "-i", str(given), "-o", str(tmp_path / output), "--model", model, *CPU, *words])
            == 0
        )

    predict(first, "out", "--save-probabilities")
    if subset == "one image":
        predict(second, "out", given=images / "case1_0000.nii.gz")
    else:
        predict(second, "out", "--part", "2/3")
    predict(second, "out", "--continue")
    predict(second, "alone")
    assert files_in(tmp_path / "out") == files_in(tmp_path / "alone")


def test_other_parts_of_the_same_run_keep_what_they_have_made(
    image_folder: Folders, model_folder: Folders, tmp_path: Path
) -> None:
    words = ["predict", "-i", str(image_folder(2)), "-o", str(tmp_path / "out"), *CPU]
    assert main([*words, "--model", str(model_folder("2d", (0,)))]) == 0
    words += ["--model", str(model_folder("2.5d", (0,)))]
    times = []
    for part in ("1/2", "2/2"):
        assert main([*words, "--part", part]) == 0
        times.append((tmp_path / "out" / "case0.nii.gz").stat().st_mtime_ns)
    assert times[0] == times[1] > 0


def test_a_part_waits_while_another_looks_through_the_folder(
    image_folder: Folders, model_folder: Folders, tmp_path: Path
) -> None:
    output, ended = tmp_path / "out", threading.Event()
    words = ["predict", "-i", str(image_folder(2)), "-o", str(output), *CPU, "--part", "1/2"]
    words += ["--model", str(model_folder("2d", (0,)))]

    def run() -> None:
        assert main(words) == 0
        ended.set()

    thread = threading.Thread(target=run)
    with folder_lock(output, part="start"):
        thread.start()
        assert not ended.wait(3)
        assert not (output / "prediction.json").exists()
    thread.join(60)
    assert ended.is_set() and (output / "case0.nii.gz").is_file()


def test_rules_of_other_labels_are_refused_before_anything_is_touched(
    image_folder: Folders, model_folder: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "-i", str(image_folder(2)), "-o", str(tmp_path / "out"), *CPU]
    words += ["--model", str(model_folder(folds=(0,)))]
    assert main(words) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    rules = Postprocessing(steps=(PostprocessingStep(kind="largest_component", names=("liver",)),))
    write_postprocessing(tmp_path / "rules.json", rules)
    assert main([*words, "--postprocessing", str(tmp_path / "rules.json")]) == 2
    assert "a rule for liver" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_what_an_earlier_run_made_of_a_case_that_fails_is_set_aside(
    image_folder: Folders, model_folder: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, output = image_folder(2), tmp_path / "out"
    words = ["predict", "-i", str(images), "-o", str(output), *CPU, "--model", str(model_folder(folds=(0,)))]
    assert main(words) == 0
    before = (output / "case1.nii.gz").read_bytes()
    (images / "case1_0000.nii.gz").write_bytes(b"no image")
    assert main(words) == 1
    assert not (output / "case1.nii.gz").exists()
    assert (output / "outdated" / "case1.nii.gz").read_bytes() == before
    assert "moved into the sub-folder outdated: case1.nii.gz" in caplog.text


@pytest.mark.parametrize("form", ["dicom-seg", "rtstruct"])
def test_dicom_objects_of_an_earlier_run_go_with_the_label_map_that_they_were_made_of(
    form: str, model_folder: Folders, tmp_path: Path
) -> None:
    write_kind(tmp_path / "in" / "anna", KINDS["upright"])
    words = ["predict", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *CPU]
    words += ["--model", str(model_folder(folds=(0,)))]
    assert main([*words, "--output-format", form]) == 0
    assert len(list((tmp_path / "out").glob("anna_*.dcm"))) == 1
    assert main([*words, "--continue"]) == 0
    assert len(list((tmp_path / "out").glob("anna_*.dcm"))) == 1
    assert main(words) == 0
    assert [path.name for path in (tmp_path / "out").glob("anna*")] == ["anna.nii.gz"]


def test_another_study_under_the_name_of_a_case_is_predicted_when_continuing(
    model_folder: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Same folder, same grid, another patient; the prediction of each alone is the oracle."""
    model = str(model_folder(folds=(0,)))
    caplog.set_level("INFO")

    def predict(study: str, output: str, *words: str) -> None:
        folder = tmp_path / study / "DICOM"
        if not folder.is_dir():
            write_kind(folder, KINDS["upright"], study=study)
        words = ("-i", str(tmp_path / study), "-o", str(tmp_path / output), "--model", model, *CPU, *words)
        assert main(["predict", *words]) == 0

    predict("1", "out")
    mask = tmp_path / "out" / "DICOM.nii.gz"
    before = mask.stat().st_mtime_ns
    predict("1", "out", "--continue")
    assert mask.stat().st_mtime_ns == before
    predict("2", "out", "--continue")
    assert mask.stat().st_mtime_ns > before
    assert "DICOM is predicted again: it is study" in caplog.text
    series = json.loads((tmp_path / "out" / "prediction.json").read_text())["series"]
    predict("2", "alone")
    assert json.loads((tmp_path / "alone" / "prediction.json").read_text())["series"] == series


def test_a_study_added_before_others_takes_no_mask_of_theirs(model_folder: Folders, tmp_path: Path) -> None:
    words = ["predict", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *CPU, "--continue"]
    words += ["--model", str(model_folder(folds=(0,)))]

    def uids() -> dict[str, str]:
        series = json.loads((tmp_path / "out" / "prediction.json").read_text())["series"]
        return {case: record["study_uid"].rpartition(".")[2] for case, record in series.items()}

    for name, study in (("patient2", "2"), ("patient3", "3")):
        write_kind(tmp_path / "in" / name / "DICOM", KINDS["upright"], study=study)
    assert main(words) == 0
    assert uids() == {"patient2_DICOM": "2", "patient3_DICOM": "3"}
    mask = tmp_path / "out" / "patient2_DICOM.nii.gz"
    before = mask.stat().st_mtime_ns
    write_kind(tmp_path / "in" / "patient1" / "DICOM", KINDS["upright"], study="1")
    assert main(words) == 0
    assert uids() == {"patient1_DICOM": "1", "patient2_DICOM": "2", "patient3_DICOM": "3"}
    assert mask.stat().st_mtime_ns == before


def test_a_case_that_gets_another_name_leaves_no_file_under_the_old_one(
    model_folder: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A second patient's folder of the same name tells both apart by their parents."""
    words = ["predict", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *CPU, "--continue"]
    words += ["--model", str(model_folder(folds=(0,))), "--save-probabilities"]
    write_kind(tmp_path / "in" / "p1" / "DICOM", KINDS["upright"], study="1")
    assert main([*words, "--output-format", "dicom-seg"]) == 0
    old = {path.name for path in (tmp_path / "out").glob("DICOM*")}
    assert old == {"DICOM.nii.gz", "DICOM_probabilities.b2nd", "DICOM_seg.dcm"}
    write_kind(tmp_path / "in" / "p2" / "DICOM", KINDS["upright"], study="2")
    assert main(words) == 0
    assert {path.name for path in (tmp_path / "out").glob("*.nii.gz")} == {
        "p1_DICOM.nii.gz",
        "p2_DICOM.nii.gz",
    }
    assert {path.name for path in (tmp_path / "out" / "outdated").iterdir()} == old
    series = json.loads((tmp_path / "out" / "prediction.json").read_text())["series"]
    assert set(series) == {"p1_DICOM", "p2_DICOM"}
    assert "DICOM is called p1_DICOM now" in caplog.text


def test_series_are_recorded_of_what_is_predicted_alone(model_folder: Folders, tmp_path: Path) -> None:
    for name, study in (("anna", "1"), ("bert", "2")):
        write_kind(tmp_path / "in" / name, KINDS["upright"], study=study)
    words = ["predict", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *CPU]
    words += ["--model", str(model_folder(folds=(0,)))]
    for part, cases in (("1/2", {"anna"}), ("2/2", {"anna", "bert"})):
        assert main([*words, "--part", part]) == 0
        assert set(json.loads((tmp_path / "out" / "prediction.json").read_text())["series"]) == cases
    assert read_label(tmp_path / "out" / "anna.nii.gz").data.dtype == np.uint8


def test_folders_that_a_killed_run_left_are_removed(
    image_folder: Folders, model_folder: Folders, tmp_path: Path
) -> None:
    left = tmp_path / "out" / ".tmp-99999-case0_probabilities.b2nd.scratch"
    left.mkdir(parents=True)
    (left / "case0_probabilities.b2nd").write_bytes(b"half a file")
    words = ["predict", "-i", str(image_folder(1)), "-o", str(tmp_path / "out"), *CPU]
    assert main([*words, "--model", str(model_folder(folds=(0,)))]) == 0
    assert not left.exists()


SOMEBODYS = '{"version": "5.0.1", "shapes": [], "imagePath": "a.tif"}'


@pytest.mark.parametrize("words", [(), ("--continue",)])
def test_annotations_beside_predictions_of_tiff_pictures_stay(
    words: tuple[str, ...], model_folder: Folders, tmp_path: Path
) -> None:
    picture = np.random.default_rng(0).integers(0, 3, (1, 1, 8, 9)).astype(np.uint8)
    for case in ("a", "b"):
        write_image(tmp_path / "in" / f"{case}.tif", Image(picture, picture_geometry(8, 9)))
    first, second = str(model_folder("2d", (0,))), str(model_folder("2.5d", (0,)))
    predict = ["predict", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *CPU]
    assert main([*predict, "--model", first]) == 0
    notes = [tmp_path / "out" / f"{case}.json" for case in ("a", "b")]
    for path in notes:
        path.write_text(SOMEBODYS)
    times = [path.stat().st_mtime_ns for path in notes]
    if words:
        (tmp_path / "out" / "a.tif").unlink()
    assert main([*predict, *words, "--model", first]) == 0
    assert main([*predict, "--model", second, "--part", "1/2"]) == 0
    assert [path.read_text() for path in notes] == [SOMEBODYS] * 2
    assert [path.stat().st_mtime_ns for path in notes] == times


@pytest.mark.parametrize(
    ("name", "content", "goes"),
    [
        ("a", '{"spacing": [3, 1, 1]}', True),  # of a stack, as it is written
        ("a", '{"spacing": [3, 1, 1], "shapes": []}', False),
        ("a", SOMEBODYS, False),
        ("a", "no JSON", False),
        ("prediction", '{"spacing": [3, 1, 1]}', False),
        ("dataset", '{"spacing": [3, 1, 1]}', False),
    ],
)
def test_only_the_spacing_of_a_stack_goes_with_its_prediction(
    name: str, content: str, goes: bool, tmp_path: Path
) -> None:
    (tmp_path / f"{name}.tif").write_bytes(b"")
    (tmp_path / f"{name}.json").write_text(content)
    made = files_of_case(tmp_path, name, f"{name}.tif")
    assert mark_stale(made) + mark_all(tmp_path) == 1 + goes
    os.utime(tmp_path / f"{name}.json", ns=(0, 0))  # as some archives date all files
    set_aside_stale("other", [tmp_path / f"{name}.json"])
    remove_stale(made)
    assert (tmp_path / f"{name}.json").exists() is not goes
