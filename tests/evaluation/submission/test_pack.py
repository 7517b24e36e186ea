"""A sound submission is packed the same way twice; a broken one is refused with its reason."""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.imageio import Geometry, Image, read_geometry, read_label, write_image, write_label
from balrsam_pipeline.layout import PREDICTION
from balrsam_pipeline.outdated import STALE_NS
from evaluation.decathlon import MSD_TASKS
from evaluation.submission import FORMS, SubmissionRequest, pack_submission
from evaluation.submission.leaderboards import NOT_IN_MSD, member_name, read_form
from evaluation.submission.run_length import mask_of, pack_run_lengths, read_run_lengths, run_lengths

GEOMETRY = Geometry(dimension=3, shape_zyx=(4, 6, 5), spacing_mm=(3.0, 1.0, 0.5), origin_mm=(10.0, -5.0, 2.0))
DESCRIPTION = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "one": 1, "two": 2},
    "numTraining": 1,
    "file_ending": ".nii.gz",
}
OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


def label() -> np.ndarray:
    values = np.zeros(GEOMETRY.shape_zyx, dtype=np.uint8)
    values[1, 2:4, 1:3], values[2, 2, 2] = 1, 2
    return values


@pytest.fixture
def request_of(tmp_path: Path) -> SubmissionRequest:
    """Two cases, predicted soundly."""
    images, predictions = tmp_path / "Dataset007_Thing" / "imagesTs", tmp_path / "predictions"
    for case in ("a_001", "b_002"):
        write_image(
            images / f"{case}_0000.nii.gz", Image(np.ones((1, *GEOMETRY.shape_zyx), np.int16), GEOMETRY)
        )
        write_label(predictions / f"{case}.nii.gz", label(), GEOMETRY)
    (predictions / "dataset.json").write_text(json.dumps(DESCRIPTION))
    return SubmissionRequest(
        predictions=predictions, images=images, form=FORMS["msd"], output=tmp_path / "out" / "submission.zip"
    )


def test_a_sound_submission_is_packed_with_manifest_and_report(
    request_of: SubmissionRequest, tmp_path: Path
) -> None:
    done = pack_submission(request_of)
    with zipfile.ZipFile(done.archive) as archive:
        assert archive.namelist() == ["Task07_Thing/a_001.nii.gz", "Task07_Thing/b_002.nii.gz"]
        archive.extractall(tmp_path / "opened")
    for case in ("a_001", "b_002"):
        path = tmp_path / "opened" / "Task07_Thing" / f"{case}.nii.gz"
        np.testing.assert_array_equal(read_label(path).data[0], label())
        assert read_geometry(path) == GEOMETRY
    manifest = json.loads(done.manifest.read_text())
    assert manifest["sha256"] == done.sha256
    assert sorted(manifest["files"]) == ["Task07_Thing/a_001.nii.gz", "Task07_Thing/b_002.nii.gz"]
    assert "checked again" in done.report.read_text()


@pytest.mark.parametrize("form", ["plain", "rle"])
def test_only_archives_and_tables_of_ours_are_replaced(
    request_of: SubmissionRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    labels = (request_of.predictions / "dataset.json").rename(tmp_path / "d.json")
    ending = {"plain": ".zip", "rle": ".csv"}[form]
    words = ["submit", "--format", form, "-p", str(request_of.predictions), "--workers", "1"]
    words += ["--images", str(request_of.images), "--dataset-json", str(labels), "-o"]
    others = [labels, tmp_path / "thesis.docx", tmp_path / f"results{ending}"]
    for path in others[1:]:
        path.write_text("somebody's")
    before = [path.read_bytes() for path in others]
    for path in others:
        assert main([*words, str(path)]) == 2
    assert [path.read_bytes() for path in others] == before
    assert "not made by this command" in capsys.readouterr().err
    ours = tmp_path / f"ours{ending}"
    assert main([*words, str(ours)]) == 0
    first = ours.read_bytes()
    assert main([*words, str(ours)]) == 0 and ours.read_bytes() == first


def test_packing_twice_gives_the_same_bytes(request_of: SubmissionRequest) -> None:
    first = pack_submission(request_of).sha256
    time.sleep(1.1)  # gzip and zip would note the second
    assert (
        pack_submission(replace(request_of, output=request_of.output.with_name("again.zip"))).sha256 == first
    )


def test_predictions_of_an_earlier_run_are_not_packed(request_of: SubmissionRequest) -> None:
    os.utime(request_of.predictions / "b_002.nii.gz", ns=(STALE_NS, STALE_NS))
    assert pack_submission(request_of).archive.is_file()  # nobody of ours dated it
    request_of.output.unlink()
    (request_of.predictions / PREDICTION).write_text("{}")
    table = replace(request_of, form=FORMS["rle"], output=request_of.output.with_name("table.csv"))
    for pack, asked in ((pack_submission, request_of), (pack_run_lengths, table)):
        with pytest.raises(PredictionError, match="to be predicted again: b_002"):
            pack(asked)
        assert not asked.output.exists()


def dataset_with(folder: Path, name: str, *cases: str, ending: str = "_0000.nii.gz") -> tuple[Path, Path]:
    """Images and sound predictions of cases; returns both folders."""
    images, predictions = folder / name / "imagesTs", folder / "predicted" / name
    for case in cases:
        write_image(images / f"{case}{ending}", Image(np.ones((1, *GEOMETRY.shape_zyx), np.int16), GEOMETRY))
        write_label(predictions / f"{case}.nii.gz", label(), GEOMETRY)
    (predictions / "dataset.json").write_text(json.dumps(DESCRIPTION))
    return images, predictions


def submitted(form: str, archive: Path, *folders: tuple[Path, Path]) -> list[str]:
    """Pack pairs of images and predictions with the command; returns the names in the archive."""
    words = ["submit", "--format", form, "-o", str(archive), "--workers", "1"]
    words += ["--images", *(str(images) for images, _ in folders)]
    assert main([*words, "-p", *(str(predictions) for _, predictions in folders)]) == 0
    with zipfile.ZipFile(archive) as opened:
        return opened.namelist()


def test_all_tasks_of_msd_go_into_one_archive_without_the_cases_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    excluded = [case for case in NOT_IN_MSD if case.startswith("liver")]
    assert len(excluded) == 10 and len(NOT_IN_MSD) == 11
    liver = dataset_with(tmp_path, "Dataset003_Liver", "liver_132", *excluded)
    vessel = dataset_with(tmp_path, "Task08_HepaticVessel", "hepaticvessel_006", ending=".nii.gz")
    image = Image(np.ones((1, *GEOMETRY.shape_zyx), np.int16), GEOMETRY)
    write_image(vessel[0] / "hepaticvessel_247.nii.gz", image)  # nobody has to predict it
    spleen = dataset_with(tmp_path, "Dataset009_Spleen", "spleen_1", "spleen_7")
    assert submitted("msd", tmp_path / "all.zip", liver, vessel, spleen) == [
        "Task03_Liver/liver_132.nii.gz",
        "Task08_HepaticVessel/hepaticvessel_006.nii.gz",
        "Task09_Spleen/spleen_1.nii.gz",
        "Task09_Spleen/spleen_7.nii.gz",
    ]
    told = capsys.readouterr().out
    assert "4 cases in" in told and "[left out] liver_141, liver_156" in told
    assert "[missing task] Task01_BrainTumour, Task02_Heart" in told and "3 of 10 tasks" in told
    everything = [dataset_with(tmp_path / "ten", name, f"{name[7:].lower()}_1") for name in MSD_TASKS]
    names = submitted("msd", tmp_path / "ten.zip", *everything)
    assert len(names) == 10 and {name.partition("/")[0] for name in names} == set(MSD_TASKS)
    assert "missing task" not in capsys.readouterr().out


def test_one_broken_task_keeps_the_archive_from_being_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (
        dataset_with(tmp_path, "Dataset002_Heart", "la_1"),
        dataset_with(tmp_path, "Dataset010_Colon", "c_1"),
    )
    (other[1] / "c_1.nii.gz").unlink()
    write_label(other[1] / "c_2.nii.gz", label(), GEOMETRY)
    words = ["submit", "--format", "msd", "-o", str(tmp_path / "all.zip"), "--workers", "1"]
    words += ["--images", str(one[0]), str(other[0]), "-p", str(one[1]), str(other[1])]
    assert main(words) == 2
    assert "[missing case] c_1" in capsys.readouterr().err and not (tmp_path / "all.zip").exists()
    assert main([*words[:8], str(one[0]), *words[10:]]) == 2
    assert "1 folders for 2 of predictions" in capsys.readouterr().err
    assert main([*words, "--dataset-name", "Dataset002_Heart"]) == 2
    assert "named by the folders of their images" in capsys.readouterr().err
    plain = [*words[:2], "plain", *words[3:9], str(one[0]), "-p", str(one[1]), str(one[1])]
    assert main(plain) == 2
    assert "two predictions that would be la_1.nii.gz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "ending", "name"),
    [
        ("amos", ".nii.gz", "results/amos_0008.nii.gz"),  # AMOS' own names end in numbers as channels do
        ("amos", "_0000.nii.gz", "results/amos_0008.nii.gz"),
        ("flare", "_0000.nii.gz", "amos_0008.nii.gz"),
        ("npz", "_0000.nii.gz", "amos_0008.npz"),
    ],
)
def test_folders_are_those_of_the_leaderboard(form: str, ending: str, name: str, tmp_path: Path) -> None:
    pair = dataset_with(tmp_path, "Dataset021_Amos", "amos_0008", ending=ending)
    assert submitted(form, tmp_path / "s.zip", pair) == [name]


@pytest.mark.parametrize("ending", [".nii.gz", ".npz"])
def test_masks_for_cvpr_s_challenges_are_arrays_called_segs(ending: str, tmp_path: Path) -> None:
    """Images are `.npz` too, and predictions of either format."""
    images, predictions = tmp_path / "imgs", tmp_path / "predictions"
    images.mkdir()
    predictions.mkdir()
    (predictions / "dataset.json").write_text(json.dumps(DESCRIPTION))
    upright = replace(GEOMETRY, origin_mm=(0.0, 0.0, 0.0))
    for case in ("CT_a_0001", "CT_b_0002"):
        voxels = np.zeros(GEOMETRY.shape_zyx, np.uint8)
        np.savez_compressed(images / f"{case}.npz", imgs=voxels, spacing=GEOMETRY.spacing_mm[::-1])
        write_label(predictions / f"{case}{ending}", label(), upright)
    assert submitted("npz", tmp_path / "s.zip", (images, predictions)) == ["CT_a_0001.npz", "CT_b_0002.npz"]
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        archive.extractall(tmp_path / "opened")
    for case in ("CT_a_0001", "CT_b_0002"):
        with np.load(tmp_path / "opened" / f"{case}.npz") as opened:
            np.testing.assert_array_equal(opened["segs"], label())
            assert opened["segs"].dtype == np.uint8


def rewrite(geometry: Geometry) -> Callable[[Path], None]:
    def change(predictions: Path) -> None:
        write_label(predictions / "a_001.nii.gz", np.ones(geometry.shape_zyx, np.uint8), geometry)

    return change


def write_fractions(predictions: Path) -> None:
    write_image(
        predictions / "a_001.nii.gz", Image(np.full((1, *GEOMETRY.shape_zyx), 0.5, np.float32), GEOMETRY)
    )


def write_foreign_value(predictions: Path) -> None:
    write_label(predictions / "a_001.nii.gz", np.full(GEOMETRY.shape_zyx, 3, np.uint8), GEOMETRY)


BROKEN: dict[str, Callable[[Path], None]] = {
    "missing case": lambda predictions: (predictions / "b_002.nii.gz").unlink(),
    "extra case": lambda predictions: write_label(predictions / "c_003.nii.gz", label(), GEOMETRY),
    "readable integers": write_fractions,
    "shape": rewrite(replace(GEOMETRY, shape_zyx=(4, 6, 6))),
    "spacing": rewrite(replace(GEOMETRY, spacing_mm=(3.0, 1.0, 0.6))),
    "origin": rewrite(replace(GEOMETRY, origin_mm=(10.0, -5.0, 3.0))),
    "direction": rewrite(replace(GEOMETRY, direction=OBLIQUE)),
    "labels": write_foreign_value,
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_submission_is_refused_with_its_reason(request_of: SubmissionRequest, rule: str) -> None:
    BROKEN[rule](request_of.predictions)
    with pytest.raises(PredictionError, match=rf"\[{rule}\]"):
        pack_submission(request_of)
    assert not request_of.output.exists()
    assert f"[{rule}]" in request_of.output.with_name("submission.zip.report.md").read_text()


@pytest.mark.parametrize("ending", [".nii", ".mha", ".nrrd"])
def test_a_missing_case_is_named_whatever_the_ending_of_its_image(
    request_of: SubmissionRequest, ending: str
) -> None:
    image = Image(np.ones((1, *GEOMETRY.shape_zyx), np.int16), GEOMETRY)
    write_image(request_of.images / f"c_003_0000{ending}", image)
    with pytest.raises(PredictionError, match=r"\[missing case\] c_003"):
        pack_submission(request_of)
    write_label(request_of.predictions / f"c_003{ending}", label(), GEOMETRY)
    assert pack_submission(request_of).cases == 3


@pytest.mark.parametrize("name", ["c_003.nii.gz", "c_003_0000.npz", "c_003.npz"])
def test_every_case_that_predict_finds_must_be_there(request_of: SubmissionRequest, name: str) -> None:
    write_image(request_of.images / name, Image(np.ones((1, *GEOMETRY.shape_zyx), np.int16), GEOMETRY))
    with pytest.raises(PredictionError, match=r"\[missing case\] c_003"):
        pack_submission(request_of)


@pytest.mark.parametrize("name", ["overview.png", "a_001_0000.png"])
def test_pictures_beside_volumes_need_no_prediction(request_of: SubmissionRequest, name: str) -> None:
    (request_of.images / name).write_bytes(b"a picture")
    assert pack_submission(request_of).cases == 2


def test_hidden_files_are_nobodys_case(request_of: SubmissionRequest) -> None:
    for folder in (request_of.images, request_of.predictions):
        for path in [*folder.glob("*.nii.gz")]:
            path.with_name(f"._{path.name}").write_bytes(b"Mac OS X")
        (folder / ".DS_Store").write_bytes(b"Bud1")
    assert pack_submission(request_of).cases == 2


def test_a_file_that_is_no_image_is_refused(request_of: SubmissionRequest) -> None:
    (request_of.predictions / "a_001.nii.gz").write_bytes(b"half a file")
    with pytest.raises(PredictionError, match="readable"):
        pack_submission(request_of)


def test_an_archive_above_the_limit_is_refused(request_of: SubmissionRequest) -> None:
    with pytest.raises(PredictionError, match=r"\[size\]"):
        pack_submission(replace(request_of, limit_bytes=100))
    assert not request_of.output.exists()


@pytest.mark.parametrize(
    "template",
    [
        "mask.nii.gz",
        "../{case}.nii.gz",
        "/{case}.nii.gz",
        "{patient}.nii.gz",
        "{case.size}.nii.gz",
        "{case}{number:0999999999d}",  # a name of a gigabyte
        "{case}\0.nii.gz",
        "{case}\\..\\..\\x.nii.gz",
    ],
)
def test_templates_that_cannot_name_every_case_are_refused(template: str) -> None:
    with pytest.raises(PredictionError, match="template"):
        member_name(template, "a", "Dataset001_A", ".nii.gz")


def test_a_dataset_without_a_number_is_no_task_00(request_of: SubmissionRequest, tmp_path: Path) -> None:
    (tmp_path / "Dataset007_Thing").rename(tmp_path / "hospital")
    nameless = replace(request_of, images=tmp_path / "hospital" / "imagesTs")
    with pytest.raises(PredictionError, match=r"(?s)hospital\n.*--dataset-name"):
        pack_submission(nameless)
    assert not request_of.output.exists()
    with zipfile.ZipFile(pack_submission(replace(nameless, dataset="Task07_Thing")).archive) as archive:
        assert archive.namelist()[0] == "Task07_Thing/a_001.nii.gz"
    plain = replace(nameless, template="{dataset}/{case}{ending}", output=tmp_path / "plain.zip")
    with zipfile.ZipFile(pack_submission(plain).archive) as archive:
        assert archive.namelist()[0] == "hospital/a_001.nii.gz"


@pytest.mark.parametrize(
    ("called", "name"), [("Dataset012_Other", "Task12_Other"), ("current", "Task07_Thing")]
)
def test_a_dataset_whose_images_are_a_link_is_called_as_its_own_folder_unless_that_is_no_datasets_name(
    called: str, name: str, request_of: SubmissionRequest, tmp_path: Path
) -> None:
    (tmp_path / called).mkdir()
    (tmp_path / called / "imagesTs").symlink_to(request_of.images)
    done = pack_submission(replace(request_of, images=tmp_path / called / "imagesTs"))
    with zipfile.ZipFile(done.archive) as archive:
        assert archive.namelist()[0] == f"{name}/a_001.nii.gz"


def test_an_empty_mask_is_warned_about(request_of: SubmissionRequest) -> None:
    write_label(request_of.predictions / "a_001.nii.gz", np.zeros(GEOMETRY.shape_zyx, np.uint8), GEOMETRY)
    assert [warning.rule for warning in pack_submission(request_of).warnings] == ["empty mask"]


def test_labels_are_mapped_to_the_leaderboards(request_of: SubmissionRequest, tmp_path: Path) -> None:
    done = pack_submission(replace(request_of, label_map={1: 205, 2: 500}, form=FORMS["plain"]))
    with zipfile.ZipFile(done.archive) as archive:
        archive.extract("a_001.nii.gz", tmp_path)
    np.testing.assert_array_equal(
        read_label(tmp_path / "a_001.nii.gz").data[0], np.array([0, 205, 500])[label()]
    )


def test_several_labels_do_not_fit_a_binary_form(request_of: SubmissionRequest) -> None:
    with pytest.raises(PredictionError, match="2 foreground labels"):
        pack_submission(replace(request_of, form=FORMS["isic"]))


def test_pictures_are_packed_as_isic_wants_them(tmp_path: Path) -> None:
    flat = Geometry(dimension=2, shape_zyx=(1, 8, 9), spacing_mm=(999.0, 1.0, 1.0))
    images, predictions = tmp_path / "imagesTs", tmp_path / "predictions"
    mask = np.zeros((1, 8, 9), np.uint8)
    mask[0, 2:5, 3:6] = 1
    write_image(images / "ISIC_1_0000.png", Image(np.zeros((3, 1, 8, 9), np.uint8), flat))
    write_label(predictions / "ISIC_1.png", mask, flat)
    content = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": 1,
        "file_ending": ".png",
    }
    (predictions / "dataset.json").write_text(json.dumps(content))
    done = pack_submission(
        SubmissionRequest(
            predictions=predictions, images=images, form=FORMS["isic"], output=tmp_path / "s.zip"
        )
    )
    with zipfile.ZipFile(done.archive) as archive:
        archive.extract("ISIC_1_segmentation.png", tmp_path)
    np.testing.assert_array_equal(read_label(tmp_path / "ISIC_1_segmentation.png").data[0], mask * 255)


def test_run_lengths_stand_for_the_masks(request_of: SubmissionRequest) -> None:
    """The oracle is the definition: pixel numbers down the columns from 1, written out one by one."""
    table = request_of.output.with_name("table.csv")
    done = pack_run_lengths(replace(request_of, form=FORMS["rle"], output=table))
    rows = read_run_lengths(table)
    assert len(rows) == 2 * 4 * 2 and done.cases == 2
    assert rows["a_001_0_one"] == "" and rows["b_002_2_two"] == "15 1"
    columns = label()[1].T.ravel() == 1
    numbered = [number + 1 for number in np.flatnonzero(columns)]
    words = list(map(int, rows["a_001_1_one"].split()))
    runs = zip(words[::2], words[1::2], strict=True)
    told = [start + step for start, length in runs for step in range(length)]
    assert told == numbered
    for name, runs in rows.items():
        case, z, which = name.rsplit("_", 2)
        mask = label()[int(z)] == {"one": 1, "two": 2}[which]
        np.testing.assert_array_equal(mask_of(runs, mask.shape), mask)
        assert case in ("a_001", "b_002")


def test_a_mask_of_many_runs_is_read_again(tmp_path: Path) -> None:
    """Python's csv refuses fields of more than 131,072 characters."""
    noise = np.random.default_rng(0).integers(0, 2, (300, 300))
    path = tmp_path / "noise.csv"
    path.write_text(f"id,rle\nnoise,{run_lengths(noise)}\n")
    assert path.stat().st_size > 131_072
    np.testing.assert_array_equal(mask_of(read_run_lengths(path)["noise"], noise.shape), noise)


@pytest.mark.parametrize("seed", range(3))
def test_any_mask_survives_run_lengths(seed: int) -> None:
    mask = np.random.default_rng(seed).random((7, 9)) < 0.5
    np.testing.assert_array_equal(mask_of(run_lengths(mask), (7, 9)), mask)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("plain --template {cas}.nii.gz -o s.zip", "--template {cas}.nii.gz"),
        ("rle --template {cas} -o s.csv", "--template {cas}"),
        ("plain --label-map 7=1 -o s.zip", "values [7]"),
        ("isic -o s.zip", "2 foreground labels"),
        ("rle --label-map 1=2 -o s.csv", "--label-map"),
        ("plain --dataset-json none.json -o s.zip", "none.json"),
        ("plain -o folder.zip", "a folder"),
        ("plain -o s.tar", "ends in '.tar'"),
        ("msd --dataset-name Thing -o s.zip", "a dataset without a number"),
    ],
)
def test_what_cannot_be_packed_is_refused_before_anything_is_predicted(
    request_of: SubmissionRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: str,
    said: str,
) -> None:
    def never(*_: object) -> None:
        pytest.fail("predicted")

    monkeypatch.setattr("balrsam_pipeline.inference.request.predict_from_arguments", never)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.zip").mkdir()
    model = tmp_path / "model"
    model.mkdir()
    (model / "dataset.json").write_text(json.dumps(DESCRIPTION))
    words = ["submit", "--model", str(model), "--images", str(request_of.images), "--format"]
    assert main([*words, *options.split()]) == 2
    assert said in capsys.readouterr().err


def test_rows_need_ids_of_their_own_and_cases_are_checked(request_of: SubmissionRequest) -> None:
    table = replace(request_of, form=FORMS["rle"], output=request_of.output.with_name("table.csv"))
    with pytest.raises(PredictionError, match="several rows of the id 'a_001'"):
        pack_run_lengths(replace(table, template="{case}"))
    with pytest.raises(PredictionError, match="cannot be filled in"):
        pack_run_lengths(replace(table, template="{case}_{colour}"))
    (request_of.predictions / "a_001.nii.gz").unlink()
    with pytest.raises(PredictionError, match="missing case"):
        pack_run_lengths(table)
    assert not table.output.exists()


def test_what_a_table_of_run_lengths_cannot_be_is_refused(
    request_of: SubmissionRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "submit",
        "--format",
        "rle",
        "-p",
        str(request_of.predictions),
        "--images",
        str(request_of.images),
    ]
    for name, more, said in (
        ("table.zip", [], "ends in .csv"),
        ("table.csv", ["--label-map", "1=255"], "--label-map"),
        ("table.csv", ["--max-megabytes", "0.0001"], "[size] table.csv"),
    ):
        assert main([*words, "-o", str(tmp_path / name), *more]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / name).exists()
    assert main([*words, "-o", str(tmp_path / "table.csv"), "--max-megabytes", "1"]) == 0
    assert "2 cases in" in capsys.readouterr().out
    assert "table written" in (tmp_path / "table.csv.report.md").read_text()


def test_a_leaderboard_of_run_lengths_leaves_cases_out(request_of: SubmissionRequest) -> None:
    form = replace(FORMS["rle"], name="mine", left_out=("b_002",))
    done = pack_run_lengths(replace(request_of, form=form, output=request_of.output.with_name("t.csv")))
    assert done.cases == 1 and all(name.startswith("a_001") for name in read_run_lengths(done.archive))


def test_a_leaderboard_is_described_by_a_file(request_of: SubmissionRequest, tmp_path: Path) -> None:
    form: dict[str, object] = {
        "name": "brats",
        "template": "{case}_seg.nii.gz",
        "label_map": {"2": 4},
        "max_megabytes": 500,
    }
    form["left_out"] = ["b_002"]
    (tmp_path / "brats.json").write_text(json.dumps(form))
    words = ["submit", "--format-file", str(tmp_path / "brats.json"), "-p", str(request_of.predictions)]
    archive = tmp_path / "brats.zip"
    assert main([*words, "--images", str(request_of.images), "-o", str(archive), "--workers", "1"]) == 0
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == ["a_001_seg.nii.gz"]
        opened.extractall(tmp_path / "opened")
    values = read_label(tmp_path / "opened" / "a_001_seg.nii.gz").data[0]
    np.testing.assert_array_equal(values, np.array([0, 1, 4])[label()])


@pytest.mark.parametrize(
    "wrong",
    [
        {"colour": 1},
        {"label_map": {"liver": 1}},
        {"label_map": {"²": 1}},
        {"label_map": {"1": -1}},
        {"label_map": {"1": 70000}},
        {"label_map": {"70000": 1}},
        {"foreground": 70000},
        {"kind": "npz"},
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    path = tmp_path / "form.json"
    path.write_text(json.dumps({"name": "x", "template": "{case}.nii.gz"} | wrong))
    with pytest.raises(PredictionError):
        read_form(path)
