"""Files and folders that the documentation names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMED = re.compile(r"`((?:balrsam_pipeline|planners|trainers|evaluation|tests|benchmarks|docs)/[\w./-]*)`")
LINKED = re.compile(r"\]\(([^)#:\s]+)(?:#[\w-]+)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_path_and_link_of_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [ROOT / path for path in NAMED.findall(text)]
    linked = [page.parent / path for path in LINKED.findall(text)]
    assert [str(path) for path in (*named, *linked) if not path.exists()] == []


def test_the_tree_of_the_architecture_page_is_the_repositorys() -> None:
    tree = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    missing, parents = [], [ROOT]
    for line in tree.strip("\n").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split(r"\s{2,}", line.strip())[0].split()
        parents = [*parents[: depth + 1], parents[depth] / names[0]]
        missing += [str(parents[depth] / name) for name in names if not (parents[depth] / name).exists()]
    assert missing == []
