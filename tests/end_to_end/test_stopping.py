"""Killing a run and running it again: it continues, completes, and leaves nothing stray."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from support.runs import Balrsam, roots, stray_files
from support.warm import WarmProcess, WarmPython

from balrsam_pipeline.demo import DemoSize, generate_dataset
from balrsam_pipeline.execution.lock import lock_holder
from balrsam_pipeline.layout import ResultsFolder
from trainers.stopping import TrainingStopped

WORDS = ("--configurations", "2d", "--folds", "0", "--epochs", "12", "--device", "cpu", "--workers", "1")


def prepared(folder: Path) -> Path:
    """A small dataset, and the file of settings that it trains with."""
    generate_dataset(folder / "raw", DemoSize(training_cases=5, test_cases=1, shape_zyx=(8, 40, 32)))
    settings = folder / "settings.json"
    settings.write_text(json.dumps({"steps_per_epoch": 4, "quick_validation_patches": 2}))
    return settings


def wait_for(logs: list[Path], run: WarmProcess) -> None:
    """Wait until something stands in each of the logs."""
    deadline = time.monotonic() + 120
    while (
        not all(log.exists() and log.stat().st_size for log in logs)
        and time.monotonic() < deadline
        and run.poll() is None
    ):
        time.sleep(0.01)


def test_a_run_killed_in_training_continues(
    tmp_path: Path, balrsam: Balrsam, warm_python: WarmPython
) -> None:
    settings = prepared(tmp_path)
    words = ("run", "999", *roots(tmp_path), *WORDS, "--settings", str(settings))
    log = tmp_path / "results" / "Dataset999_Demo" / "2d__balrsam" / "fold_0" / "log.jsonl"
    run = warm_python.start(words, tmp_path / "said.txt")
    wait_for([log], run)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert log.exists()
    assert not (log.parent / "checkpoint_final.safetensors").exists()
    balrsam(*words)
    assert (log.parent / "checkpoint_final.safetensors").exists()
    assert (log.parent / "validation" / "summary.json").exists()
    assert len(list((tmp_path / "results" / "Dataset999_Demo" / "predictions").glob("*.nii.gz"))) == 1
    assert all(json.loads(line) for line in log.read_text().splitlines())
    assert stray_files(tmp_path) == []


def test_trainings_side_by_side_end_with_their_run_and_go_on(
    tmp_path: Path, balrsam: Balrsam, warm_python: WarmPython
) -> None:
    settings = prepared(tmp_path)
    choices = ("--configurations", "2d", "2.5d", "--folds", "0", "--epochs", "16", "--workers", "1")
    places = ("--devices", "cpu", "cpu", "--settings", str(settings))
    words = ("run", "999", *roots(tmp_path), *choices, *places)
    results = tmp_path / "results" / "Dataset999_Demo"
    folds = [results / f"{name}__balrsam" / "fold_0" for name in ("2d", "2.5d")]
    logs = [fold / "log.jsonl" for fold in folds]

    run = warm_python.start(words, tmp_path / "said.txt")
    wait_for(logs, run)
    run.send_signal(signal.SIGTERM)
    assert run.wait() == TrainingStopped.exit_code, (tmp_path / "said.txt").read_text()
    for fold in folds:  # none of them works on
        assert lock_holder(fold) is None
        assert (fold / "checkpoint_latest.safetensors").is_file()

    lengths = [log.stat().st_size for log in logs]
    run = warm_python.start(words, tmp_path / "said.txt")
    while run.poll() is None and not all(
        log.stat().st_size > size for log, size in zip(logs, lengths, strict=True)
    ):
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()

    balrsam(*words)
    assert all((fold / "validation" / "summary.json").exists() for fold in folds)
    assert (results / "best_configuration.json").exists()
    assert len(list((results / "predictions").glob("*.nii.gz"))) == 1
    assert "2d, fold 0: " in ResultsFolder(results).run_log.read_text(), (
        "the run's log has what trainings say"
    )
    assert stray_files(tmp_path) == []
