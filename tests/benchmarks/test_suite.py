"""The suite's table and plot, and that what is measured is not measured again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "accuracy"))
import suite

RECORDS = [
    {"dataset": "A", "method": method, "budget": budget, "seed": seed, "dice": dice}
    for method, budget, seed, dice in (
        ("default", 5.0, 0, 0.8),
        ("default", 5.0, 1, 0.9),
        ("nnunet_2d", 5.0, 0, 0.7),
        ("default", 20.0, 0, 0.95),
    )
]


def test_a_row_for_each_budget_and_a_column_for_each_method() -> None:
    lines = suite.table(RECORDS).splitlines()
    assert lines[0] == "| dataset | core-minutes | default | nnunet_2d |"
    assert lines[2:] == ["| A | 5 | 0.8500 (2) | 0.7000 (1) |", "| A | 20 | 0.9500 (1) |  |"]


def test_what_was_measured_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS[:1]))
    asked: list[Any] = []
    monkeypatch.setattr(suite, "measure", lambda *key: asked.append(key[:4]) or {"dice": 0.9})
    words = ["A", "--minutes", "5", "--seeds", "0", "1", "--work", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["suite.py", *words])
    suite.main()
    assert asked == [("A", "default", 5.0, 1)]
    assert "0.8500 (2)" in capsys.readouterr().out
    assert (tmp_path / "suite.png").stat().st_size > 1000
