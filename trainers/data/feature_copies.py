"""Augmented copies of slices for an encoder whose output is kept: how many, and how each is augmented.

Maps of one picture alone are learnt by heart, and what changes intensities does not reach them. So the
encoder sees some copies of each slice too, turned, scaled, shifted and changed in intensity; what their maps
show is shown by the picture beside them. A copy is the same for every seed, fold and run.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from balrsam_pipeline.network import ENCODER_S_PER_MEGAPIXEL, PREFIX_SHARE
from balrsam_pipeline.plan import Configuration, json_sha256
from balrsam_pipeline.serialise import to_json
from trainers.augmentation import draw_geometry, draw_shift
from trainers.augmentation_config import AugmentationConfig
from trainers.config import TrainingConfig
from trainers.data.patches import PatchReader
from trainers.data.sampling import Sample

MOST_COPIES = 7
ENCODING_SHARE = 0.25  # of the time budget may go into encoding
MOST_DROPOUT = 0.5
FEW_SLICES = 20
# of rotation and of scaling, unless settings have none: a copy that is not moved would tell little
MOVED_PROBABILITY = 0.6
NAME_LETTERS = 8


def how_many(
    configuration: Configuration, config: TrainingConfig, slices: int, covering: float | None = None
) -> int:
    """Copies of each slice besides the unchanged one; where patches are tiles, tiles of each slice.

    A function of settings and data alone, so that a run goes on as it began wherever there is room for them.

    Args:
        slices: that are trained on.
        covering: tiles that cover a slice; None where a patch shows all of it.
    """
    whole = covering is None
    if not config.augmentation.enabled and whole:
        return 0
    network = configuration.network
    pixels = math.prod(network.input_size) / network.encoder_shrink**2
    once_s = slices * pixels * ENCODER_S_PER_MEGAPIXEL / 1e6 * PREFIX_SHARE[network.adapted_stages]
    most = int((1 + MOST_COPIES) * (covering or 1))
    views: float = most
    if config.max_minutes is not None:
        views = ENCODING_SHARE * 60 * config.max_minutes / once_s
    return max(0, min(int(views), most) - (1 if whole else 0))


def dropout(config: TrainingConfig, slices: int, *, tiles: bool = False) -> float:
    """Share of samples that show the picture without maps.

    Maps of few slices are learnt by heart within minutes, those of many are not. With 5 pictures half of the
    samples without maps gained 0.02 Dice, with 72 they lost 0.005 (two datasets, one seed each:
    docs/benchmarks.md).

    Args:
        slices: that are trained on.
        tiles: whether maps are of some tiles alone, so that only samples without them show everything.
    """
    if config.feature_dropout is not None:
        return config.feature_dropout
    if tiles:
        return MOST_DROPOUT
    return MOST_DROPOUT * min(1.0, FEW_SLICES / max(1, slices))


@cache
def copies_name(augmentation: AugmentationConfig) -> str:
    """What tells copies that were augmented so from others, at the end of a file's name."""
    return json_sha256({"drawn_from": to_json(_moved_often(augmentation))})[:NAME_LETTERS]


@cache
def _moved_often(augmentation: AugmentationConfig) -> AugmentationConfig:
    """The same with rotation and scaling as often as copies have them; what is off stays off."""
    changed: dict[str, Any] = {
        name: MOVED_PROBABILITY
        for name in ("rotation_probability", "scaling_probability")
        if augmentation.probability(name) > 0
    }
    return dataclasses.replace(augmentation, **changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCopies:
    """The augmented copies of every slice.

    Attributes:
        count: besides the slice itself, which is copy 0.
        reader: changes intensities.
        without: share of the samples that show no maps, but the picture alone, augmented as freely as any.
        tiles: whether patches are parts of slices. Then each copy is a tile with a place of its own, and what
            is shown unchanged (copy 0) is a tile wherever it was asked for.
    """

    count: int
    reader: PatchReader
    augmentation: AugmentationConfig
    without: float = 0.0
    tiles: bool = False

    def number(self, sample: Sample) -> int | None:
        """Which copy a sample shows; None where it shows no maps."""
        shown = 1 - self.without
        if sample.view >= shown:
            return None
        if self.tiles:
            return 1 + int(sample.view / shown * self.count) if sample.view > 0 else 0
        return int(sample.view / shown * (1 + self.count))

    def name(self, sample: Sample) -> str:
        """What tells the maps of a sample's copy from those of others, in a file's name."""
        number = self.number(sample)
        if number:
            return f"_{number}_{copies_name(self.augmentation)}"
        return "_{}_{}".format(*sample.corner_yx) if self.tiles else ""

    def shown(self, sample: Sample, room_yx: tuple[int, int]) -> Sample:
        """The sample, where its copy is and moved as it is; mirrored as it was. What shows maps is not bent,
        since maps are not.

        Args:
            room_yx: length of the slice less that of the patch.
        """
        number = self.number(sample)
        if number is None:
            return sample
        if number == 0:
            return dataclasses.replace(sample, geometry=dataclasses.replace(sample.geometry, bend=()))
        copy = self._copy(sample, room_yx)
        geometry = dataclasses.replace(copy.geometry, mirror=sample.geometry.mirror)
        return dataclasses.replace(sample, corner_yx=copy.corner_yx, geometry=geometry)

    def encoded(self, sample: Sample, room_yx: tuple[int, int], reversed_z: bool) -> Sample:
        """What the encoder sees of a sample's copy: moved and changed in intensity, not mirrored."""
        copy = self._copy(sample, room_yx)
        return dataclasses.replace(
            copy, geometry=dataclasses.replace(copy.geometry, mirror=(reversed_z, False, False))
        )

    def _copy(self, sample: Sample, room_yx: tuple[int, int]) -> Sample:
        case = zlib.crc32(sample.case.encode())
        rng = np.random.default_rng((case, sample.axis, sample.slice_index, self.number(sample) or 0))
        moved = _moved_often(self.augmentation)
        patch_yx = self.reader.patch_size
        geometry = draw_geometry(rng, moved, patch_yx, (False, False, False))
        shift_yx = draw_shift(rng, moved, patch_yx, room_yx)
        seed = int(rng.integers(2**32))
        corner_yx = sample.corner_yx
        if self.tiles:
            y, x = (
                int(rng.integers(room + 1)) if room > 0 else corner
                for room, corner in zip(room_yx, corner_yx, strict=True)
            )
            corner_yx = (y, x)
        return dataclasses.replace(
            sample,
            corner_yx=corner_yx,
            geometry=dataclasses.replace(geometry, shift_yx=shift_yx),
            intensity_seed=seed,
        )
