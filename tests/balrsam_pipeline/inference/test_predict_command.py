"""`balrsam predict` and `balrsam ensemble` on trained folders, as a user runs them."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import blosc2
import numpy as np
import pytest
from support.warm import WarmPython

from balrsam_pipeline.cli import main
from balrsam_pipeline.command import add_roots
from balrsam_pipeline.imageio import read_label
from balrsam_pipeline.inference import PredictorOptions, load_predictor, predict_array
from balrsam_pipeline.inference.arguments import add_models
from balrsam_pipeline.inference.best_configuration import BestConfiguration, write_best
from balrsam_pipeline.inference.postprocessing import Postprocessing, PostprocessingStep, write_postprocessing
from balrsam_pipeline.inference.request import model_choice

Folders = Callable[..., Path]
Change = Callable[[dict[str, dict[str, object]]], object]
CPU = ("--device", "cpu")


def labels_of(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: read_label(path).data for path in sorted(folder.glob("*.nii.gz"))}


def test_a_folder_is_predicted_by_the_average_of_the_folds(
    image_folder: Folders, model_folder: Folders, tmp_path: Path
) -> None:
    model, images = model_folder(), image_folder(2)
    assert main(["predict", "-i", str(images), "-o", str(tmp_path / "out"), "--model", str(model), *CPU]) == 0
    predictor = load_predictor(model, None, PredictorOptions(device="cpu"))
    assert len(predictor.models) == 2
    for case in ("case0", "case1"):
        image = read_label(images / f"{case}_0000.nii.gz")
        expected = predict_array(predictor, image.data.astype(np.float32), image.geometry.spacing_mm)
        np.testing.assert_array_equal(labels_of(tmp_path / "out")[f"{case}.nii.gz"][0], expected)
    assert (tmp_path / "out" / "dataset.json").is_file()


def test_npz_files_are_predicted_as_their_challenge_wants_them(
    image_folder: Folders, model_folder: Folders, tmp_path: Path
) -> None:
    """The same voxels as NIfTI are the oracle; the label map is `segs` in a file of the image's name."""
    model, images, arrays = model_folder(folds=(0,)), image_folder(2), tmp_path / "imgs"
    arrays.mkdir()
    for path in images.iterdir():
        voxels = read_label(path).data[0]
        name = path.name.replace("_0000.nii.gz", "_0001.npz")  # CVPR's cases end in numbers, too
        np.savez_compressed(arrays / name, imgs=voxels, spacing=(1.0, 1.0, 1.0))
    words = ["--model", str(model), *CPU]
    for source, output in ((images, "nifti"), (arrays, "npz")):
        assert main(["predict", "-i", str(source), "-o", str(tmp_path / output), *words]) == 0
    for case, label in labels_of(tmp_path / "nifti").items():
        with np.load(tmp_path / "npz" / case.replace(".nii.gz", "_0001.npz")) as opened:
            np.testing.assert_array_equal(opened["segs"], label[0])
            assert opened["spacing"].tolist() == [1.0, 1.0, 1.0]
    one = tmp_path / "one.npz"
    assert main(["predict", "-i", str(arrays / "case0_0001.npz"), "-o", str(one), *words]) == 0
    with np.load(one) as opened:
        np.testing.assert_array_equal(opened["segs"], labels_of(tmp_path / "nifti")["case0.nii.gz"][0])
    both = [str(tmp_path / "npz")] * 2
    assert main(["evaluate", *both, "--output", str(tmp_path / "scores"), "--workers", "1"]) == 0
    scores = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert scores["foreground_mean"]["Dice"] == 1.0


def test_parts_together_are_the_whole_and_a_list_names_images(
    image_folder: Folders, model_folder: Folders, tmp_path: Path
) -> None:
    model, images = model_folder(folds=(0,)), image_folder(3)
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join(f"images/{path.name}" for path in sorted(images.iterdir())))
    words = ["--model", str(model), "--no-mirror", *CPU]
    assert main(["predict", "-i", str(listing), "-o", str(tmp_path / "whole"), *words]) == 0
    for part in ("1/2", "2/2"):
        assert (
            main(["predict", "-i", str(images), "-o", str(tmp_path / "parts"), "--part", part, *words]) == 0
        )
    whole, parts = labels_of(tmp_path / "whole"), labels_of(tmp_path / "parts")
    assert sorted(whole) == sorted(parts) == ["case0.nii.gz", "case1.nii.gz", "case2.nii.gz"]
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name])


def test_failed_cases_are_listed_and_the_exit_code_is_1(
    image_folder: Folders, model_folder: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = image_folder(3)
    (images / "case1_0000.nii.gz").write_bytes(b"no image")
    (images / "case2_0000.nii.gz").rename(images / "case2_0001.nii.gz")
    code = main(
        ["predict", "-i", str(images), "-o", str(tmp_path / "out"), "--model", str(model_folder()), *CPU]
    )
    shown = capsys.readouterr().out
    assert code == 1
    assert "2 failed" in shown and "- case1" in shown and "case2" in shown
    assert list(labels_of(tmp_path / "out")) == ["case0.nii.gz"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "nowhere"], "no such folder"),
        ([], "neither --model nor -d"),
        (["-d", "900", "--configuration", "3d"], "trained configurations: 2d"),
        (["-d", "900", "--folds", "7"], "no such file"),
        (["-d", "900", "--best"], "find_best_configuration"),
        (["-d", "900", "--part", "3/2"], "i/n"),
        (["-d", "900", "--tile-step", "0"], "--tile-step"),
        (["-d", "900", "--weights", "nan"], "positive numbers"),
        (["-d", "900", "--weights", "inf"], "positive numbers"),
        (["-d", "900", "--device", "banana"], "no name of a device"),
        (["-d", "900", "--device", "cuda:70"], "that PyTorch"),
        (["-d", "900", "--best", "--configuration", "2d"], "--best with --configuration"),
        (["-d", "900", "--best", "--plan", "own"], "--best with --plan"),
        (["--model", "2d__balrsam", "--best", "--plan", "own"], "--model with --plan, --best"),
        (["--model", "2d__balrsam", "--configuration", "2d"], "--model with --configuration"),
        (["-d", "900", "-o", "mask.nii.gz", "--save-probabilities"], "the name of a file, and"),
    ],
)
def test_wrong_options_end_with_one_message(
    image_folder: Folders,
    model_folder: Folders,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    model_folder(folds=(0,))
    common = [
        "predict",
        "-i",
        str(image_folder(1)),
        "-o",
        str(tmp_path / "out"),
        "--results",
        str(tmp_path / "results"),
        *CPU,
    ]
    assert main([*common, *words]) == 2
    assert said in capsys.readouterr().err


def test_the_best_choice_brings_its_models_and_postprocessing(
    image_folder: Folders, model_folder: Folders, tmp_path: Path
) -> None:
    folders = [model_folder("2d", (0,)), model_folder("2.5d", (0,), context_slices=0)]
    rules = Postprocessing(
        steps=(PostprocessingStep(kind="minimum_size", names=("l1", "l2"), minimum_size=1e9),)
    )
    best = BestConfiguration(
        dataset="Dataset900_Test",
        configurations=("2d", "2.5d"),
        folds=(0,),
        postprocessing=rules,
        reason="",
        candidates=(),
    )
    write_best(folders[0].parent, best)
    words = ["predict", "-i", str(image_folder(1)), "-d", "900", "--results", str(tmp_path / "results"), *CPU]
    assert main([*words, "-o", str(tmp_path / "best"), "--best"]) == 0
    assert not labels_of(tmp_path / "best")["case0.nii.gz"].any()
    assert main([*words, "-o", str(tmp_path / "plain"), "--best", "--no-postprocessing"]) == 0
    assert labels_of(tmp_path / "plain")["case0.nii.gz"].any()


def test_a_models_own_postprocessing_is_applied(
    image_folder: Folders, model_folder: Folders, tmp_path: Path
) -> None:
    model = model_folder(folds=(0,))
    rules = Postprocessing(
        steps=(PostprocessingStep(kind="minimum_size", names=("l1", "l2"), minimum_size=1e9),)
    )
    write_postprocessing(model / "crossval" / "postprocessing.json", rules)
    assert (
        main(
            ["predict", "-i", str(image_folder(1)), "-o", str(tmp_path / "out"), "--model", str(model), *CPU]
        )
        == 0
    )
    assert not labels_of(tmp_path / "out")["case0.nii.gz"].any()


@pytest.mark.parametrize("chosen", ["rules", "best"])
def test_what_was_chosen_with_other_weights_than_those_of_now_is_told(
    image_folder: Folders,
    model_folder: Folders,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    chosen: str,
) -> None:
    """The oracle is a hash by hand. What earlier versions chose notes no weights, and is not doubted."""
    model = model_folder(folds=(0, 1))
    own = hashlib.sha256((model / "fold_0" / "checkpoint_final.safetensors").read_bytes()).hexdigest()
    words = ["predict", "-i", str(image_folder(1)), *CPU]
    words += ["--model", str(model)] if chosen == "rules" else ["-d", "900", "--best"]
    words += [] if chosen == "rules" else ["--results", str(tmp_path / "results")]
    notes: tuple[tuple[dict[str, str], bool], ...]
    notes = (({}, False), ({"0": own}, False), ({"0": own, "1": "f" * 64}, True))
    for number, (noted, doubted) in enumerate(notes):
        if chosen == "rules":
            rules = Postprocessing(weights_sha256=noted)
            write_postprocessing(model / "crossval" / "postprocessing.json", rules)
        else:
            best = BestConfiguration(
                dataset="Dataset900_Test",
                configurations=("2d",),
                folds=(0, 1),
                postprocessing=Postprocessing(),
                reason="",
                candidates=(),
                weights_sha256={"2d": noted},
            )
            write_best(model.parent, best)
        caplog.clear()
        assert main([*words, "-o", str(tmp_path / f"out{number}")]) == 0
        told = "fold 1 has been trained again since; choose again: balrsam find_best_configuration"
        assert (told in caplog.text) == doubted
    caplog.clear()
    assert main([*words, "--folds", "0", "-o", str(tmp_path / "out")]) == 0
    assert "trained again" not in caplog.text, "the fold that was does not predict"


def test_folds_that_were_trained_since_the_choice_are_told(
    model_folder: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One that all models of the ensemble have, and that is not the one of all cases."""
    folders = [model_folder("2d", (0, 1, 2, "all")), model_folder("2.5d", (0, 1), context_slices=0)]
    parser = argparse.ArgumentParser()
    add_models(parser)
    add_roots(parser)
    parser.set_defaults(weights=None, checkpoint="final", base=None)
    words = ["-d", "900", "--best", "--results", str(tmp_path / "results")]
    for folds, more, told in (((0,), (), True), ((0, 1), (), False), ((0,), ("--folds", "0"), False)):
        best = BestConfiguration(
            dataset="Dataset900_Test",
            configurations=("2d", "2.5d"),
            folds=folds,
            postprocessing=Postprocessing(),
            reason="",
            candidates=(),
        )
        write_best(folders[0].parent, best)
        caplog.clear()
        choice = model_choice(parser.parse_args([*words, *more]))
        assert choice.folds == folds
        assert ("fold 1 has been trained since" in caplog.text) == told
        assert ("--folds 0 1" in caplog.text) == ("find_best_configuration" in caplog.text) == told


def test_ensembling_folders_equals_ensembling_models_and_a_numpy_mean(
    image_folder: Folders, model_folder: Folders, tmp_path: Path
) -> None:
    models, images = [model_folder("2d", (0,)), model_folder("2.5d", (0, 1))], image_folder(2)
    for index, model in enumerate(models):
        words = [
            "-i",
            str(images),
            "-o",
            str(tmp_path / f"p{index}"),
            "--model",
            str(model),
            "--save-probabilities",
            *CPU,
        ]
        assert main(["predict", *words]) == 0
    folders = [str(tmp_path / f"p{index}") for index in range(2)]
    assert (
        main(
            [
                "ensemble",
                "-i",
                *folders,
                "-o",
                str(tmp_path / "e"),
                "--weights",
                "1",
                "3",
                "--save-probabilities",
            ]
        )
        == 0
    )
    words = ["--model", *map(str, models), "--weights", "1", "3", *CPU]
    assert main(["predict", "-i", str(images), "-o", str(tmp_path / "direct"), *words]) == 0
    for case in ("case0", "case1"):
        each = [
            np.asarray(blosc2.open(f"{folder}/{case}_probabilities.b2nd")[:], dtype=np.float64)
            for folder in folders
        ]
        mean = (each[0] + 3 * each[1]) / 4
        assert each[0].shape == (3, 5, 20, 18)
        np.testing.assert_allclose(each[0].sum(0), 1, atol=2e-3)
        np.testing.assert_allclose(
            blosc2.open(str(tmp_path / "e" / f"{case}_probabilities.b2nd"))[:], mean, atol=1e-3
        )
        sure = (
            np.sort(mean, axis=0)[-1] - np.sort(mean, axis=0)[-2] > 2e-3
        )  # float16 may decide otherwise below
        for folder in ("e", "direct"):
            label = labels_of(tmp_path / folder)[f"{case}.nii.gz"][0]
            np.testing.assert_array_equal(label[sure], mean.argmax(0)[sure])


def test_folders_of_other_cases_are_not_ensembled(
    image_folder: Folders, model_folder: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, images = model_folder(folds=(0,)), image_folder(2)
    for name in ("a", "b"):
        main(
            [
                "predict",
                "-i",
                str(images),
                "-o",
                str(tmp_path / name),
                "--model",
                str(model),
                "--save-probabilities",
                *CPU,
            ]
        )
        (images / "case1_0000.nii.gz").unlink(missing_ok=True)
    assert main(["ensemble", "-i", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "e")]) == 2
    assert "case1" in capsys.readouterr().err


def change_metadata(path: Path, change: Change) -> None:
    array = blosc2.open(str(path), mode="a")
    metadata = json.loads(array.schunk.vlmeta["balrsam"])
    change(metadata)
    array.schunk.vlmeta["balrsam"] = json.dumps(metadata)


@pytest.mark.parametrize(
    ("said", "change"),
    [
        ("geometry", lambda metadata: metadata["geometry"].update(origin_mm=[9.0, 9.0, 9.0])),
        ("labels", lambda metadata: metadata["labels"].update(names=["l1", "other"])),
    ],
)
def test_folders_of_other_geometry_or_labels_are_not_ensembled(
    image_folder: Folders,
    model_folder: Folders,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    said: str,
    change: Callable[..., object],
) -> None:
    model, images = model_folder(folds=(0,)), image_folder(1)
    for name in ("a", "b"):
        main(
            [
                "predict",
                "-i",
                str(images),
                "-o",
                str(tmp_path / name),
                "--model",
                str(model),
                "--save-probabilities",
                *CPU,
            ]
        )
    change_metadata(tmp_path / "b" / "case0_probabilities.b2nd", change)
    assert main(["ensemble", "-i", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "e")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "e" / "case0.nii.gz").exists()


def test_a_run_is_not_continued_under_another_plan(
    image_folder: Folders, model_folder: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, words = image_folder(1), ["-o", str(tmp_path / "out"), *CPU]
    model = model_folder(folds=(0,))
    assert main(["predict", "-i", str(images), "--model", str(model), *words]) == 0
    shutil.rmtree(model)
    model = model_folder(folds=(0,), mirror_axes=(2,))
    assert main(["predict", "-i", str(images), "--model", str(model), "--continue", *words]) == 2
    assert "made otherwise" in capsys.readouterr().err


def kill_and_continue(python: WarmPython, images: Path, model: Path, output: Path, wait_s: float) -> int:
    """Kill the command after `wait_s` seconds, then run it to the end; returns how many outputs were there
    when it died."""
    words = ("predict", "-i", images, "-o", output, "--model", model, *CPU)
    process = python.start((*words, "--workers", "2"), output.with_suffix(".txt"))
    while not (output / "prediction.json").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(wait_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(output.glob("case*.nii.gz")))
    assert python.run(*words, "--continue").returncode == 0
    return done


@pytest.mark.parametrize("moments", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_killing_at_random_moments_and_continuing_gives_the_same_files(
    image_folder: Folders, model_folder: Folders, warm_python: WarmPython, tmp_path: Path, moments: int
) -> None:
    model, images = model_folder(folds=(0,), patch_size=(48, 48)), image_folder(8, (6, 40, 40))
    assert (
        main(["predict", "-i", str(images), "-o", str(tmp_path / "whole"), "--model", str(model), *CPU]) == 0
    )
    expected = {path.name: path.read_bytes() for path in (tmp_path / "whole").glob("*.nii.gz")}
    chance = random.Random(moments)
    for moment in range(moments):
        output = tmp_path / f"killed{moment}"
        kill_and_continue(warm_python, images, model, output, chance.uniform(0, 1.0))
        assert {path.name: path.read_bytes() for path in output.glob("*.nii.gz")} == expected
        assert not list(output.glob(".tmp*"))
