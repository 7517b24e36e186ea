"""Whether the output of a frozen encoder is kept, and of which encoder it is."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from balrsam_pipeline.hardware import cpu_computes_bfloat16
from balrsam_pipeline.layout import PreprocessedFolder
from balrsam_pipeline.network import BalrSam, Model
from balrsam_pipeline.plan import Configuration, NetworkPlan, json_sha256
from trainers.augmentation_config import AugmentationConfig
from trainers.config import TrainingConfig
from trainers.data.feature_copies import FeatureCopies, copies_name, dropout, how_many
from trainers.data.fold_data import FoldData
from trainers.data.kept_features import Filling, KeptFeatures
from trainers.data.patches import PatchReader
from trainers.data.sampling import SamplingCase, in_plane_axes

LOG = logging.getLogger(__name__)
MOST_BYTES = 4 * 10**9
DTYPE = torch.float16
KEY_LETTERS = 16
PLAIN_VIEW = re.compile(r"\d+_\d+z?")  # axis and slice, unaugmented; copies have more in their names
IMAGE_CHANNELS = 3  # of SAM: other channels pass a projection first
# what the encoder's output before its first trained block depends on, besides its weights and the patch
PREFIX_SETTINGS = (
    "backbone",
    "embedding_stride",
    "adapted_stages",
    "input_size",
    "encoder_shrink",
    "input_channels",
    "input_ranges",
    "pixels",
    "projection",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What decides, besides plan and settings: where the network trains, and room for files, those that are
    there already counted."""

    device: str
    workers: int
    room_bytes: int


def why_not_kept(
    configuration: Configuration,
    config: TrainingConfig,
    cases: Sequence[SamplingCase],
    slice_bytes: int,
    machine: Machine,
    validation: Sequence[SamplingCase] = (),
    largest: int = 0,
) -> str:
    """Why the encoder has to run in every step; empty where its output can be kept.

    Args:
        cases: that are trained on.
        slice_bytes: of the maps of one slice, all copies together.
        validation: cases that are validated on.
        largest: slices that the largest fold trains on, since all folds are kept alike.
    """
    network = configuration.network
    constant = network.input_channels == IMAGE_CHANNELS or network.projection == "fixed"
    needed = slice_bytes * slices(configuration, cases)
    at_most = max(needed, slice_bytes * largest)
    reasons = {
        f"on {machine.device} it takes little of a step": machine.device != "cpu",
        "worker processes make the batches": machine.workers > 0,
        "it is trained": config.freeze == "nothing",
        "it sees stacks of slices": network.stack > 0,
        "augmentations or a network of one's own may change what it sees": bool(
            config.augmentation.extensions or config.network_extension
        ),
        "the projection of channels before it is trained": not constant,
        "patches show parts of slices, and what it makes of them goes into SAM's decoder": (
            network.decoder != "pyramid" and not shows_whole_slices(configuration, (*cases, *validation))
        ),
        f"its output would take {at_most / 1e9:.1f} GB": at_most > MOST_BYTES or needed > machine.room_bytes,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def shows_whole_slices(configuration: Configuration, cases: Iterable[SamplingCase]) -> bool:
    """Whether a patch covers every slice, so that there is one patch for each."""
    return all(
        case.shape_zyx[across] <= size
        for case in cases
        for axis in configuration.slicing_axes
        for across, size in zip(in_plane_axes(axis), configuration.patch_size, strict=True)
    )


def covering(configuration: Configuration, cases: Sequence[SamplingCase]) -> float:
    """How many patches, side by side, cover a slice; the mean over cases and axes."""
    return float(
        np.mean(
            [
                math.prod(
                    max(1.0, case.shape_zyx[across] / size)
                    for across, size in zip(in_plane_axes(axis), configuration.patch_size, strict=True)
                )
                for case in cases
                for axis in configuration.slicing_axes
            ]
        )
    )


def slices(configuration: Configuration, cases: Iterable[SamplingCase]) -> int:
    """Slices of cases, across all axes along which the configuration cuts."""
    return sum(case.shape_zyx[axis] for case in cases for axis in configuration.slicing_axes)


def slices_of_largest_fold(data: FoldData) -> int:
    """How many slices the largest fold of the cross-validation trains on, if cases were all as deep as the
    mean: one number, so that all folds, and "all", train alike."""
    cases = data.sampling_cases(data.fold.train + data.fold.val)
    return round(slices(data.configuration, cases) * data.training_cases / len(cases))


def copies(configuration: Configuration) -> int:
    """How many orders of a slice's channels the encoder sees: two where neighbours may be reversed."""
    reverses = set(configuration.slicing_axes) & set(configuration.mirror_axes)
    return 2 if configuration.context_slices > 0 and reverses else 1


def features_key(
    base_sha256: str, configuration: Configuration, computed_in: torch.dtype = torch.float32
) -> str:
    """Names what is kept: alike for plans that differ only in what comes after."""
    network = configuration.network
    settings = {name: getattr(network, name) for name in PREFIX_SETTINGS}
    cut = {"patch_size": configuration.patch_size, "context_slices": configuration.context_slices}
    half = {} if computed_in == torch.float32 else {"computed_in": str(computed_in)}
    return json_sha256({"base": base_sha256, "dtype": str(DTYPE), **settings, **cut, **half})[:KEY_LETTERS]


def keep_features(
    data: FoldData, config: TrainingConfig, model: Model, base_sha256: str, machine_of: tuple[str, int]
) -> KeptFeatures | None:
    """What keeps the output of the model's frozen encoder; None where it cannot be kept. Says which in the
    log.

    Args:
        base_sha256: of the checkpoint that the encoder is from.
        machine_of: the device, and the number of worker processes that make batches.
    """
    configuration = data.configuration
    if configuration.network.backbone != "vit_t" or not isinstance(model, BalrSam):
        return None
    preprocessed = PreprocessedFolder(data.store.folder.parent)
    train, validation = data.sampling_cases(data.fold.train), data.sampling_cases(data.fold.val)
    computed_in = torch.bfloat16 if cpu_computes_bfloat16() else torch.float32
    key = features_key(base_sha256, configuration, computed_in)
    augmentation = dataclasses.replace(config.augmentation, on_device=False)  # the encoder's, not the batch's
    kept = _kept_already(preprocessed, key, train, augmentation)
    writable = os.access(preprocessed.path, os.W_OK)
    free = shutil.disk_usage(preprocessed.path).free if writable else 0
    room = free + sum(map(_size, kept))
    machine = Machine(device=machine_of[0], workers=machine_of[1], room_bytes=room)
    shapes = _map_shapes(configuration.network)
    one = sum(math.prod(shape) for shape in shapes) * DTYPE.itemsize
    whole = shows_whole_slices(configuration, (*train, *validation))
    largest, a_slice = slices_of_largest_fold(data), one * copies(configuration)
    why_not = why_not_kept(configuration, config, train, a_slice, machine, validation, largest)
    count = 0 if why_not else _copies_of_a_slice(data, config, a_slice, room, writable)
    if not why_not and not whole and count == 0:
        why_not = "there is no time to encode a tile of every slice"
    if why_not:
        LOG.info("the frozen encoder runs in every step: %s", why_not)
        return None
    copied = FeatureCopies(
        count=count,
        reader=PatchReader(data.store, configuration, augmentation),
        augmentation=augmentation,
        without=dropout(config, largest, tiles=not whole) if model.mirrors_maps else 0.0,
        tiles=not whole,
    )
    views = slices(configuration, train) * copies(configuration) * (count + int(whole))
    filling = Filling(views=views, missing=max(0, views - len(kept)), shown=1 - copied.without)
    _say_kept(copied, filling, len(kept), one)
    return KeptFeatures(
        preprocessed=preprocessed,
        key=key,
        reader=PatchReader(data.store, configuration, AugmentationConfig(enabled=False)),
        encode=Encoder(model, computed_in),
        content=data.store.content,
        dtype=DTYPE,
        copies=copied,
        shapes=shapes,
        filling=filling,
        writable=writable,
    )


def _copies_of_a_slice(
    data: FoldData, config: TrainingConfig, slice_bytes: int, room_bytes: int, writable: bool
) -> int:
    """As many as time and `MOST_BYTES` allow in the largest fold; fewer where this one's have no room."""
    configuration, cases = data.configuration, data.sampling_cases(data.fold.train + data.fold.val)
    whole, largest = shows_whole_slices(configuration, cases), slices_of_largest_fold(data)
    tiles = None if whole else covering(configuration, cases)
    wanted = how_many(configuration, config, largest * copies(configuration), tiles)
    wanted = min(wanted, max(0, MOST_BYTES // max(1, slice_bytes * largest) - int(whole)))
    shown = slices(configuration, data.sampling_cases(data.fold.train))
    count = min(wanted, max(0, room_bytes // max(1, slice_bytes * shown) - int(whole)))
    if count < wanted:
        LOG.info(
            "%s than %d of %d copies of each slice: if this run goes on with more room, samples show others",
            "the disk has no room for more" if writable else "a folder that cannot be written holds no more",
            count,
            wanted,
        )
    return count


def _kept_already(
    preprocessed: PreprocessedFolder,
    key: str,
    cases: Iterable[SamplingCase],
    augmentation: AugmentationConfig,
) -> list[Path]:
    """Files of these cases that a training augmented so reads; copies of other settings lie beside them."""
    return [
        path
        for case in cases
        for path in preprocessed.features(key, case.case, "*").parent.glob("*")
        if PLAIN_VIEW.fullmatch(path.stem) or path.stem.endswith(copies_name(augmentation))
    ]


def _say_kept(copied: FeatureCopies, filling: Filling, kept: int, view_bytes: int) -> None:
    LOG.info(
        "keeping features of %d views of slices (%d are kept already; of each slice %s), %.1f MB each: the "
        "encoder runs once for each; %.0f%% of samples show the picture alone",
        filling.views,
        kept,
        f"{copied.count} tiles" if copied.tiles else f"itself and {copied.count} augmented copies",
        view_bytes / 1e6,
        100 * copied.without,
    )


def _size(path: Path) -> int:
    """Bytes of a file; 0 where another training that writes there has just renamed it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@dataclass(frozen=True, slots=True)
class Encoder:
    """The frozen part of a model for one image, computed on a CPU as prediction computes it."""

    model: BalrSam
    dtype: torch.dtype = torch.float32

    def __call__(self, image_chw: npt.NDArray[np.float32]) -> tuple[Tensor, ...]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            maps = self.model.prefix(torch.from_numpy(image_chw)[None])
        return tuple(map_byxc[0] for map_byxc in maps if map_byxc is not None)


def _map_shapes(network: NetworkPlan) -> tuple[tuple[int, ...], ...]:
    """Of the maps of one image, (y, x, c); computed without memory or arithmetic."""
    with torch.device("meta"):
        maps = BalrSam(network).prefix(torch.zeros(1, network.input_channels, *network.input_size))
    return tuple(tuple(map_byxc.shape[1:]) for map_byxc in maps if map_byxc is not None)
