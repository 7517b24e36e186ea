"""The commands on a Dask cluster of two workers on loopback: the same bytes as from local processes; folds
trained on workers."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.runs import copy_some, roots, stray_files

from balrsam_pipeline.cli import main

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
from support.clusters import dask_cluster, wait_for_workers

SETTINGS = {"steps_per_epoch": 2, "quick_validation_patches": 2, "save_every_s": 0}
TRAINING = (
    "--configuration",
    "2d",
    "--folds",
    "0",
    "1",
    "--epochs",
    "1",
    "--device",
    "cpu",
    "--workers",
    "0",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """The options that name a cluster of two workers."""
    with dask_cluster(tmp_path_factory.mktemp("cluster")) as file:
        wait_for_workers(file, 2)
        yield ("--cluster", str(file))


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_bytes_from_local_processes_and_from_a_cluster(
    test_data: Path, tmp_path: Path, cluster: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """One story, because each part needs what the part before made."""
    here, there = tmp_path / "here", tmp_path / "there"
    raw = copy_some(
        test_data / "raw" / "Dataset004_Hippocampus", tmp_path / "raw" / "Dataset004_Hippocampus", 6, tests=2
    )
    name = raw.name

    # preprocessing (integrity check, fingerprint, plan, cases)
    for folder, where in ((here, ("--workers", "2")), (there, cluster)):
        words = ("--raw", str(tmp_path / "raw"), "--preprocessed", str(folder / "preprocessed"))
        assert (
            main(
                ["plan_and_preprocess", "4", "--configurations", "2d", "--gpu-memory-gb", "0", *words, *where]
            )
            == 0
        )
    assert len(files_below(here / "preprocessed")) >= 6 * 3
    assert files_below(there / "preprocessed") == files_below(here / "preprocessed")

    # folds trained as tasks; the pooling process finds them done, and so does a second call
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(SETTINGS))
    folders = (f"--raw={tmp_path / 'raw'}", *roots(there)[1:])
    with caplog.at_level(logging.INFO):
        assert main(["crossval", "4", *TRAINING, "--settings", str(settings), *folders, *cluster]) == 0
    assert "2d fold 0: trained on" in caplog.text
    model = there / "results" / name / "2d__balrsam"
    assert (model / "fold_1" / "cluster.log").is_file()
    assert json.loads((model / "crossval" / "summary.json").read_text())
    assert main(["crossval", "4", *TRAINING, "--settings", str(settings), *folders]) == 0

    # prediction
    for folder, where in ((here, ()), (there, cluster)):
        words = (
            "-i",
            str(raw / "imagesTs"),
            "-o",
            str(folder / "predictions"),
            "--model",
            str(model),
            "--device",
            "cpu",
        )
        assert main(["predict", *words, *where]) == 0
    assert len(list((here / "predictions").glob("*.nii.gz"))) == 2
    assert files_below(there / "predictions") == files_below(here / "predictions")

    # evaluation
    for folder, where in ((here, ("--workers", "2")), (there, cluster)):
        words = (
            str(model / "fold_0" / "validation"),
            str(raw / "labelsTr"),
            "--cases",
            *_validated(model),
            "--labels",
            str(raw / "dataset.json"),
        )
        assert main(["evaluate", *words, "--output", str(folder / "evaluation"), *where]) == 0
    assert files_below(there / "evaluation") == files_below(here / "evaluation")
    assert stray_files(tmp_path) == []


def _validated(model: Path) -> list[str]:
    return [
        path.name.removesuffix(".nii.gz")
        for path in sorted((model / "fold_0" / "validation").glob("*.nii.gz"))
    ]
