"""A line `public names of PACKAGE` of a page becomes the reference of all names that PACKAGE offers.

The names are those that the package's `__init__.pyi`, or else its `__init__.py`, imports, so the site cannot
list others.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

MARK = re.compile(r"^public names of ([\w.]+)$", re.MULTILINE)


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write a mkdocstrings directive for each public name."""
    root = Path(config.config_file_path).parent
    return MARK.sub(lambda found: _directives(root, found.group(1)), markdown)


def _directives(root: Path, package: str) -> str:
    folder = root.joinpath(*package.split("."))
    table = folder / "__init__.pyi"
    tree = ast.parse((table if table.is_file() else folder / "__init__.py").read_text(encoding="utf-8"))
    names = [
        f"{package}.{node.module}.{alias.name}" if node.level else f"{node.module}.{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    ]
    if not names:
        raise ValueError(f"{table}: no public names; the site's reference of {package} would be empty")
    return f"## `{package}`\n\n" + "\n\n".join(f"::: {name}" for name in sorted(names, key=_last))


def _last(name: str) -> str:
    return name.rsplit(".", 1)[1].lower()
