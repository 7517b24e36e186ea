"""From two trained configurations to a choice, by the commands that it prints."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from balrsam_pipeline.cli import main
from balrsam_pipeline.dataset import parse_labels
from balrsam_pipeline.imageio import Geometry, Image, read_geometry, read_label, write_image, write_label
from balrsam_pipeline.inference import Postprocessing, read_best, read_postprocessing
from balrsam_pipeline.inference.best_configuration import BestConfiguration
from balrsam_pipeline.inference.challenge import main as challenge
from balrsam_pipeline.layout import MADE_OF, ModelFolder
from balrsam_pipeline.network import build, trainable_state
from balrsam_pipeline.paths import resolve_roots
from balrsam_pipeline.plan import ChannelStatistics, Configuration, NetworkPlan, Plan, write_versioned
from evaluation import EvaluationOptions, evaluate_folders, write_reports
from evaluation.best_configuration.find import BestRequest, command_lines
from evaluation.best_configuration.folds import common_folds, folds_of

NAME = "Dataset901_Blobs"
GEOMETRY = Geometry(dimension=3, shape_zyx=(4, 16, 16), spacing_mm=(2.0, 1.0, 1.0))
CONTENT = {
    "channel_names": {"0": "MR"},
    "labels": {"background": 0, "blob": 1},
    "numTraining": 8,
    "file_ending": ".nii.gz",
}
CASES = 8  # enough that a rule's gain can be told from noise
STATISTICS = ChannelStatistics(mean=0, median=0, std=1, min=-1, max=1, percentile_00_5=-1, percentile_99_5=1)


def make_raw(folder: Path) -> Path:
    """Labelled cases and one test image; a blob brighter than noise."""
    for index in range(CASES + 1):
        rng = np.random.default_rng(index)
        label = np.zeros(GEOMETRY.shape_zyx, np.uint8)
        label[:, 4 + index // 2 : 10, 4:11] = 1
        image = (label * 3 + rng.normal(size=label.shape)).astype(np.float32)
        kind = "Tr" if index < CASES else "Ts"
        write_image(folder / f"images{kind}" / f"c{index}_0000.nii.gz", Image(image[None], GEOMETRY))
        if index < CASES:
            write_label(folder / "labelsTr" / f"c{index}.nii.gz", label, GEOMETRY)
    (folder / "dataset.json").write_text(json.dumps(CONTENT))
    return folder


def make_model(folder: Path, name: str, raw: Path, flips: float, folds: int = 1) -> None:
    """Folds with random weights, and validation predictions that are the labels with a share of voxels
    flipped, plus an island."""
    network = NetworkPlan(
        backbone="vit_mini",
        from_scratch=True,
        input_channels=1,
        classes=2,
        input_size=(32, 32),
        lora_rank=0,
        lora_alpha=1.0,
        adapter_rank=0,
        decoder_attention="exact",
        decoder_rank=1,
        cden_width=8,
        mask_stride=4,
    )
    configuration = Configuration(
        name=name,
        transpose=(0, 1, 2),
        spacing_mm=(2.0, 1.0, 1.0),
        slicing_axes=(0,),
        context_slices=0,
        normalization=("none",),
        normalize_inside_mask=(False,),
        patch_size=(16, 16),
        batch_size=2,
        mirror_axes=(),
        network=network,
    )
    plan = Plan(
        dataset=NAME,
        fingerprint_sha256="0" * 64,
        channel_statistics=(STATISTICS,),
        configurations={name: configuration},
        default_configuration=name,
    )
    write_versioned(folder / "plan.json", plan)
    (folder / "dataset.json").write_text(json.dumps(CONTENT))
    torch.manual_seed(0)
    tensors = {f"ema/{key}": value.contiguous() for key, value in trainable_state(build(network)).items()}
    for fold in range(folds):
        (folder / f"fold_{fold}").mkdir()
        save_file(tensors, folder / f"fold_{fold}" / "checkpoint_final.safetensors", {"base_sha256": ""})
        validate(folder / f"fold_{fold}" / "validation", raw, flips, range(fold, CASES, folds))


def validate(validation: Path, raw: Path, flips: float, numbers: range) -> None:
    """The predictions of a fold's cases, and their scores."""
    for index in numbers:
        label = read_label(raw / "labelsTr" / f"c{index}.nii.gz").data[0].copy()
        flipped = np.random.default_rng(index).random(label.shape) < flips
        label[flipped & (label == 1)] = 0
        label[0, 15, 15] = 1
        write_label(validation / f"c{index}.nii.gz", label, GEOMETRY)
    scheme = parse_labels(CONTENT, "dataset.json")
    cases = [f"c{index}" for index in numbers]
    options = EvaluationOptions(metrics=("overlap",))
    write_reports(
        evaluate_folders(validation, raw / "labelsTr", scheme, ".nii.gz", options, cases=cases), validation
    )


def test_the_printed_commands_predict_and_submit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, results = make_raw(tmp_path / "raw" / NAME), tmp_path / "results"
    make_model(results / NAME / "2d__balrsam", "2d", raw, flips=0.05)
    make_model(results / NAME / "2.5d__balrsam", "2.5d", raw, flips=0.3)
    assert (
        main(
            [
                "find_best_configuration",
                str(raw),
                "--results",
                str(results),
                "--device",
                "cpu",
                "--workers",
                "1",
            ]
        )
        == 0
    )
    shown = capsys.readouterr().out
    best = read_best(results / NAME)
    assert best.configurations == ("2d",)
    assert {score.configurations for score in best.candidates} == {("2d",), ("2.5d",), ("2.5d", "2d")}
    assert [step.kind for step in best.postprocessing.steps] == ["largest_component"]
    assert (
        read_postprocessing(results / NAME / "2d__balrsam" / "crossval" / "postprocessing.json")
        == best.postprocessing
    )
    commands = [
        shlex.split(line.strip())[1:] for line in shown.splitlines() if line.strip().startswith("balrsam ")
    ]
    assert [words[0] for words in commands] == ["predict", "submit"]
    for words in commands:
        assert main(words) == 0
    with zipfile.ZipFile(results / NAME / "submission.zip") as archive:
        assert archive.namelist() == ["c8.nii.gz"]


def test_a_model_trained_again_is_ensembled_again(tmp_path: Path) -> None:
    raw, results = make_raw(tmp_path / "raw" / NAME), tmp_path / "results"
    for name in ("2d", "2.5d"):
        make_model(results / NAME / f"{name}__balrsam", name, raw, flips=0.1)
    words = [
        "find_best_configuration",
        str(raw),
        "--results",
        str(results),
        "--device",
        "cpu",
        "--workers",
        "1",
    ]
    assert main(words) == 0
    manifest = results / NAME / "ensembles" / "2.5d__2d" / "fold_0" / "prediction.json"
    before = json.loads(manifest.read_text())
    checkpoint = results / NAME / "2d__balrsam" / "fold_0" / "checkpoint_final.safetensors"
    save_file(
        {name: tensor + 0.01 for name, tensor in load_file(checkpoint).items()},
        checkpoint,
        {"base_sha256": ""},
    )
    assert main(words) == 0
    after = json.loads(manifest.read_text())
    assert [one != other for one, other in zip(after["members"], before["members"], strict=True)] == [
        False,
        True,
    ]


def test_the_choice_notes_with_which_weights_it_was_made(tmp_path: Path) -> None:
    raw, results = make_raw(tmp_path / "raw" / NAME), tmp_path / "results"
    model = results / NAME / "2d__balrsam"
    make_model(model, "2d", raw, flips=0.1, folds=2)
    assert main(["find_best_configuration", str(raw), "--results", str(results)]) == 0
    files = {str(fold): model / f"fold_{fold}" / "checkpoint_final.safetensors" for fold in (0, 1)}
    noted = {fold: hashlib.sha256(path.read_bytes()).hexdigest() for fold, path in files.items()}
    assert read_best(results / NAME).weights_sha256 == {"2d": noted}
    assert read_postprocessing(model / "crossval" / "postprocessing.json").weights_sha256 == noted


def test_nothing_trained_is_said_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = make_raw(tmp_path / "raw" / NAME)
    assert main(["find_best_configuration", str(raw), "--results", str(tmp_path / "results")]) == 2
    assert "balrsam crossval" in capsys.readouterr().err


def test_folds_that_are_not_finished_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, results = make_raw(tmp_path / "raw" / NAME), tmp_path / "results"
    make_model(results / NAME / "2d__balrsam", "2d", raw, flips=0.1)
    assert main(["find_best_configuration", str(raw), "--results", str(results), "--folds", "0", "3"]) == 2
    assert "2d: folds [0]" in capsys.readouterr().err


def test_a_case_that_was_withdrawn_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, results = make_raw(tmp_path / "raw" / NAME), tmp_path / "results"
    for name in ("2d", "2.5d"):
        make_model(results / NAME / f"{name}__balrsam", name, raw, flips=0.1)
    for path in ("imagesTr/c3_0000.nii.gz", "labelsTr/c3.nii.gz"):
        (raw / path).unlink()
    for more in ([], ["--no-ensembles"]):
        assert main(["find_best_configuration", str(raw), "--results", str(results), *more]) == 2
        told = capsys.readouterr().err
        assert "validated but no longer in the dataset: c3" in told and "plan_and_preprocess" in told


def test_a_case_that_two_folds_validated_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It would count twice, or once with the prediction of whichever fold came last."""
    raw, results = make_raw(tmp_path / "raw" / NAME), tmp_path / "results"
    model = results / NAME / "2d__balrsam"
    make_model(model, "2d", raw, flips=0.1, folds=2)
    validate(model / "fold_1" / "validation", raw, 0.1, range(2, 6))
    assert main(["find_best_configuration", str(raw), "--results", str(results)]) == 2
    told = capsys.readouterr().err
    assert "c2 in folds 0 1; c4 in folds 0 1" in told and "--folds 0" in told
    assert main(["find_best_configuration", str(raw), "--results", str(results), "--folds", "1"]) == 0


@pytest.mark.parametrize("prefer", ["speed", "accuracy"])
def test_a_configuration_that_is_not_finished_takes_no_fold_from_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], prefer: str
) -> None:
    """2d and triplanar have finished both folds, 2.5d only fold 0, on which the three are compared."""
    raw, results = make_raw(tmp_path / "raw" / NAME), tmp_path / "results"
    flips = {"2d": 0.05, "2.5d": 0.3, "triplanar": 0.2}
    for name, share in flips.items():
        make_model(results / NAME / f"{name}__balrsam", name, raw, share, folds=2)
    (results / NAME / "2.5d__balrsam" / "fold_1" / "validation" / "summary.json").unlink()
    words = ["find_best_configuration", str(raw), "--results", str(results), "--workers", "1"]
    words += ["--no-ensembles", "--prefer", prefer]
    assert main(words) == 0
    best = read_best(results / NAME)
    assert best.configurations == ("2d",) and best.folds == (0, 1)
    assert "--best --folds 0 1 " in capsys.readouterr().out
    assert "compared on fold 0 alone" in caplog.text and "2d fold 1, triplanar fold 1" in caplog.text
    assert "not finished: 2.5d fold 1" in caplog.text
    # four cases of one fold cannot tell a gain from noise, the eight of both can
    assert [step.kind for step in best.postprocessing.steps] == ["largest_component"]
    assert main([*words, "--folds", "0"]) == 0
    assert read_best(results / NAME).folds == (0,)


def test_an_ensemble_predicts_with_the_folds_that_all_its_members_have(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("a", "b", "c")}
    for name, folds in {"a": (0, 1, 2), "b": (0, 2, 3), "c": (0,)}.items():
        for fold in folds:
            summary = ModelFolder(folders[name]).fold(fold).validation.summary
            summary.parent.mkdir(parents=True)
            summary.write_text("{}")
    assert folds_of(folders, ("a",)) == (0, 1, 2)
    assert folds_of(folders, ("a", "b")) == (0, 2)
    assert common_folds(folders, None) == (0,)


OFFLINE = """import socket
def no(*_):
    raise OSError("no network")
socket.socket.connect = socket.getaddrinfo = no
"""


def container_of(tmp_path: Path, form: str, *more: str) -> Path:
    """A container folder of a model of all cases."""
    raw, results = make_raw(tmp_path / "raw" / NAME), tmp_path / "results"
    make_model(results / NAME / "2d__balrsam", "2d", raw, flips=0.1)
    fold = results / NAME / "2d__balrsam" / "fold_0"
    fold.rename(fold.with_name("fold_all"))
    words = [
        "submit",
        "--format",
        form,
        "--container",
        "-d",
        "901",
        "--configuration",
        "2d",
        "--folds",
        "all",
    ]
    assert main([*words, "--results", str(results), "-o", str(tmp_path / "container"), *more]) == 0
    assert json.loads((tmp_path / "container/model/container.json").read_text())["folds"] == [["all"]]
    return tmp_path / "container"


def test_a_container_runs_as_grand_challenge_runs_it(tmp_path: Path) -> None:
    """Sockets by inputs.json, an image under a UUID, the model read-only, no network, nothing on stderr."""
    slugs = ("--input-slugs", "t2-mri", "--output-slug", "blobs")
    container = container_of(tmp_path, "grand-challenge", *slugs)
    names = {path.name for path in container.iterdir() if path.is_file()}
    scripts = {"do_build.sh", "do_test_run.sh", "do_save.sh"}
    assert names == scripts | {"Dockerfile", "README.md", "requirements.txt", ".dockerignore", MADE_OF}
    assert all(os.access(container / name, os.X_OK) for name in scripts)
    pins = (container / "requirements.txt").read_text().split()
    assert all("==" in line and "+" not in line for line in pins)
    assert {"torch", "numpy", "blosc2"} <= {line.partition("==")[0] for line in pins}

    place, entries = tmp_path / "in", []
    for slug, path in (("age", "age.json"), ("t2-mri", "images/t2-mri")):
        entries.append({"interface": {"slug": slug, "kind": "Any", "relative_path": path}})
    place.mkdir()
    (place / "inputs.json").write_text(json.dumps(entries))
    (place / "age.json").write_text("61")
    source = place / "images" / "t2-mri" / "3f0c1f9e-7f3c-4d39-a9a5-0b1c7c5f8a11.mha"
    voxels = np.random.default_rng(0).normal(size=(1, *GEOMETRY.shape_zyx)).astype(np.float32)
    write_image(source, Image(voxels, GEOMETRY))
    (tmp_path / "offline").mkdir()
    (tmp_path / "offline" / "sitecustomize.py").write_text(OFFLINE)
    before = {path: path.stat().st_mtime_ns for path in (container / "model").rglob("*")}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("balrsam_")}
    done = subprocess.run(
        [sys.executable, "-m", "inference", "--input", str(place), "--output", str(tmp_path / "out")],
        cwd=container / "code",
        env=environment | {"PYTHONPATH": str(tmp_path / "offline"), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "sockets that the model does not look at: age" in done.stdout
    made = tmp_path / "out" / "images" / "blobs" / "output.mha"
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [made]
    assert read_geometry(made) == read_geometry(source)
    assert b"CompressedData = True" in made.read_bytes()[:1000]
    assert {path: path.stat().st_mtime_ns for path in (container / "model").rglob("*")} == before


def test_a_container_runs_as_flare_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container = container_of(tmp_path, "flare")
    for name in ("Dockerfile", "requirements.txt", "do_save.sh", "code/predict.sh", "code/inference.py"):
        assert (container / name).is_file()
    monkeypatch.delenv("balrsam_checkpoints", raising=False)
    words = ["--input", str(tmp_path / "raw" / NAME / "imagesTr"), "--output", str(tmp_path / "outputs")]
    assert challenge(container / "code", words) == 0
    names = sorted(path.name for path in (tmp_path / "outputs").iterdir())
    assert names == [f"c{index}.nii.gz" for index in range(CASES)]
    reference = read_geometry(tmp_path / "raw" / NAME / "imagesTr" / "c0_0000.nii.gz")
    assert read_geometry(tmp_path / "outputs" / "c0.nii.gz") == reference
    logging.captureWarnings(False)


@pytest.mark.parametrize(
    ("dataset", "ending", "labels", "form"),
    [
        ("Task04_Hippocampus", ".nii.gz", 2, "msd"),
        ("Dataset004_Hippocampus", ".nii.gz", 2, "msd"),
        ("Dataset010_Colon", ".nii.gz", 1, "msd"),
        ("Dataset004_Colon", ".nii.gz", 1, "plain"),
        ("Dataset219_AMOS", ".nii.gz", 15, "plain"),
        ("hospital", ".nii.gz", 1, "plain"),
        (NAME, ".png", 1, "isic"),
        (NAME, ".png", 2, "plain"),
        (NAME, ".tif", 1, "plain"),
        (NAME, ".mha", 1, "plain"),
    ],
)
def test_the_printed_form_fits_the_dataset(
    tmp_path: Path, dataset: str, ending: str, labels: int, form: str
) -> None:
    names = {"background": 0, **{f"l{value}": value for value in range(1, labels + 1)}}
    content = {"channel_names": {"0": "MR"}, "labels": names, "numTraining": 1, "file_ending": ending}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    empty = Postprocessing()
    best = BestConfiguration(
        dataset=dataset, configurations=("2d",), folds=(0,), postprocessing=empty, reason="", candidates=()
    )
    request = BestRequest(dataset=tmp_path, roots=resolve_roots(tmp_path, tmp_path, tmp_path))
    assert f"--format {form} " in command_lines(best, request)[1]
