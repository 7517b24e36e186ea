"""Folders that an earlier version wrote, restored from tests/data.

A checkpoint of the smallest network takes 23 to 93 MB, too much for a repository. What is stored is the file
without its large numbers: metadata as they were, and of each tensor the name, type and shape. The numbers are
drawn here, from the tensor's own name, and what the earlier version made of them (a label map, a loss) is
stored beside them.
"""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

DATA = Path(__file__).parents[1] / "data"
STORED = ".json.gz"


def restore(version: str, target: Path) -> Path:
    """Copy `tests/data/VERSION` to `target`, with checkpoints in place of what is stored of them."""
    shutil.copytree(DATA / version, target)
    for stored in target.rglob(f"*.safetensors{STORED}"):
        content = json.loads(gzip.decompress(stored.read_bytes()))
        write_checkpoint(stored.with_name(stored.name.removesuffix(STORED)), content)
        stored.unlink()
    return target


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """A safetensors file as version 0.1 wrote it: a CRC-32 over names and bytes in order of the names."""
    tensors = {name: _tensor(name, stored) for name, stored in content["tensors"].items()}
    checksum = 0
    for name in sorted(tensors):
        checksum = zlib.crc32(name.encode(), checksum)
        checksum = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes(), checksum)
    save_file(tensors, path, metadata=content["metadata"] | {"tensors_crc32": str(checksum)})


def _tensor(name: str, stored: dict[str, Any]) -> torch.Tensor:
    shape = tuple(stored["shape"])
    if "bytes" in stored:
        flat = np.frombuffer(base64.b64decode(stored["bytes"]), stored["dtype"]).copy()
        return torch.from_numpy(flat.reshape(shape))
    part, _, parameter = name.partition("/")
    parameter, _, moment = parameter.partition("/")
    drawn = np.random.RandomState(zlib.crc32(f"{parameter}/{moment}".encode()))
    values = drawn.uniform(-1, 1, shape).astype(np.float32)
    if part == "optimizer":
        values = np.float32(1e-6) * (values + 2) if moment == "exp_avg_sq" else np.float32(1e-4) * values
    elif len(shape) > 1:
        values *= np.float32(np.sqrt(3 / np.prod(shape[1:])))
    else:
        values = values * np.float32(0.1) + np.float32(parameter.endswith("weight"))
    return torch.from_numpy(np.ascontiguousarray(values))
