"""The Predictor: trained networks of one configuration (its folds), applied to preprocessed volumes.

Suffixes: `image_czyx` preprocessed, axes transposed so that slices come first; `logits_kzyx` one channel a
class or region.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from balrsam_pipeline.dataset import LabelScheme
from balrsam_pipeline.hardware import best_device, checked_device, cpu_computes_bfloat16, half_precision
from balrsam_pipeline.inference.averaging import BatchLimit, Network
from balrsam_pipeline.inference.logits import ArrayLogits, LazyLogits, LogitSource
from balrsam_pipeline.inference.sliding_window import (
    Mirror,
    SliceSettings,
    mirrors,
    slice_logits,
)
from balrsam_pipeline.inference.tiling import tile_starts
from balrsam_pipeline.inference.timing import NetworkLock, StageClock
from balrsam_pipeline.inference.volume_window import VolumeLogits, VolumeSettings, bytes_held, volume_flips
from balrsam_pipeline.plan import Configuration, Plan
from balrsam_pipeline.processor import usable_cores

SLAB_BYTES = 128 * 2**20  # logits computed at once
ROOM = 4  # times their own size that logits need on a GPU to wait there: resampled, they are there twice more
# times that sums of volumes, which are not resampled, need with a slab: the networks need some too
SUMS_ROOM = 2
BATCH_BYTES = 256 * 2**20  # logits of one batch of patches
VOLUME = 3  # dimensions
GPU_BATCH, GPU_VOLUMES = 16, 4  # patches, of slices and of volumes
CPU_BATCH_PIXELS = 2**18
# degrees at which slices seen whole are predicted, for three times the network's time (docs/benchmarks.md)
ROTATIONS = (0.0, 10.0, -10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorOptions:
    """How to predict.

    Attributes:
        device: "cuda", "cpu", …; None takes a GPU if there is one.
        mirror: average over mirrored copies on the axes that the configuration was trained with, and, of
            slices seen whole by networks that say so (`predicts_rotated`), over rotated ones.
        tile_step: distance of neighbouring tiles as a fraction of the patch.
        batch_size: patches per forward pass, mirrored copies included; None chooses by device and patch size.
        amp: mixed precision, on CUDA and on CPUs that compute in bfloat16; sums over mirrors, tiles and folds
            stay float32.
        held_bytes: logits of a case up to this size are kept in memory; larger ones are computed as the
            export reads them.
    """

    device: str | None = None
    mirror: bool = True
    tile_step: float = 0.5
    batch_size: int | None = None
    amp: bool = True
    held_bytes: int = 2**30


class Predictor:
    """Networks of one configuration, whose logits are averaged."""

    def __init__(
        self,
        models: Iterable[nn.Module],
        plan: Plan,
        configuration: Configuration,
        labels: LabelScheme,
        options: PredictorOptions | None = None,
        weights_sha256: str = "",
        channel_names: Sequence[str] = (),
    ) -> None:
        """Move the models to the device and put them in evaluation mode.

        Args:
            models: one per fold; each maps (b, channels, y, x) to logits (b, K, y, x). Weights that are equal
                in several of them (a frozen encoder) are held once, so from here on they are for inference
                alone; a generator is loaded one by one.
            plan: the plan that they were trained with.
            configuration: the one that they belong to.
            labels: what logit channels mean.
            options: how to predict.
            weights_sha256: names the weights in `prediction.json`.
            channel_names: of the dataset, where they are known.

        Raises:
            UsageError: there is no device of this name.
        """
        self.plan, self.configuration, self.labels = plan, configuration, labels
        self.options = options or PredictorOptions()
        self.device = checked_device(self.options.device) if self.options.device else best_device()
        if self.device.type == "cpu":  # of a container that has a share of the machine's cores
            torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
        self.models: list[nn.Module] = []
        for model in models:
            self.models.append(model.to(self.device).train(mode=False))
            share_equal_weights(self.models[0], self.models[-1])
        self.weights_sha256, self.channel_names = weights_sha256, tuple(channel_names)
        self._limit = BatchLimit()

    @property
    def channels(self) -> int:
        """Image channels that a case must have."""
        return len(self.configuration.normalization)

    @property
    def volumes(self) -> bool:
        """Whether its networks see patches of volumes."""
        return self.configuration.dimension == VOLUME

    @property
    def predicts_rotated(self) -> bool:
        """Whether slices seen whole are predicted rotated too."""
        return self.options.mirror and all(getattr(model, "predicts_rotated", False) for model in self.models)

    def has_large_sums(self, shape_zyx: Sequence[int]) -> bool:
        """Whether logits of a preprocessed volume of this shape are added up over patches in more memory than
        those of any case may take (`held_bytes`)."""
        return self.volumes and self._bytes_of_sums(shape_zyx) > self.options.held_bytes

    @torch.inference_mode()
    def predict_preprocessed(self, image_czyx: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits (K, z, y, x) of a preprocessed image (channel, z, y, x), averaged over orientations,
        mirrors, tiles and models."""
        image_czyx = np.require(image_czyx, np.float32, ["W"])  # torch takes no read-only arrays
        return self._held(image_czyx).cpu().numpy()

    @torch.inference_mode()
    def logits(
        self,
        image_czyx: npt.NDArray[np.float32],
        network_lock: NetworkLock | None = None,
        in_one_piece: bool = False,
    ) -> LogitSource:
        """Logits of a preprocessed image as something to read slab by slab, in memory that does not grow with
        the volume.

        Args:
            image_czyx: preprocessed image (channel, z, y, x).
            network_lock: held while the network runs, where several threads predict.
            in_one_piece: compute all of them now, on disk in float16 where they are too large to hold.
        """
        image_czyx = np.require(image_czyx, np.float32, ["W"])
        network_lock = network_lock or NetworkLock(StageClock())
        depth, height, width = image_czyx.shape[1:]
        shape = (self.labels.classes, depth, height, width)
        if int(np.prod(shape)) * 4 <= self.options.held_bytes:
            with network_lock.hold():
                return ArrayLogits(self._finished(self._held(image_czyx)))
        if (self.volumes or self.configuration.slicing_axes == (0,)) and not in_one_piece:
            # when it is this case's turn, for room is seen then
            slabs = cache(lambda: self._slabs(image_czyx))

            def compute(start: int, stop: int) -> Tensor:
                with network_lock.hold(), torch.inference_mode():
                    slab = slabs()(start, stop)
                    return self._finished(slab.to(self._home(slab.nbytes)))

            return LazyLogits(compute, shape[0], (depth, height, width), self._slab_size(shape, 0))
        turn = network_lock.hold_sums() if self.has_large_sums(shape[1:]) else nullcontext()
        with turn, network_lock.hold(), tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):  # a full disk is an error here; in the map it kills us
                os.posix_fallocate(file.fileno(), 0, 2 * math.prod(shape))
            on_disk: npt.NDArray[np.float16] = np.memmap(file, dtype=np.float16, mode="w+", shape=shape)
            self._add_all_logits(image_czyx, torch.from_numpy(on_disk))
            return ArrayLogits(torch.from_numpy(on_disk))

    def _held(self, image_czyx: npt.NDArray[np.float32]) -> Tensor:
        """All logits (K, z, y, x), float32, on the device where it has room for them."""
        shape = (self.labels.classes, *image_czyx.shape[1:])
        total = torch.zeros(shape, device=self._home(4 * math.prod(shape)))
        self._add_all_logits(image_czyx, total)
        return total

    def _home(self, size: int, times: int = ROOM) -> torch.device:
        """Where logits of `size` bytes wait for the export: on a GPU that has room for `times` as much (them
        and what is made of them), so that nothing but labels is copied out of it."""
        if self.device.type != "cuda":
            return torch.device("cpu")
        free, _ = torch.cuda.mem_get_info(self.device)
        # what the allocator keeps of earlier batches is no longer free to others, but to us it is
        idle = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return self.device if times * size <= free + idle else torch.device("cpu")

    def _finished(self, logits: Tensor) -> Tensor:
        """The same, computed: a GPU works on behind our back, and the clock shall know for what."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return logits

    def _add_all_logits(self, image_czyx: npt.NDArray[np.float32], total: Tensor) -> None:
        """Add the logits of every orientation, divided by their number, to `total` (K, z, y, x)."""
        axes = self.configuration.slicing_axes
        if self.volumes:
            slab, size = self._slabs(image_czyx), self._slab_size(total.shape, 0)
            for start in range(0, total.shape[1], size):
                stop = min(total.shape[1], start + size)
                total[:, start:stop] += slab(start, stop).to(total.device)
            return
        for axis in axes:
            along_axis = total.movedim(axis + 1, 1)
            size = self._slab_size(total.shape, axis)
            for start in range(0, along_axis.shape[1], size):
                stop = min(along_axis.shape[1], start + size)
                part = self._slab(image_czyx, axis, start, stop).to(total.device)
                along_axis[:, start:stop] += part / len(axes)

    def _slabs(self, image_czyx: npt.NDArray[np.float32]) -> Callable[[int, int], Tensor]:
        """What computes logits (K, stop - start, y, x) of slices along axis 0, asked for in order."""
        if not self.volumes:
            return lambda start, stop: self._slab(image_czyx, 0, start, stop)
        depth, height, width = self.configuration.patch_shape
        mirrored = self.configuration.mirror_axes if self.options.mirror else ()
        settings = VolumeSettings(
            patch_zyx=(depth, height, width),
            tile_step=self.options.tile_step,
            batch_size=self._batch_size(),
            flips=volume_flips(mirrored),
            limit=self._limit,
        )
        networks = [self._autocasting(model) for model in self.models]
        image, classes, shape = torch.from_numpy(image_czyx), self.labels.classes, image_czyx.shape[1:]
        taken = 4 * classes * min(self._slab_size((classes, *shape), 0), shape[0]) * math.prod(shape[1:])
        home = self._home(self._bytes_of_sums(shape) + taken, SUMS_ROOM)
        return VolumeLogits(networks, image, classes, settings, self.device, home).take

    def _bytes_of_sums(self, shape_zyx: Sequence[int]) -> int:
        """What sums over patches of a volume take while it is read slab by slab."""
        classes, (depth, height, width) = self.labels.classes, self.configuration.patch_shape
        slab = self._slab_size((classes, *shape_zyx), 0)
        return bytes_held(classes, shape_zyx, (depth, height, width), slab)

    def _autocasting(self, model: nn.Module) -> Network:
        def run(batch_bczyx: Tensor) -> Tensor:
            with self._autocast():
                logits: Tensor = model(batch_bczyx)
            return logits

        return run

    def _slab(self, image_czyx: npt.NDArray[np.float32], axis: int, start: int, stop: int) -> Tensor:
        """Logits (K, stop - start, h, w) of the slices `start` to `stop` along `axis`, float32."""
        configuration, context = self.configuration, self.configuration.context_slices
        slices = torch.from_numpy(image_czyx).movedim(axis + 1, 0)
        first, last = max(0, start - context), min(slices.shape[0], stop + context)
        settings = SliceSettings(
            patch_size=configuration.patch_size,
            tile_step=self.options.tile_step,
            batch_size=self._batch_size(),
            context_slices=context,
            mirrors=mirrors(configuration.mirror_axes, axis, context) if self.options.mirror else (Mirror(),),
            rotations=ROTATIONS if self.predicts_rotated else (0.0,),
            surroundings=configuration.network.surroundings,
            limit=self._limit,
        )
        with self._autocast():
            logits = slice_logits(
                self.models, slices[first:last].to(self.device), (start - first, stop - first), settings
            )
        return logits.transpose(0, 1)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.device.type == "cuda" and self.options.amp:
            return torch.autocast("cuda", dtype=half_precision(self.device))
        if self.device.type == "cpu" and self.options.amp and cpu_computes_bfloat16():
            # 1.7 times as fast where the CPU has the instructions
            return torch.autocast("cpu", dtype=torch.bfloat16)
        return nullcontext()

    def _slab_size(self, shape_kzyx: Sequence[int], axis: int) -> int:
        """Slices along `axis` whose logits take at most SLAB_BYTES (one at least)."""
        slice_bytes = int(np.prod(shape_kzyx)) // shape_kzyx[axis + 1] * 4
        return max(1, SLAB_BYTES // slice_bytes)

    def _batch_size(self) -> int:
        patch_bytes = self.labels.classes * math.prod(self.configuration.patch_shape) * 4
        wanted = self.options.batch_size
        if wanted is None:
            pixels = math.prod(self.configuration.network.input_shape)
            on_gpu = GPU_VOLUMES if self.volumes else GPU_BATCH
            wanted = CPU_BATCH_PIXELS // pixels if self.device.type == "cpu" else on_gpu
        return max(1, min(wanted, BATCH_BYTES // patch_bytes))


def share_equal_weights(first: nn.Module, other: nn.Module) -> None:
    """Let `other` hold those of its parameters that equal the first's as the first's: five folds of a frozen
    vit_h are then one."""
    held = dict(first.named_parameters())
    for name, parameter in other.named_parameters():
        same = held.get(name)
        if (
            same is not None
            and same.shape == parameter.shape
            and same.dtype == parameter.dtype
            and torch.equal(same, parameter)
        ):
            parameter.data = same.data


def count_patches(
    configuration: Configuration, shape_zyx: Sequence[int], options: PredictorOptions | None = None
) -> int:
    """Patches that a network sees of a preprocessed image, tiles, mirrored and rotated copies counted: what
    prediction costs."""
    options = options or PredictorOptions()

    def tiles_of(sides: Sequence[int]) -> int:
        return math.prod(
            len(tile_starts(max(side, patch), patch, options.tile_step))
            for side, patch in zip(sides, configuration.patch_shape, strict=True)
        )

    if configuration.dimension == VOLUME:
        flips = volume_flips(configuration.mirror_axes if options.mirror else ())
        return tiles_of(shape_zyx) * len(flips)
    total = 0
    for axis in configuration.slicing_axes:
        tiles = tiles_of([size for other, size in enumerate(shape_zyx) if other != axis])
        copies = len(mirrors(configuration.mirror_axes, axis, configuration.context_slices))
        if tiles == 1 and configuration.network.backbone == "cnn":
            copies *= len(ROTATIONS)
        total += shape_zyx[axis] * tiles * (copies if options.mirror else 1)
    return total
