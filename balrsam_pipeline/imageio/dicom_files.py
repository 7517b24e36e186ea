"""The folders that DICOM series lie in."""

from __future__ import annotations

from pathlib import Path

from balrsam_pipeline.protect import identity


def folders_of(top: Path) -> list[Path]:
    """A folder and all below it, each once, sorted; links are followed, unless they lead to a folder that has
    been met or that lies above."""
    seen = {identity(parent) for parent in top.resolve().parents}
    found: list[Path] = []
    folders, links = [top], list[Path]()
    while folders or links:
        place = folders.pop() if folders else links.pop()  # a folder goes by its own name, where it has one
        if identity(place) in seen:
            continue
        seen.add(identity(place))
        found.append(place)
        below = [path for path in place.iterdir() if path.is_dir()]
        folders += [path for path in below if not path.is_symlink()]
        links = sorted([*links, *(path for path in below if path.is_symlink())], reverse=True)
    return [top, *sorted(found[1:])]
