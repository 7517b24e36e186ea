"""A function fits on a screen: fewer than 60 lines beside its docstring (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("balrsam_pipeline", "planners", "trainers", "evaluation")
LONGEST = 59


def lengths(source: str) -> Iterator[tuple[str, int]]:
    """Name and lines of each function, its docstring left out."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            told = ast.get_docstring(node, clean=False) is not None
            docstring = (first.end_lineno or 0) - first.lineno + 1 if told else 0
            yield node.name, (node.end_lineno or 0) - node.lineno + 1 - docstring


def test_lines_are_counted_without_the_docstring() -> None:
    told = 'def told():\n    """One.\n\n    Two.\n    """\n    return 1\n'
    source = told + "async def plain(\n    x,\n):\n    return x\n"
    assert dict(lengths(source)) == {"told": 2, "plain": 4}


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_have_fewer_than_60_lines(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    long = [
        f"{path.relative_to(ROOT)}: {name}, {count} lines"
        for path in files
        for name, count in lengths(path.read_text(encoding="utf-8"))
        if count > LONGEST
    ]
    assert not long
