"""What a machine is checked with: a dataset's own plan and cases, or a plan and cases that are made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from balrsam_pipeline.dataset import LabelScheme
from balrsam_pipeline.hardware import USABLE_SHARE
from balrsam_pipeline.network import preset, step_memory
from balrsam_pipeline.plan import ChannelStatistics, Configuration, Normalization, Plan
from trainers.config import TrainingConfig
from trainers.data import BatchLoader, FoldData, PatchReader, loader_of, open_fold, open_loader
from trainers.data.loader import BatchSource
from trainers.data.sampling import Sampler, SamplingCase
from trainers.request import TrainRequest

CPU_SIDE, GPU_SIDE = 112, 448
CPU_BATCH, LARGEST_BATCH = 4, 16
SLICES = 8
CLASSES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A plan to try, and what makes its batches.

    Attributes:
        what: it is, in words.
        config: settings, completed by the plan, for the device.
        loader: number of worker processes -> what makes batches.
        steps: of the training of a fold as planned; None where that is not known, or a step of it is another
            one than those tried: what a frozen encoder makes of a slice may be kept.
    """

    what: str
    plan: Plan
    configuration: Configuration
    labels: LabelScheme
    config: TrainingConfig
    loader: Callable[[int], BatchLoader]
    steps: int | None = None


def subject_of_dataset(request: TrainRequest, device: torch.device) -> Subject:
    """The plan and the cases of a preprocessed dataset's fold.

    Raises:
        TrainingError: it is not preprocessed.
    """
    data: FoldData = open_fold(request)
    config = _on(request.config, data.configuration, device, data.training_cases)
    kept = data.configuration.network.backbone == "vit_t" and data.configuration.network.decoder == "pyramid"
    return Subject(
        what=f"{data.plan.dataset}, configuration {data.configuration.name}",
        plan=data.plan,
        configuration=data.configuration,
        labels=data.labels,
        config=config,
        loader=lambda workers: open_loader(data, config, (0, 1), workers),
        steps=None if kept else config.budget_steps,
    )


def generated_subject(
    device: torch.device, memory_bytes: int | None, classes: int = CLASSES, batch: int = CPU_BATCH
) -> Subject:
    """A made-up volume with two labels: for `vit_mini` on a CPU, on a GPU for `vit_b` with random weights and
    the batch that its memory holds.

    Args:
        memory_bytes: of the GPU; None for a CPU, and where `batch` is wanted on a GPU.
        classes: of the network, background counted; labels above 2 occur nowhere.
    """
    cuda = device.type == "cuda"
    side = GPU_SIDE if cuda else CPU_SIDE
    network = replace(preset("vit_b" if cuda else "vit_mini", classes), input_size=(side, side))
    network = replace(network, input_channels=network.input_channels if cuda else 1)
    if memory_bytes is not None:
        needed = (
            (size, step_memory(network, (side, side), size).total) for size in range(LARGEST_BATCH, 0, -1)
        )
        batch = next((size for size, total in needed if total <= USABLE_SHARE * memory_bytes), 1)
    scheme: Normalization = "z_score"
    schemes = (scheme,) * network.input_channels
    configuration = Configuration(
        name="2d",
        transpose=(0, 1, 2),
        spacing_mm=(1.0, 1.0, 1.0),
        slicing_axes=(0,),
        context_slices=0,
        normalization=schemes,
        normalize_inside_mask=(False,) * network.input_channels,
        patch_size=(side, side),
        batch_size=batch,
        mirror_axes=(),
        network=network,
    )
    config = _on(TrainingConfig(), configuration, device)
    source = GeneratedSource(network.input_channels, side + side // 4)
    case = SamplingCase(case=source.case, shape_zyx=source.shape(source.case))
    sampler = Sampler((case,), source.foreground, configuration, config)
    batches = BatchSource(sampler, PatchReader(source, configuration, config.augmentation), batch)
    return Subject(
        what=f"a made-up volume, {network.backbone} with random weights",
        plan=_plan(configuration),
        configuration=configuration,
        labels=_labels(classes),
        config=config,
        loader=lambda workers: loader_of(batches, workers),
    )


class GeneratedSource:
    """Noise with two labelled halves of a block, as a source of slices."""

    case = "made_up"

    def __init__(self, channels: int, side: int) -> None:
        rng = np.random.default_rng(0)
        self._image_czyx = rng.normal(size=(channels, SLICES, side, side)).astype(np.float32)
        self._label_zyx = np.zeros((SLICES, side, side), np.int16)
        low, middle, high = side // 4, side // 2, 3 * side // 4
        self._label_zyx[:, low:high, low:middle] = 1
        self._label_zyx[:, low:high, middle:high] = 2

    def read_slice(self, case: str, index: int, context: int = 0, axis: int = 0) -> npt.NDArray[np.float32]:
        """A slice (channels, height, width); it has no neighbours."""
        return self._image_czyx[:, index].copy()

    def read_label_slice(self, case: str, index: int, axis: int = 0) -> npt.NDArray[np.int16]:
        """The labels of a slice, (height, width)."""
        label_hw: npt.NDArray[np.int16] = self._label_zyx[index].copy()
        return label_hw

    def read_box(self, case: str, box: tuple[slice, slice, slice]) -> npt.NDArray[np.float32]:
        """A box, (channel, z, y, x)."""
        return self._image_czyx[(slice(None), *box)]

    def read_label_box(self, case: str, box: tuple[slice, slice, slice]) -> npt.NDArray[np.int16]:
        """The labels of a box, (z, y, x)."""
        return self._label_zyx[box]

    def read_image(self, case: str) -> npt.NDArray[np.float32]:
        """The volume, (channel, z, y, x)."""
        return self._image_czyx

    def shape(self, case: str) -> tuple[int, int, int]:
        """Its shape, (z, y, x)."""
        depth, height, width = self._label_zyx.shape
        return depth, height, width

    def foreground(self, case: str) -> Mapping[str, npt.NDArray[np.int32]]:
        """Some voxels of each label, (n, 3)."""
        voxels = {name: np.argwhere(self._label_zyx == value) for value, name in ((1, "left"), (2, "right"))}
        return {name: places[::50].astype(np.int32) for name, places in voxels.items()}

    def annotated(self, case: str) -> None:
        """All of it is."""
        return


def _on(
    config: TrainingConfig, configuration: Configuration, device: torch.device, cases: int = 0
) -> TrainingConfig:
    """The settings completed by a plan and the number of training cases (0: made up), with intensities
    changed where the device has them changed."""
    config = config.completed(configuration, cases=cases)
    augmentation = config.augmentation.on(device.type, volumes=configuration.network.depth > 0)
    return replace(config, augmentation=augmentation)


def _labels(classes: int) -> LabelScheme:
    values = range(1, classes)
    return LabelScheme(
        names=tuple(f"label {value}" for value in values),
        values=tuple((value,) for value in values),
        has_regions=False,
        region_order=(),
        ignore_value=None,
        largest=classes - 1,
    )


def _plan(configuration: Configuration) -> Plan:
    statistics = ChannelStatistics(
        mean=0, median=0, std=1, min=-4, max=4, percentile_00_5=-2.6, percentile_99_5=2.6
    )
    return Plan(
        dataset="Dataset000_MadeUp",
        fingerprint_sha256="",
        channel_statistics=(statistics,) * len(configuration.normalization),
        configurations={configuration.name: configuration},
        default_configuration=configuration.name,
    )
