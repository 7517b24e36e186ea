"""What a package's table of public names promises is there."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("balrsam_pipeline", "planners", "trainers", "evaluation")
TABLES = sorted(table for package in PACKAGES for table in (ROOT / package).rglob("__init__.pyi"))


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.parent.relative_to(ROOT).as_posix())
def test_every_name_of_the_table_can_be_imported_from_its_package(table: Path) -> None:
    package = ".".join(table.parent.relative_to(ROOT).parts)
    offered = importlib.import_module(package)
    promised = [
        alias.asname
        for node in ast.parse(table.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert promised
    assert [name for name in promised if not hasattr(offered, str(name))] == []
    assert set(offered.__all__) == set(promised)
