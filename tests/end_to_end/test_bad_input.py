"""Bad input ends with one clear message, exit code 2, and nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.breakages import BREAKAGES, broken_description
from support.runs import Balrsam, roots

from balrsam_pipeline.demo import DemoSize, generate_dataset


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda f: f.__name__)
def test_a_broken_dataset_is_named_and_nothing_is_written(
    breakage: Callable[[Path], None], tmp_path: Path, balrsam: Balrsam
) -> None:
    dataset = generate_dataset(
        tmp_path / "raw", DemoSize(training_cases=5, test_cases=0, shape_zyx=(8, 32, 28))
    )
    breakage(dataset)
    done = balrsam("run", "999", *roots(tmp_path), "--max-minutes", "0.01", "--workers", "1", code=2)
    said = done.stdout + done.stderr
    assert ("dataset.json" if breakage is broken_description else "demo_001") in said
    assert all(word in said for word in ("found", "expected", "fix"))
    assert not list(tmp_path.rglob("*.b2nd"))
    assert not list(tmp_path.rglob("plan.json"))


def test_an_unknown_dataset_lists_those_that_are_there(tmp_path: Path, balrsam: Balrsam) -> None:
    generate_dataset(tmp_path / "raw", DemoSize(training_cases=1, test_cases=0, shape_zyx=(8, 32, 28)))
    done = balrsam("train", "Dataset001_Nothing", *roots(tmp_path), code=2)
    assert "Dataset999_Demo" in done.stderr
