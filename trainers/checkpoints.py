"""Training checkpoints: one safetensors file each, the two latest kept, written so that a kill at any moment
loses at most one.

Tensors are prefixed `ema/` (weights for prediction), `weights/`, `optimizer/`, `rng/`; everything else is
JSON in the metadata. A checksum in the metadata tells a damaged file from a sound one. `best` and `final`
hold `ema/` and metadata alone.
"""

from __future__ import annotations

import errno
import json
import logging
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from balrsam_pipeline.errors import CheckpointError, TrainingError
from balrsam_pipeline.files import atomic_path
from balrsam_pipeline.json_text import JsonTextError, parse_json
from balrsam_pipeline.layout import FoldFolder
from balrsam_pipeline.network import TENSORS_CHECKSUM, tensors_crc32

LOG = logging.getLogger(__name__)
METADATA_CHECKSUM = "training_crc32"  # older checkpoints have none
EVERYTHING = "training"  # all metadata as one JSON value; strings stand beside it under their own names too


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by prefixed name, and metadata as JSON values."""

    tensors: dict[str, Tensor]
    metadata: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under `prefix/`, without it."""
        return {
            name.removeprefix(f"{prefix}/"): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(f"{prefix}/")
        }


class CheckpointFolder:
    """The checkpoints of one fold."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, kind: str) -> Path:
        """The file of a checkpoint: kind is latest, previous, best or final."""
        return FoldFolder(self.folder).checkpoint(kind)

    def save_latest(self, checkpoint: Checkpoint) -> None:
        """Write the latest checkpoint; the one before becomes `previous`."""

        def keep_previous() -> None:
            if self.path("latest").exists():
                self.path("latest").replace(self.path("previous"))

        write_checkpoint(self.path("latest"), checkpoint, keep_previous)

    def save(self, kind: str, checkpoint: Checkpoint) -> None:
        """Write the checkpoint `kind` (best or final)."""
        write_checkpoint(self.path(kind), checkpoint)

    def load_latest(self) -> Checkpoint | None:
        """The newest sound checkpoint, or None where training never saved.

        Raises:
            CheckpointError: there are checkpoints, but none can be read.
        """
        present = [self.path(kind) for kind in ("latest", "previous") if self.path(kind).exists()]
        problems: list[str] = []
        for path in present:
            try:
                checkpoint = read_checkpoint(path)
            except CheckpointError as problem:
                problems.append(f"{path.name}: {problem.found}")
                continue
            if problems:
                LOG.warning(
                    "%s; going on from %s, step %s",
                    "; ".join(problems),
                    path.name,
                    checkpoint.metadata.get("step"),
                )
            return checkpoint
        if problems:
            raise CheckpointError(
                self.folder,
                found="; ".join(problems),
                expected="a sound checkpoint to go on from",
                fix=f"delete {', '.join(path.name for path in present)} to train this fold anew",
            )
        return None

    def begun(self) -> dict[str, Any] | None:
        """What the run was begun with (its "settings" among that), by the header of its newest sound
        checkpoint; None where there is none."""
        for kind in ("latest", "previous", "final"):
            header = self.header(kind)
            if header is not None and isinstance(header.get("settings"), dict):
                return header
        return None

    def header(self, kind: str) -> dict[str, Any] | None:
        """The metadata of a checkpoint, without its tensors; None where there is none that can be read."""
        path = self.path(kind)
        try:
            with safe_open(path, framework="pt") as file:
                return _content(path, dict(file.metadata() or {}))
        except (OSError, SafetensorError, CheckpointError):
            return None

    def remove_leftovers(self) -> None:
        """Delete temporary files that a killed run left behind: ours (`.tmp-…`) and those of safetensors
        (`.tmp…`)."""
        for leftover in self.folder.glob(".tmp*"):
            leftover.unlink(missing_ok=True)


def write_checkpoint(
    path: Path, checkpoint: Checkpoint, before_rename: Callable[[], None] | None = None
) -> None:
    """Write a checkpoint atomically; `before_rename` runs when the new file is complete but not yet in place.

    Raises:
        TrainingError: the disk is full or cannot be written; the checkpoints before are untouched.
    """
    tensors = {name: tensor.detach().to("cpu").contiguous() for name, tensor in checkpoint.tensors.items()}
    readable = {name: value for name, value in checkpoint.metadata.items() if isinstance(value, str)}
    everything = json.dumps(checkpoint.metadata)
    sums = {
        TENSORS_CHECKSUM: str(tensors_crc32(tensors)),
        METADATA_CHECKSUM: str(zlib.crc32(everything.encode())),
    }
    metadata = readable | {EVERYTHING: everything} | sums
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
            if before_rename is not None:
                before_rename()
    except (OSError, SafetensorError) as problem:
        full = getattr(problem, "errno", None) == errno.ENOSPC or "No space left" in str(problem)
        raise TrainingError(
            path,
            found="the disk is full" if full else f"cannot be written: {problem}",
            expected=f"room for {sum(t.numel() * t.element_size() for t in tensors.values()) / 2**20:.0f} "
            "MiB",
            fix="make room (or choose another --results) and run the same command: it goes on from the last "
            "sound checkpoint",
        ) from None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raises:
        CheckpointError: missing, no safetensors file, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    except (OSError, SafetensorError) as problem:
        raise _unreadable(path, str(problem)) from None
    if EVERYTHING not in metadata or metadata.get(TENSORS_CHECKSUM) != str(tensors_crc32(tensors)):
        raise _unreadable(path, "its checksum does not fit its tensors")
    return Checkpoint(tensors, _content(path, metadata))


def _content(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the header says of the run.

    Raises:
        CheckpointError: it is damaged.
    """
    everything = metadata.get(EVERYTHING, "")
    if metadata.get(METADATA_CHECKSUM, str(zlib.crc32(everything.encode()))) != str(
        zlib.crc32(everything.encode())
    ):
        raise _unreadable(path, "its checksum does not fit its metadata")
    try:
        content = parse_json(everything)
    except JsonTextError as problem:
        raise _unreadable(path, f"metadata that is no JSON ({problem})") from None
    if not isinstance(content, dict):
        raise _unreadable(path, f"metadata that is a {type(content).__name__}")
    return content


def optimiser_tensors(optimiser: torch.optim.Optimizer, names: Mapping[Tensor, str]) -> dict[str, Tensor]:
    """The optimiser's state as tensors `optimizer/PARAMETER/KEY`."""
    return {
        f"optimizer/{names[parameter]}/{key}": value
        for parameter, state in optimiser.state.items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def load_optimiser_tensors(
    optimiser: torch.optim.Optimizer, names: Mapping[Tensor, str], checkpoint: Checkpoint
) -> None:
    """Put the state that `optimiser_tensors` gave back, on each parameter's device."""
    by_name = {name: parameter for parameter, name in names.items()}
    for name, tensor in checkpoint.part("optimizer").items():
        parameter, key = name.rsplit("/", 1)
        if parameter in by_name:
            target = by_name[parameter]
            # fused kernels want moments laid out in memory as their parameter, and the step count beside it
            like = tensor.shape == target.shape
            moved = torch.empty_like(target).copy_(tensor) if like else tensor.to(target.device)
            optimiser.state[target][key] = moved


def _unreadable(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        path,
        found=found,
        expected="a checkpoint written by balrsam train",
        fix="delete it; the other is used",
    )
