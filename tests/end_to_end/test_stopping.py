"""Killing a run and running it again: it continues, completes, and leaves nothing stray."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from support.runs import Balrsam, roots, stray_files
from support.warm import WarmPython

from balrsam_pipeline.demo import DemoSize, generate_dataset

WORDS = ("--configurations", "2d", "--folds", "0", "--epochs", "12", "--device", "cpu", "--workers", "1")


def test_a_run_killed_in_training_continues(
    tmp_path: Path, balrsam: Balrsam, warm_python: WarmPython
) -> None:
    generate_dataset(tmp_path / "raw", DemoSize(training_cases=5, test_cases=1, shape_zyx=(8, 40, 32)))
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"steps_per_epoch": 4, "quick_validation_patches": 2}))
    words = ("run", "999", *roots(tmp_path), *WORDS, "--settings", str(settings))
    log = tmp_path / "results" / "Dataset999_Demo" / "2d__balrsam" / "fold_0" / "log.jsonl"
    run = warm_python.start(words, tmp_path / "said.txt")
    deadline = time.monotonic() + 120
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline and run.poll() is None:
        time.sleep(0.01)
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
