"""`balrsam plan_and_preprocess` end to end on every kind of dataset."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import kinds
from support.datasets import describe, organ_case, volume_dataset, write_volume

from balrsam_pipeline.cli import main
from balrsam_pipeline.errors import CheckpointError
from balrsam_pipeline.layout import PreprocessedFolder
from balrsam_pipeline.plan import Plan, read_plan
from balrsam_pipeline.preprocessing import CaseStore, store_folder

Prepare = Callable[..., tuple[Plan, CaseStore]]
ISOTROPIC = (1.0, 1.0, 1.0)


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Run the command on a raw dataset folder; returns the plan and the store of `2d`."""

    def run(folder: Path, *words: str, code: int = 0) -> tuple[Plan, CaseStore]:
        options = ["--preprocessed", str(tmp_path / "pre"), "--workers", "1", "--gpu-memory-gb", "0"]
        assert main(["plan_and_preprocess", str(folder), *options, *words]) == code
        there = tmp_path / "pre" / folder.name
        return read_plan(there / "plan.json"), CaseStore(there / "2d")

    return run


def test_one_organ_of_a_ct_in_hounsfield_units(test_data: Path, tmp_path: Path, prepare: Prepare) -> None:
    plan, store = prepare(kinds.ct_of_one_label(tmp_path / "raw", test_data))
    configuration = plan.configurations["2d"]
    assert configuration.normalization == ("ct",)
    assert configuration.spacing_mm == (3.0, 3.0, 3.0)
    statistics = plan.channel_statistics[0]
    expected = (
        np.array([statistics.percentile_00_5, statistics.percentile_99_5]) - statistics.mean
    ) / statistics.std
    image = store.read_image("part_2")
    np.testing.assert_allclose([image.min(), image.max()], expected, atol=1e-4)


def test_an_mr_stored_lps_of_few_thick_slices(test_data: Path, tmp_path: Path, prepare: Prepare) -> None:
    plan, store = prepare(kinds.mr_stored_lps(tmp_path / "raw", test_data))
    assert store.properties("part_0").geometry.orientation == "LPS"
    image = store.read_image("part_0")
    assert (abs(float(image.mean())), float(image.std())) == pytest.approx((0, 1), abs=1e-3)
    assert plan.configurations["2d"].normalization == ("z_score",)


def test_two_channels(tmp_path: Path, prepare: Prepare) -> None:
    plan, store = prepare(kinds.two_channels(tmp_path / "raw", tmp_path))
    assert plan.configurations["2.5d"].network.input_channels == 2 * 9
    assert store.read_slice("case_00", 3, context=1).shape == (6, 40, 36)


def test_regions(tmp_path: Path, prepare: Prepare) -> None:
    plan, store = prepare(kinds.regions(tmp_path / "raw", tmp_path))
    assert plan.configurations["2d"].network.classes == 2
    rows = store.foreground("case_00")
    assert len(rows["whole"]) > len(rows["core"]) > 0


def test_an_ignore_label(tmp_path: Path, prepare: Prepare) -> None:
    plan, store = prepare(kinds.ignore_label(tmp_path / "raw", tmp_path))
    assert plan.configurations["2d"].network.classes == 3
    assert set(store.foreground("case_00")) == {"organ", "core"}
    assert (store.read_label_slice("case_00", 7) == 3).all()


def test_slices_of_five_millimetres(tmp_path: Path, prepare: Prepare) -> None:
    plan, store = prepare(kinds.thick_slices(tmp_path / "raw", tmp_path), "--spacing", "5", "1", "1")
    assert tuple(plan.configurations) == ("2d", "2.5d", "3d")
    assert plan.overrides == {"spacing_mm": "5 × 1 × 1"}
    assert store.shape("case_00") == (10, 32, 29)


def test_pictures_of_sixteen_bits(tmp_path: Path, prepare: Prepare) -> None:
    plan, store = prepare(kinds.tiff_of_sixteen_bits(tmp_path / "raw", tmp_path))
    assert tuple(plan.configurations) == ("2d",)
    assert store.shape("cell_0") == (1, 60, 70)


def test_hippocampus_and_drive_run_unchanged(test_data: Path, tmp_path: Path, prepare: Prepare) -> None:
    plan, _ = prepare(kinds.hippocampus(tmp_path / "raw", test_data))
    assert tuple(plan.configurations) == ("2d", "2.5d", "triplanar", "3d")
    assert plan.configurations["2d"].patch_size == plan.configurations["2d"].network.input_size
    assert max(plan.configurations["2d"].patch_size) <= 64
    plan, store = prepare(kinds.drive(tmp_path / "raw", test_data))
    assert tuple(plan.configurations) == ("2d",)
    assert store.read_slice("DRIVE_021" if "DRIVE_021" in store.cases else store.cases[0], 0).shape == (
        3,
        584,
        565,
    )


def test_a_second_run_does_nothing_and_a_changed_case_alone_is_redone(
    tmp_path: Path, prepare: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = volume_dataset(tmp_path / "raw" / "Dataset108_Again")
    prepare(folder)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "pre").rglob("*.b2nd")}
    prepare(folder)
    assert "6 cases, 0 measured anew" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "pre").rglob("*.b2nd")}
    images, _ = organ_case(99)
    write_volume(folder / "imagesTr" / "case_03_0000.nii.gz", images[0], ISOTROPIC)
    prepare(folder)
    changed = {
        path.name.removesuffix(".b2nd") for path, time in before.items() if path.stat().st_mtime_ns != time
    }
    assert changed == {"case_03", "case_03_label", "case_03_foreground"}


def test_a_change_is_seen_though_size_and_date_were_put_back(
    tmp_path: Path, prepare: Prepare, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As rsync -t and tools that correct images in place leave it; a copy of the same content is as good, and
    is not checked again."""
    folder = volume_dataset(tmp_path / "raw" / "Dataset109_Date")
    path = folder / "imagesTr" / "case_03_0000.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    path.write_bytes(gzip.compress(bytes(content), 0, mtime=0))  # stored, so that the size stays
    prepare(folder)
    before, checked = path.stat(), next((tmp_path / "pre").rglob("integrity.json"))
    passed = json.loads(checked.read_text())["dataset_state_sha256"]
    content[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(content), 0, mtime=0))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    capsys.readouterr()
    prepare(folder)
    assert "6 cases, 1 measured anew" in capsys.readouterr().out
    assert json.loads(checked.read_text())["dataset_state_sha256"] != passed
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").replace(path)
    monkeypatch.setattr("planners.plan_and_preprocess.scan_dataset", lambda *_: pytest.fail("checked again"))
    prepare(folder)
    assert "6 cases, 0 measured anew" in capsys.readouterr().out


def test_single_slices_in_nifti_are_slices(tmp_path: Path, prepare: Prepare) -> None:
    """The header's third spacing, 1 mm, is finer than the pixels; they were cut into rows once."""
    folder = volume_dataset(tmp_path / "raw" / "Dataset115_Flat", spacing=(1.0, 1.5, 1.5), shape=(1, 64, 60))
    plan, store = prepare(folder)
    assert tuple(plan.configurations) == ("2d",)
    assert plan.configurations["2d"].patch_size == (64, 64)
    assert store.shape("case_00") == (1, 64, 60)


def test_recommended_is_what_the_plan_would_train(tmp_path: Path) -> None:
    folder = volume_dataset(
        tmp_path / "raw" / "Dataset114_Wide", spacing=(5.0, 1.0, 1.0), shape=(10, 150, 150)
    )
    there = tmp_path / "pre" / folder.name
    words = [
        "plan_and_preprocess",
        str(folder),
        "--preprocessed",
        str(tmp_path / "pre"),
        "--gpu-memory-gb",
        "0",
    ]
    assert main([*words, "--workers", "1", "--configurations", "recommended"]) == 0
    plan = read_plan(there / "plan.json")
    wanted = {store_folder(there, plan.configuration(plan.default_configuration))}
    wanted |= {store_folder(there, plan.configuration(name)) for name in plan.companions}
    everything = {store_folder(there, configuration) for configuration in plan.configurations.values()}
    assert {path.parent for path in there.rglob("case_00.b2nd")} == wanted < everything


def test_a_plan_of_a_name_of_its_own_leaves_the_other_as_it_is(
    tmp_path: Path, prepare: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = kinds.regions(tmp_path / "raw", tmp_path)
    before, _ = prepare(folder, "--configurations", "2d")
    words = ("--configurations", "2d", "--batch-size", "3", "--spacing", "2", "2", "2", "--plan", "coarse")
    assert prepare(folder, *words)[0] == before
    own = PreprocessedFolder(tmp_path / "pre" / folder.name)
    planned = own.planned("coarse")
    coarse = read_plan(planned.plan).configurations["2d"]
    assert (coarse.batch_size, coarse.spacing_mm[1:]) == (3, (2.0, 2.0))
    halved = CaseStore(planned.path / "2d").shape("case_00")
    assert halved[1:] == tuple(size // 2 for size in CaseStore(own.path / "2d").shape("case_00")[1:])
    assert own.plans() == ("", "coarse")
    capsys.readouterr()
    assert main(["describe", str(folder), "--plan", "coarse", "--preprocessed", str(tmp_path / "pre")]) == 0
    assert "batches of 3" in capsys.readouterr().out
    assert main(["describe", str(folder), "--plan", "other", "--preprocessed", str(tmp_path / "pre")]) == 2
    assert "plans: the unnamed one, coarse" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["describe", str(folder), "--plan", "../elsewhere"])


def test_a_truncated_store_is_made_again(tmp_path: Path, prepare: Prepare) -> None:
    folder = volume_dataset(tmp_path / "raw" / "Dataset109_Truncated")
    _, store = prepare(folder)
    path = store.folder / "case_01.b2nd"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    prepare(folder)
    assert path.read_bytes() == whole


def test_a_removed_case_leaves_the_store(tmp_path: Path, prepare: Prepare) -> None:
    folder = volume_dataset(tmp_path / "raw" / "Dataset110_Removed")
    prepare(folder)
    (folder / "imagesTr" / "case_05_0000.nii.gz").unlink()
    (folder / "labelsTr" / "case_05.nii.gz").unlink()
    describe(folder, {"background": 0, "organ": 1, "core": 2}, ["T1"], 5)
    _, store = prepare(folder)
    assert len(store.cases) == 5
    assert not list(store.folder.glob("case_05*"))


def test_a_case_that_fails_is_named_and_the_others_finish(
    tmp_path: Path, prepare: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = volume_dataset(tmp_path / "raw" / "Dataset111_Failing")
    images, _ = organ_case(0)
    describe(folder, {"background": 0, "organ": 1, "core": 2}, ["rgb_to_0_1"], 6)
    for index in range(6):
        write_volume(
            folder / "imagesTr" / f"case_{index:02d}_0000.nii.gz", np.clip(images[0], 0, 255), ISOTROPIC
        )
    write_volume(folder / "imagesTr" / "case_02_0000.nii.gz", images[0] + 500, ISOTROPIC)
    _, store = prepare(folder, code=1)
    assert len(store.cases) == 5
    assert "failed: case case_02" in capsys.readouterr().out


def test_an_error_in_the_dataset_stops_before_anything_is_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = volume_dataset(tmp_path / "raw" / "Dataset112_Broken")
    _, label = organ_case(0)
    write_volume(folder / "labelsTr" / "case_04.nii.gz", label * 100, ISOTROPIC)
    assert (
        main(["plan_and_preprocess", str(folder), "--preprocessed", str(tmp_path / "pre"), "--workers", "1"])
        == 2
    )
    assert "case_04" in capsys.readouterr().err
    assert not (tmp_path / "pre" / folder.name / "plan.json").exists()


def test_one_dataset_is_planned_like_another(
    tmp_path: Path, prepare: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    first = volume_dataset(tmp_path / "raw" / "Dataset113_First", spacing=(1.0, 0.7, 0.7))
    second = volume_dataset(tmp_path / "raw" / "Dataset114_Second", spacing=(1.0, 1.0, 1.0))
    model, _ = prepare(first)
    assert prepare(second, "--like", "113")[0] == prepare(second, "--like", "Dataset113_First")[0]
    plan, _ = prepare(second, "--like", str(tmp_path / "pre" / "Dataset113_First" / "plan.json"))
    assert plan.configurations["2d"].spacing_mm == pytest.approx((1.0, 0.7, 0.7))
    assert plan.channel_statistics == model.channel_statistics
    assert plan.overrides["like"] == "Dataset113_First"
    path = tmp_path / "newer.json"
    content = json.loads((tmp_path / "pre" / first.name / "plan.json").read_text())
    path.write_text(json.dumps(content | {"schema_version": 99}))
    assert (
        main(
            ["plan_and_preprocess", str(second), "--like", str(path), "--preprocessed", str(tmp_path / "pre")]
        )
        == 2
    )
    assert "schema_version 99" in capsys.readouterr().err


def test_a_plan_for_other_channels_is_refused(
    tmp_path: Path, prepare: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(volume_dataset(tmp_path / "raw" / "Dataset115_One"))
    other = volume_dataset(tmp_path / "raw" / "Dataset116_Two", channels=2)
    words = ["--like", "Dataset115_One", "--preprocessed", str(tmp_path / "pre"), "--workers", "1"]
    assert main(["plan_and_preprocess", str(other), *words]) == 2
    assert "2 channel(s)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input-size", "100"], "multiple of 16"),
        (["--batch-size", "0"], "1 or more"),
        (["--spacing", "1", "0", "1"], "positive"),
        (["--like", "Dataset999_Nowhere"], "no such plan"),
        (["--like", "Dataset999_Nowhere", "--batch-size", "3"], "together with batch_size"),
        (["--configurations", "triplanar"], "configuration 'triplanar'"),
    ],
)
def test_options_that_cannot_be_carried_out_are_refused(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = volume_dataset(tmp_path / "raw" / "Dataset117_Options", spacing=(4.0, 1.0, 1.0))
    assert (
        main(
            [
                "plan_and_preprocess",
                str(folder),
                "--preprocessed",
                str(tmp_path / "pre"),
                "--workers",
                "1",
                *words,
            ]
        )
        == 2
    )
    assert message in capsys.readouterr().err


def test_offline_a_named_backbone_is_planned_and_training_asks_for_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever names a backbone may have its file elsewhere; who does not is told at once what is missing."""
    monkeypatch.setenv("balrsam_offline", "1")
    monkeypatch.setenv("balrsam_checkpoints", str(tmp_path / "none"))
    folder = kinds.thick_slices(tmp_path / "raw", tmp_path)
    words = ["plan_and_preprocess", str(folder), "--workers", "1", "--configurations", "2d"]
    assert main([*words, "--preprocessed", str(tmp_path / "pre"), "--backbone", "vit_b"]) == 0
    assert main([*words, "--preprocessed", str(tmp_path / "other"), "--checkpoint", "medsam"]) == 2


def test_planning_for_another_machine_says_that_the_checkpoint_was_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("balrsam_checkpoints", str(tmp_path / "none"))
    folder = kinds.thick_slices(tmp_path / "raw", tmp_path)
    words = ["plan_and_preprocess", str(folder), "--workers", "1", "--configurations", "2d"]
    words += ["--preprocessed", str(tmp_path / "pre"), "--batch-size", "2"]
    assert main([*words, "--gpu-memory-gb", "0"]) == 0
    assert "download_checkpoint" not in capsys.readouterr().out
    assert main([*words, "--gpu-memory-gb", "8", "--checkpoint", "medsam"]) == 0
    assert "balrsam download_checkpoint medsam" in capsys.readouterr().out


def colour_pictures(raw: Path) -> Path:
    """Five pictures of 64 × 64 pixels with a square of 30."""
    folder = raw / "Dataset021_Colour"
    rng = np.random.default_rng(0)
    for index in range(5):
        label = np.zeros((64, 64), np.uint8)
        label[10:40, 20:50] = 1
        for name, pixels in (
            (f"imagesTr/case_{index}_0000.png", rng.integers(0, 255, (64, 64, 3), np.uint8)),
            (f"labelsTr/case_{index}.png", label),
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name)
    described = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "square": 1},
        "numTraining": 5,
        "file_ending": ".png",
    }
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


def test_a_pretrained_encoder_that_cannot_be_had_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planners.hardware.find_accelerator", lambda: None)
    monkeypatch.setattr("planners.plan_and_preprocess.obtain", refuse)
    folder = colour_pictures(tmp_path / "raw")
    options = ["--preprocessed", str(tmp_path / "pre"), "--workers", "1"]
    assert main(["plan_and_preprocess", str(folder), *options]) == 0
    configuration = read_plan(tmp_path / "pre" / folder.name / "plan.json").configurations["2d"]
    assert configuration.network.backbone == "cnn"
    assert "not on this machine" in configuration.reasons["backbone"]
    assert main(["plan_and_preprocess", str(folder), *options, "--checkpoint", "lite_medsam"]) == 2


def refuse(name: str, offline: bool | None = None) -> Path:
    raise CheckpointError(name, found="not on this machine", expected="a file", fix="fetch it")
