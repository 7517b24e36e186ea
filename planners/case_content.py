"""What a measurement was made from: the content of a case's files, and a quick way to see that they have not
changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from balrsam_pipeline.dataset import CaseFiles, DatasetDescription
from balrsam_pipeline.files import file_stamp
from balrsam_pipeline.serialise import to_json

_READ_BYTES = 2**20


def case_paths(files: CaseFiles) -> tuple[Path, ...]:
    """The images of a case and its label."""
    return (*files.images, files.label) if files.label is not None else files.images


def content_sha256(files: CaseFiles, description: DatasetDescription) -> str:
    """SHA-256 of the bytes of a case's files and of what dataset.json says about channels and labels."""
    digest = hashlib.sha256()
    digest.update(_meaning(description))
    for path in case_paths(files):
        digest.update(f"\0{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as stream:
            while block := stream.read(_READ_BYTES):
                digest.update(block)
    return digest.hexdigest()


def file_state(files: CaseFiles, description: DatasetDescription) -> str:
    """What dataset.json says, and names and stamps of a case's files (`files.file_stamp`): while it stays,
    nothing need be read."""
    meaning = hashlib.sha256(_meaning(description)).hexdigest()
    return " ".join([meaning, *_stamps(case_paths(files))])


def _stamps(paths: Sequence[Path]) -> list[str]:
    return [":".join([path.name, *map(str, file_stamp(path))]) for path in paths]


def _meaning(description: DatasetDescription) -> bytes:
    return json.dumps([list(description.channel_names), to_json(description.labels)], sort_keys=True).encode()
