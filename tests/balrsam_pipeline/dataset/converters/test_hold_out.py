"""Cases kept from training: a share of the patients, or those of a list, moved with their labels."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from balrsam_pipeline.cli import main
from balrsam_pipeline.dataset import check_dataset, folds_of, open_dataset
from balrsam_pipeline.dataset.converters import CONVERTERS, Conversion, HoldOut
from balrsam_pipeline.dataset.converters.hold_out import choose_cases
from balrsam_pipeline.errors import DatasetError, UsageError

FRAMES = [f"patient{patient:03d}_frame{frame}" for patient in range(10) for frame in (1, 2)]


def make_source(folder: Path, cases: list[str] = FRAMES) -> Path:
    for index, case in enumerate(cases):
        for name, voxels in (("images", np.full((8, 9), index + 1)), ("masks", np.eye(8, 9) * 255)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            suffix = "_mask" if name == "masks" else ""
            Image.fromarray(voxels.astype(np.uint8)).save(folder / name / f"{case}{suffix}.png")
    return folder


def convert(tmp_path: Path, source: Path, hold_out: HoldOut, **others: object) -> Path:
    target = tmp_path / "Dataset001_Frames"
    return CONVERTERS["pairs"](
        Conversion(source=source, target=target, hold_out=hold_out, **others)  # type: ignore[arg-type]
    ).target


def cases_in(folder: Path) -> set[str]:
    return {path.name.removesuffix(".png").removesuffix("_0000") for path in folder.iterdir()}


def test_a_share_of_the_patients_moves_with_images_and_labels(tmp_path: Path) -> None:
    target = convert(tmp_path, make_source(tmp_path / "source"), HoldOut(fraction=0.2))
    test = cases_in(target / "imagesTs")
    assert cases_in(target / "labelsTs") == test
    assert cases_in(target / "imagesTr") == cases_in(target / "labelsTr") == set(FRAMES) - test
    assert len(test) == 4  # 20 cases
    assert len({case.split("_")[0] for case in test}) == 2  # whole patients
    assert json.loads((target / "dataset.json").read_text())["numTraining"] == 16
    assert check_dataset(target).errors == ()


def test_the_same_names_give_the_same_test_cases() -> None:
    groups = {case: case.split("_")[0] for case in FRAMES}
    assert choose_cases(FRAMES, groups, 0.3) == choose_cases(FRAMES[::-1], groups, 0.3)


@pytest.mark.parametrize(("fraction", "number"), [(0.01, 1), (0.25, 3), (0.5, 5)])
def test_the_share_is_met_and_never_nothing(fraction: float, number: int) -> None:
    assert len(choose_cases([f"case_{index}" for index in range(10)], {}, fraction)) == number


def test_a_group_larger_than_the_share_is_kept_whole() -> None:
    groups = {f"c{index}": f"g{index // 4}" for index in range(12)}
    assert len(choose_cases(sorted(groups), groups, 0.1)) == 4


def test_stated_groups_stay_together_also_in_folds(tmp_path: Path) -> None:
    cases = [f"picture{letter}" for letter in "abcdefghij"]
    source = make_source(tmp_path / "source", cases)
    group_of = {case: f"p{index // 2}" for index, case in enumerate(cases)}
    (source / "groups.csv").write_text(
        "case,group\n" + "".join(f"{c}.png,{g}\n" for c, g in group_of.items())
    )
    target = convert(tmp_path, source, HoldOut(fraction=0.2))
    test = cases_in(target / "imagesTs")
    assert len({group_of[case] for case in test}) == 1
    assert len(test) == 2
    for fold in folds_of(open_dataset(target)):
        assert not {group_of[case] for case in fold.train} & {group_of[case] for case in fold.val}


def test_a_list_may_name_cases_or_their_files(tmp_path: Path) -> None:
    wish = HoldOut(names=("patient003_frame1", "patient003_frame2.png", "patient004_frame1_mask.png"))
    target = convert(tmp_path, make_source(tmp_path / "source"), wish)
    assert cases_in(target / "labelsTs") == {"patient003_frame1", "patient003_frame2", "patient004_frame1"}


def test_a_list_that_tears_a_stated_group_apart_is_refused(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source")
    groups = tmp_path / "patients.csv"
    groups.write_text("".join(f"{case},{case.split('_')[0]}\n" for case in FRAMES))
    with pytest.raises(DatasetError, match="patient003"):
        convert(tmp_path, source, HoldOut(names=("patient003_frame1",)), groups=groups)
    assert not (tmp_path / "Dataset001_Frames").exists()


def test_an_unknown_name_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"patient099[\s\S]*patient000_frame1"):
        convert(tmp_path, make_source(tmp_path / "source"), HoldOut(names=("patient099",)))


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 20.0])
def test_a_share_outside_0_and_1_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match="below 1"):
        HoldOut(fraction=fraction)


def test_too_few_cases_for_training_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="left for training"):
        convert(tmp_path, make_source(tmp_path / "source", ["a", "b"]), HoldOut(fraction=0.5))


def test_test_images_without_labels_are_left_out_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`balrsam run` scores all test cases, so all of them need labels."""
    source = make_source(tmp_path / "source")
    (source / "test").mkdir()
    Image.fromarray(np.ones((8, 9), np.uint8)).save(source / "test" / "unknown.png")
    caplog.set_level(logging.INFO)
    target = convert(tmp_path, source, HoldOut(fraction=0.2))
    assert cases_in(target / "imagesTs") == cases_in(target / "labelsTs")
    assert "unknown_0000.png" in caplog.text
    assert "4 of 20 cases (of 2 patients, told by names) are kept for testing" in caplog.text


def test_decathlon_volumes_of_two_channels_move_too(tmp_path: Path) -> None:
    source = tmp_path / "Task01_Two"
    names = [f"case_{index}" for index in range(5)]
    for folder, shape in (("imagesTr", (2, 3, 4, 5)), ("labelsTr", (3, 4, 5))):
        (source / folder).mkdir(parents=True)
        for index, case in enumerate(names):
            image = sitk.GetImageFromArray(np.full(shape, index % 2, np.uint8), isVector=False)
            sitk.WriteImage(image, str(source / folder / f"{case}.nii.gz"))
    entries = [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in names]
    content = {"modality": {"0": "T1", "1": "T2"}, "labels": {"0": "background", "1": "organ"}}
    (source / "dataset.json").write_text(json.dumps({**content, "training": entries, "test": []}))
    target = CONVERTERS["decathlon"](
        Conversion(source=source, target=tmp_path / "Dataset001_Two", hold_out=HoldOut(fraction=0.4))
    )
    assert (target.training_cases, target.test_cases, target.labelled_test_cases) == (3, 2, 2)
    assert len(list((target.target / "imagesTs").iterdir())) == 4


def test_the_command_takes_a_share_and_says_what_came_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "Dataset001_Frames"
    command = ["convert", str(make_source(tmp_path / "source")), str(target), "--from", "pairs"]
    assert main([*command, "--test-fraction", "0.2", "--workers", "1"]) == 0
    assert "16 training and 4 test cases (4 with labels)" in capsys.readouterr().out
