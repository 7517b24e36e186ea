"""`manifest.json` of a shared model: which files belong to it, how large they are, and their hashes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

NAME = "manifest.json"
FORMAT = "balrsam-model"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFile:
    """One file of a shared model."""

    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, content: bytes | Path) -> SharedFile:
        """What is said of a file, or of bytes."""
        if isinstance(content, bytes):
            return cls(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        with content.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(sha256=digest, size_bytes=content.stat().st_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """What a shared model's zip holds.

    Attributes:
        models: names of its model folders, such as `2d__balrsam`.
        files: name in the zip (`DATASET/2d__balrsam/plan.json`) -> size and hash; the manifest itself is not
            listed.
    """

    format: str = FORMAT
    schema_version: int = 1
    version: str
    dataset: str
    models: tuple[str, ...]
    files: dict[str, SharedFile]
