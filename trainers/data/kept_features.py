"""What a frozen encoder makes of a slice, kept on disk: it runs once for a slice instead of in every step.

Kept is its output for the whole patch, padded and unaugmented, and where there is time for it for augmented
copies (feature_copies.py). Rotation, scaling and shifts move the kept maps of the unaugmented patch as they
move the picture; mirroring moves those of all. (An encoder does not see a mirrored picture quite as the
mirror image of what it sees; a mirrored copy would double its time and brought nothing measured.) Where
neighbouring slices are channels and their order may be reversed, the reversed order is kept too.
Each is computed when a sample first shows it, so a run that is stopped leaves nothing half done.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from balrsam_pipeline.files import atomic_path
from balrsam_pipeline.layout import PreprocessedFolder
from balrsam_pipeline.network import TENSORS_CHECKSUM, tensors_crc32
from trainers.augmentation import Geometry2d, move_features
from trainers.data.feature_copies import FeatureCopies
from trainers.data.patches import PatchReader
from trainers.data.sampling import Sample

CONTENT = "content"  # in a file's metadata: of which image it was made
Made = TypeVar("Made")
Encode = Callable[[npt.NDArray[np.float32]], tuple[Tensor, ...]]


@dataclass(slots=True)
class Filling:
    """Work that is done once for every view of a slice, when a sample first shows it.

    Attributes:
        views: that there are; `missing` of them were not kept when the run began.
        made, seconds: how many were made since, and in how long.
        shown: share of samples that show one.
        clock: that of the budget; by it they took `counted_s`.
    """

    views: int = 0
    missing: int = 0
    shown: float = 1.0
    made: int = 0
    seconds: float = 0.0
    clock: Callable[[], float] = time.monotonic
    counted_s: float = 0.0

    def measured(self, make: Callable[[], Made]) -> Made:
        """What `make` makes of one view, its time taken."""
        began = (time.monotonic(), self.clock())
        made = make()
        self.made += 1
        self.seconds += time.monotonic() - began[0]
        self.counted_s += self.clock() - began[1]
        return made

    def left_s(self, samples: int) -> float:
        """Seconds of it that are expected while `samples` more samples are drawn, all views alike."""
        if not self.made or self.made >= self.missing:
            return 0.0
        first_shown = 1 - (1 - self.shown / max(1, self.views)) ** samples
        return (self.missing - self.made) * first_shown * self.seconds / self.made


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFeatures:
    """Reads what is kept, and computes and keeps what is not yet.

    Attributes:
        preprocessed: the dataset's folder.
        key: names this encoder and this way to cut patches.
        reader: gives patches without changing intensities.
        encode: an image (channels, height, width) to maps (y, x, c), in the order of `network.Features`.
        copies: the augmented copies of each slice; None where there are none.
        content: what tells the image of a case from others; kept maps of another image are made again.
        shapes: of the maps of one image, (y, x, c) each.
        dtype: in which maps are stored.
        filling: how much of it was computed in this run.
        writable: whether what is computed can be kept; else it is computed whenever it is shown.
    """

    preprocessed: PreprocessedFolder
    key: str
    reader: PatchReader
    encode: Encode
    content: Callable[[str], str]
    dtype: torch.dtype = torch.float16
    filling: Filling = field(default_factory=Filling)
    copies: FeatureCopies | None = None
    shapes: tuple[tuple[int, ...], ...] = ()
    writable: bool = True
    _sound: set[Path] = field(default_factory=set)  # files whose checksum was compared

    def stacked(self, samples: Sequence[Sample]) -> tuple[Tensor, ...]:
        """The maps of samples, (b, y, x, c) float32 each."""
        return tuple(torch.stack(maps) for maps in zip(*map(self.read, samples), strict=True))

    def shown(self, sample: Sample) -> Sample:
        """What a sample is to show so that its maps fit: moved as the copy that it takes."""
        return sample if self.copies is None else self.copies.shown(sample, self.reader.room(sample))

    def read(self, sample: Sample) -> tuple[Tensor, ...]:
        """The maps of a sample that `shown` returned, moved as its patch is; (y, x, c) float32 each.

        Zeros for one that shows none.
        """
        if self._number(sample) is None:
            return tuple(torch.zeros(shape) for shape in self.shapes)
        reversed_z = sample.geometry.mirror[0] and self.reader.context_slices > 0
        maps = self._kept(sample, reversed_z)
        size, geometry = self.reader.patch_size, sample.geometry
        if self._number(sample):
            geometry = Geometry2d(mirror=geometry.mirror)
        return tuple(move_features(map_hwc.float(), size, geometry) for map_hwc in maps)

    def _number(self, sample: Sample) -> int | None:
        return 0 if self.copies is None else self.copies.number(sample)

    def _kept(self, sample: Sample, reversed_z: bool) -> tuple[Tensor, ...]:
        """The maps of the copy that a sample shows, channels in reversed order where that is asked for."""
        view = f"{sample.axis}_{sample.slice_index}{'z' if reversed_z else ''}"
        view += "" if self.copies is None else self.copies.name(sample)
        path = self.preprocessed.features(self.key, sample.case, view)
        content = self.content(sample.case)
        stored = _read(path, content, check=path not in self._sound) if path.is_file() else None
        if (
            stored is None and not self.writable
        ):  # done again whenever it is shown; what lies there is not sound
            return self._compute(sample, reversed_z)
        if stored is None:
            stored = self.filling.measured(partial(self._made, sample, reversed_z, path, content))
        self._sound.add(path)
        return stored

    def _made(self, sample: Sample, reversed_z: bool, path: Path, content: str) -> tuple[Tensor, ...]:
        """Compute and keep."""
        maps = self._compute(sample, reversed_z)
        _write(path, maps, content)
        return maps

    def _compute(self, sample: Sample, reversed_z: bool) -> tuple[Tensor, ...]:
        if self.copies is not None and self._number(sample):
            room_yx = self.reader.room(sample)
            image_chw, _ = self.copies.reader.read(self.copies.encoded(sample, room_yx, reversed_z))
        else:
            plain = Geometry2d(mirror=(reversed_z, False, False))
            image_chw, _ = self.reader.read(dataclasses.replace(sample, geometry=plain, intensity_seed=None))
        most = torch.finfo(self.dtype).max
        return tuple(
            map_hwc.clamp(-most, most).to(self.dtype).contiguous() for map_hwc in self.encode(image_chw)
        )


def _write(path: Path, maps: tuple[Tensor, ...], content: str) -> None:
    """Atomically; what a power cut damages fails its checksum and is made again."""
    tensors = {str(number): map_hwc for number, map_hwc in enumerate(maps)}
    metadata = {CONTENT: content, TENSORS_CHECKSUM: str(tensors_crc32(tensors))}
    with atomic_path(path, durable=False) as temporary:
        save_file(tensors, temporary, metadata)


def _read(path: Path, content: str, check: bool) -> tuple[Tensor, ...] | None:
    """What is kept; None where it is damaged or of another image."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (SafetensorError, OSError, ValueError):
        return None
    if metadata.get(CONTENT) != content:
        return None
    if check and metadata.get(TENSORS_CHECKSUM) != str(tensors_crc32(tensors)):
        return None
    return tuple(tensors.values())
