"""README, CHANGELOG and CONTRIBUTING stand in the repository's root; here they become pages of the site."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PAGES = {"README.md": "index.md", "CHANGELOG.md": "CHANGELOG.md", "CONTRIBUTING.md": "CONTRIBUTING.md"}
LICENSE = re.compile(r"\[([^\]]+)\]\((?:\.\./)?LICENSE\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of the root, with links as the site has them."""
    root = Path(config.config_file_path).parent
    for source, target in PAGES.items():
        text = (root / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=_as_in_site(text.replace("](docs/", "]("))))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of a page in docs/ to a page of the root, as the site has them."""
    return _as_in_site(markdown.replace("](../", "](")) if "/" not in page.file.src_uri else markdown


def _as_in_site(text: str) -> str:
    for source, target in PAGES.items():
        text = text.replace(f"]({source}", f"]({target}")
    return LICENSE.sub(r"\1", text)
