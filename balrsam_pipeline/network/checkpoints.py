"""Reading SAM checkpoints by content: SAM, MedSAM, micro-sam and their like, nothing skipped and nothing
executed."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from balrsam_pipeline.errors import CheckpointError
from balrsam_pipeline.files import ESCAPED
from balrsam_pipeline.imageio.content import POINTERS
from balrsam_pipeline.network.backbone_shapes import BACKBONES
from balrsam_pipeline.network.stock_sam import stock_shapes
from balrsam_pipeline.network.tiny_vit_weights import CLASSIFIER, tiny_vit_shapes
from balrsam_pipeline.plan import Backbone
from balrsam_pipeline.printable import is_utf8, listed

ANCHOR = "image_encoder.patch_embed.proj.weight"  # every SAM file with a ViT has it, with or without a prefix
TINY_ANCHOR = "image_encoder.patch_embed.seq.0.c.weight"  # every one with TinyViT
CONTAINERS = (
    "model_state",
    "state_dict",
    "model",
    "model_state_dict",
)  # micro-sam; Lightning and many others
STRIDED_KERNEL = 3  # side of TinyViT's first convolution where it is strided; 1 where not
OPTIONAL = {"pixel_mean", "pixel_std"}  # constants that some tools save along
NAMED = 8  # keys named in a message
FIRST_BYTES = 512
PYTORCH, SAFETENSORS = ".pth", ".safetensors"
OTHER_KINDS = {  # how files begin, in small letters, that are saved under a checkpoint's name by mistake
    b"<": "a web page (HTML or XML): a login page or an error of the server",
    **POINTERS,
    b"{": "JSON text, such as a server's error message",
    b"%pdf": "a PDF",
    b"\x1f\x8b": "a gzip archive: unpack it first",
}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors, .pt or .pth file, memory-mapped where the format allows.

    Raises:
        CheckpointError: no such file, truncated, another format, or a pickle that holds more than tensors (it
            is not run).
    """
    if not path.is_file():
        raise CheckpointError(
            path,
            found="no such file",
            expected="a checkpoint file",
            fix="check the path; those that can be fetched: balrsam download_checkpoint --list",
        )
    if not is_utf8(path) and (path.suffix == SAFETENSORS or zipfile.is_zipfile(path)):
        raise CheckpointError(
            str(path).encode("utf-8", ESCAPED).decode(),
            found="a path that is not UTF-8, which the libraries that read checkpoints cannot take",
            expected="names in UTF-8",
            fix="rename that folder or file, or say where results lie under another name (--results)",
        )
    refuse_other_kinds(path)
    if path.suffix == SAFETENSORS:
        try:
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
        except (SafetensorError, OSError, ValueError) as problem:
            raise _damaged(path, problem) from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as problem:  # a damaged file fails in a dozen ways, from zlib's to the unpickler's
        if type(problem).__name__ != "UnpicklingError":
            raise _damaged(path, problem) from None
        raise CheckpointError(
            path,
            found="a pickle that holds more than tensors (objects of Python, which are not opened)",
            expected="tensors alone",
            fix="save its weights alone in a place you trust: torch.save(model.state_dict(), path), or as "
            "safetensors",
        ) from None
    return _flat(content, path)


def refuse_other_kinds(path: Path) -> None:
    """Refuse a file that was saved in place of a checkpoint, and say what it is.

    Raises:
        CheckpointError: it is empty, a web page, a pointer of Git LFS or git-annex, an archive, a checkpoint
            under the other kind's name, or begins like none.
    """
    try:
        with path.open("rb") as file:
            start = file.read(FIRST_BYTES)
    except OSError as problem:
        raise _damaged(path, problem) from None
    looks = {PYTORCH: _looks_like_pytorch(start), SAFETENSORS: _looks_like_safetensors(start)}
    own, other = (SAFETENSORS, PYTORCH) if path.suffix == SAFETENSORS else (PYTORCH, SAFETENSORS)
    if looks[own]:
        return
    if looks[other]:
        raise CheckpointError(
            path,
            found=f"what a {other} file holds, under a name that ends in '{path.suffix}'",
            expected="the ending of what it is, by which it is read",
            fix=f"rename it to {path.stem}{other}",
        )
    raise CheckpointError(
        path,
        found=_kind_of(start),
        expected="a checkpoint (.pth, .pt or .safetensors) under that name",
        fix="fetch the file itself again: balrsam download_checkpoint for SAM's; 'git lfs pull' or "
        "'git annex get' for a pointer; in a browser, log in first",
    )


def _looks_like_safetensors(start: bytes) -> bool:
    """Whether the length of a header stands there, of less than 4 GiB, and then its JSON; text has no such
    zeros."""
    return start[4:9] == b"\0\0\0\0{"


def _looks_like_pytorch(start: bytes) -> bool:
    return start.startswith((b"PK\x03\x04", b"\x80")) or start[257:262] == b"ustar"


def _kind_of(start: bytes) -> str:
    """What a file that begins so is, where it is no checkpoint."""
    if not start.strip(b"\0"):
        return "an empty file" if not start else "nothing but zeros, no checkpoint"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, what in OTHER_KINDS.items():
        if text.startswith(beginning):
            return what
    return f"no checkpoint; it begins with {start[:16]!r}"


def tensors_crc32(tensors: Mapping[str, Tensor]) -> int:
    """A checksum of names and contents, of tensors on the CPU: what tells a damaged checkpoint from a sound
    one."""
    checksum = 0
    for name in sorted(tensors):
        content = tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data
        checksum = zlib.crc32(content, zlib.crc32(name.encode(), checksum))
    return checksum


@dataclass(frozen=True, slots=True)
class _SamKind:
    """Which encoder a SAM file holds."""

    backbone: Backbone
    embedding_stride: Literal[4, 16] = 16

    def __str__(self) -> str:
        if self.backbone != "vit_t":
            return self.backbone
        of = "MobileSAM" if self.embedding_stride == 16 else "LiteMedSAM"
        return f"vit_t with embedding_stride {self.embedding_stride} (as {of})"


def read_sam(path: Path, backbone: Backbone, embedding_stride: Literal[4, 16] = 16) -> dict[str, Tensor]:
    """The tensors of a SAM checkpoint under SAM's own names, every one present and of the right shape.

    Raises:
        CheckpointError: as `read_tensors`; or a key is missing, unexpected or misshapen, or the file is of
        another backbone.
    """
    tensors = _without_prefix(read_tensors(path), path)
    planned, found = _SamKind(backbone, embedding_stride), _kind(tensors, path)
    if found != planned:
        raise CheckpointError(
            path,
            found=f"the weights of {found}",
            expected=f"the weights of {planned}",
            fix=f"plan with {found}, or give the other file",
        )
    expected = _shapes(planned)
    refuse_mismatch(
        path,
        {
            key: tensor
            for key, tensor in tensors.items()
            if key not in OPTIONAL | CLASSIFIER or key in expected
        },
        expected,
        f"the {len(expected)} tensors of a SAM {backbone} checkpoint",
        "use a SAM-v1 checkpoint of that backbone",
    )
    return {key: tensors[key].float() for key in expected}


def refuse_mismatch(
    where: object,
    tensors: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    expected: str,
    fix: str,
) -> None:
    """Compare names and shapes of tensors with those that there should be.

    Raises:
        CheckpointError: a tensor is missing, unexpected or misshapen; the message names some of them.
    """
    problems = {
        "missing": [name for name in shapes if name not in tensors],
        "unexpected": [name for name in tensors if name not in shapes],
        "misshapen": [
            f"{name} {tuple(tensors[name].shape)} for {tuple(shape)}"
            for name, shape in shapes.items()
            if name in tensors and tuple(tensors[name].shape) != tuple(shape)
        ],
    }
    found = "; ".join(f"{kind}: {listed(keys, NAMED)}" for kind, keys in problems.items() if keys)
    if found:
        raise CheckpointError(where, found=found, expected=expected, fix=fix)


def checkpoint_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes: what adapter files know their base by.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise _damaged(path, problem) from None


def _flat(content: object, path: Path) -> dict[str, Tensor]:
    for name in CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(
            path,
            found=f"a {type(content).__name__} without tensors",
            expected="a dictionary of tensors",
            fix="use a SAM file",
        )
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _without_prefix(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    prefixes = [
        key.removesuffix(anchor)
        for key in tensors
        for anchor in (ANCHOR, TINY_ANCHOR)
        if key.endswith(anchor)
    ]
    if not prefixes:
        raise CheckpointError(
            path,
            found=f"no key '{ANCHOR}' or '{TINY_ANCHOR}' among {len(tensors)}: "
            f"{listed(list(tensors), NAMED)}",
            expected="a SAM-v1 checkpoint with segment_anything's key names",
            fix="convert it to those names, or fetch one: balrsam download_checkpoint vit_b",
        )
    prefix = prefixes[0]
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}


def _kind(tensors: dict[str, Tensor], path: Path) -> _SamKind:
    if TINY_ANCHOR in tensors:
        return _SamKind("vit_t", 16 if tensors[TINY_ANCHOR].shape[-1] == STRIDED_KERNEL else 4)
    width = tensors[ANCHOR].shape[0] if tensors[ANCHOR].dim() else 0
    for backbone, shape in BACKBONES.items():
        if shape.width == width:
            return _SamKind(backbone)
    known = ", ".join(f"{backbone} {shape.width}" for backbone, shape in BACKBONES.items())
    raise CheckpointError(
        path,
        found=f"a ViT of width {width}",
        expected=f"one of {known}",
        fix="use a checkpoint of SAM, MedSAM or their like",
    )


def _shapes(kind: _SamKind) -> dict[str, tuple[int, ...]]:
    if kind.backbone != "vit_t":
        return stock_shapes(kind.backbone)
    others = {
        key: shape for key, shape in stock_shapes("vit_b").items() if not key.startswith("image_encoder.")
    }
    return {**tiny_vit_shapes(kind.embedding_stride), **others}


def _damaged(path: Path, problem: Exception) -> CheckpointError:
    return CheckpointError(
        path,
        found=f"cannot be read: {_first_line(problem)}",
        expected="a complete .pt, .pth or .safetensors file",
        fix="it is truncated or of another format: fetch it again (balrsam download_checkpoint), or copy it "
        "again",
    )


def _first_line(problem: Exception) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0][:200]
