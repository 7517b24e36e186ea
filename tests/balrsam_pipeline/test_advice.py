"""Fixes name commands that can be typed as they stand; nnU-Net's words are told in ours."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from balrsam_pipeline.advice import completed
from balrsam_pipeline.cli import main
from balrsam_pipeline.command import load_command, parser_of
from balrsam_pipeline.habits import in_our_words


def given(**values: object) -> argparse.Namespace:
    return argparse.Namespace(**{"dataset": "4", "raw": None, "preprocessed": None, "results": None} | values)


@pytest.mark.parametrize(
    ("fix", "told"),
    [
        (
            "plan it: balrsam plan_and_preprocess DATASET; then go on",
            "plan it: balrsam plan_and_preprocess 4 --raw data --results my 'results'; then go on",
        ),
        (
            "balrsam verify DATASET --fix NEW_FOLDER",
            "balrsam verify 4 --raw data --results my 'results' --fix NEW_FOLDER",
        ),
        ("balrsam download_checkpoint vit_b", "balrsam download_checkpoint vit_b"),
        ("balrsam convert --help", "balrsam convert --help"),
        ("correct the file", "correct the file"),
    ],
)
def test_the_user_s_own_folders_and_dataset_are_in_the_commands_that_take_them(fix: str, told: str) -> None:
    arguments = given(raw=Path("data"), results=Path("my results"))
    assert completed(fix, arguments) == told.replace("my 'results'", "'my results'")


def test_a_dataset_that_was_given_by_path_is_repeated_so() -> None:
    arguments = given(dataset="/data/Dataset004_X")
    assert completed("balrsam crossval Dataset004_X", arguments) == "balrsam crossval /data/Dataset004_X"
    assert completed("balrsam crossval Dataset005_Y", arguments) == "balrsam crossval Dataset005_Y"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("train 4 2d 0", "balrsam train 4 --configuration 2d --fold 0"),
        ("train 4 2d all --npz", "balrsam train 4 --configuration 2d --fold all"),
        (
            "train -d 4 -c 2d -f 0 -tr nnUNetTrainer -device cpu",
            "balrsam train 4 --configuration 2d --fold 0 --device cpu",
        ),
        (
            "plan_and_preprocess -d 4 -c 2d --verify_dataset_integrity",
            "balrsam plan_and_preprocess 4 --configurations 2d",
        ),
        (
            "predict -i in -o out -d 4 -c 2d -f all -chk checkpoint_best.pth --disable_tta -npp 3",
            "balrsam predict -i in -o out -d 4 --configuration 2d --folds all --checkpoint best --no-mirror",
        ),
        (
            "find_best_configuration 4 -c 2d 2.5d -f 0 1 -p P",
            "balrsam find_best_configuration 4 --configurations 2d 2.5d --folds 0 1",
        ),
        ("crossval 4 -f all", "balrsam crossval 4"),
        ("train 4 2d 0 --val", "balrsam train 4 --configuration 2d --fold 0 --only-validate"),
        (
            "train 4 2d 0 --val_best",
            "balrsam train 4 --configuration 2d --fold 0 --only-validate --checkpoint best",
        ),
        ("train 4 2d 0 -p wide", "balrsam train 4 --configuration 2d --fold 0 --plan wide"),
        ("train 4 2d 0 -p nnUNetPlans", "balrsam train 4 --configuration 2d --fold 0"),
    ],
)
def test_nnunet_s_words_are_refused_with_ours_and_those_are_understood(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(typed.split())
    told = capsys.readouterr().err
    assert end.value.code == 2 and "here it is called" in told
    assert told.splitlines()[-1].strip() == meant
    _, name, *words = meant.split()
    parser_of(name, load_command(name)).parse_args(words)


def test_our_own_mistakes_are_told_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    assert in_our_words("train", ["4", "--fold", "0", "--nonsense"]) is None
    with pytest.raises(SystemExit):
        main(["train", "4", "--nonsense"])
    assert "usage:" in capsys.readouterr().err


def test_a_command_that_is_nearly_one_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "Did you mean 'train'?" in capsys.readouterr().err
