"""The main job on a system that lacks what POSIX alone has, and starts processes afresh, as Windows and macOS
do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.elsewhere import site_of
from support.runs import roots, stray_files

from balrsam_pipeline.demo import DemoSize, generate_dataset

PROGRAM = """
import importlib, pkgutil, sys

def main():
    for name in ("balrsam_pipeline", "planners", "trainers", "evaluation"):
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, name + "."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    from balrsam_pipeline.cli import main
    return main(sys.argv[1:])

if __name__ == "__main__":
    sys.exit(main())
"""


def test_the_whole_package_imports_and_the_main_job_runs_without_posix(tmp_path: Path) -> None:
    generate_dataset(tmp_path / "raw", DemoSize(training_cases=5, test_cases=1, shape_zyx=(8, 32, 32)))
    (tmp_path / "job.py").write_text(PROGRAM)
    words = ("run", "999", *roots(tmp_path), "--configurations", "2d", "--folds", "0", "--device", "cpu")
    words += ("--max-steps", "2", "--train-batch-size", "2", "--train-workers", "1", "--workers", "2")
    words += ("--backbone", "vit_mini", "--gpu-memory-gb", "0")
    path = os.pathsep.join((str(site_of(tmp_path / "site")), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        [sys.executable, str(tmp_path / "job.py"), *words],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = tmp_path / "results" / "Dataset999_Demo"
    assert (results / "predictions" / "evaluation" / "summary.json").is_file()
    assert stray_files(tmp_path) == []
