"""A plan for tiny volumes and networks that are simple enough to know the answer of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from balrsam_pipeline.dataset import LabelScheme
from balrsam_pipeline.folds import ALL, FoldName
from balrsam_pipeline.imageio import Geometry, Image, write_image
from balrsam_pipeline.network import build, trainable_state
from balrsam_pipeline.plan import ChannelStatistics, Configuration, NetworkPlan, Plan, write_versioned

STATISTICS = ChannelStatistics(mean=0, median=0, std=1, min=-1, max=1, percentile_00_5=-1, percentile_99_5=1)


class PixelNetwork(nn.Module):
    """Logits that depend on each pixel alone, and on the middle channel: class k peaks at intensity k."""

    def __init__(self, classes: int = 3, channels: int = 1, scale: float = 1.0) -> None:
        super().__init__()
        self.classes, self.channels = classes, channels
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, image: Tensor) -> Tensor:
        assert image.shape[1] == self.channels
        middle = image[:, self.channels // 2, None]
        return torch.cat([-((middle - k) ** 2) * self.scale for k in range(self.classes)], dim=1)


class WeightedNetwork(nn.Module):
    """A fixed random convolution: depends on neighbours, channels, position in the batch of nothing else."""

    def __init__(self, channels: int, classes: int, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Conv2d(channels, classes, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(image)


def plain_labels(count: int = 2) -> LabelScheme:
    """Labels l1 … of values 1 … and background."""
    return LabelScheme(
        names=tuple(f"l{value}" for value in range(1, count + 1)),
        values=tuple((value,) for value in range(1, count + 1)),
        has_regions=False,
        region_order=(),
        ignore_value=None,
        largest=count,
    )


def region_labels() -> LabelScheme:
    """Two nested regions: whole = {1, 2}, core = {2}."""
    return LabelScheme(
        names=("whole", "core"),
        values=((1, 2), (2,)),
        has_regions=True,
        region_order=(1, 2),
        ignore_value=None,
        largest=2,
    )


def make_plan(**changes: object) -> Plan:
    """A plan with one configuration "2d" that leaves intensities and spacing of 1 mm as they are; `changes`
    go to it."""
    network = NetworkPlan(
        backbone="vit_mini",
        from_scratch=True,
        input_channels=1,
        classes=3,
        input_size=(32, 32),
        lora_rank=0,
        lora_alpha=1.0,
        adapter_rank=0,
        decoder_attention="exact",
        decoder_rank=1,
        cden_width=8,
        mask_stride=4,
    )
    configuration = Configuration(
        name="2d",
        transpose=(0, 1, 2),
        spacing_mm=(1.0, 1.0, 1.0),
        slicing_axes=(0,),
        context_slices=0,
        normalization=("none",),
        normalize_inside_mask=(False,),
        patch_size=(16, 16),
        batch_size=2,
        mirror_axes=(0, 1, 2),
        network=network,
    )
    configuration = replace(configuration, **changes)
    return Plan(
        dataset="Dataset900_Test",
        fingerprint_sha256="0" * 64,
        channel_statistics=(STATISTICS,) * len(configuration.normalization),
        configurations={configuration.name: configuration},
        default_configuration=configuration.name,
    )


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes volumes of the values 0, 1, 2 as CASE_0000.nii.gz into a folder."""

    def write(cases: int, shape: tuple[int, int, int] = (5, 20, 18)) -> Path:
        folder = tmp_path / "images"
        for index in range(cases):
            data = np.random.default_rng(index).integers(0, 3, shape).astype(np.float32)
            geometry = Geometry(
                dimension=3, shape_zyx=shape, spacing_mm=(1.0, 1.0, 1.0), origin_mm=(3.0, -2.0, 1.0)
            )
            write_image(folder / f"case{index}_0000.nii.gz", Image(data[None], geometry))
        return folder

    return write


class CountedReads:
    """Stands for an array of blosc2 on disk, and counts how many chunks are decompressed."""

    def __init__(self, array: blosc2.NDArray, counts: SimpleNamespace) -> None:
        self._array, self._counts = array, counts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._array, name)

    def __getitem__(self, index: tuple[slice, ...]) -> npt.NDArray[Any]:
        touched = 1
        sides = zip_longest(self._array.shape, self._array.chunks, index, fillvalue=slice(None))
        for size, chunk, part in sides:
            touched *= len({place // chunk for place in range(size)[part]})
        self._counts.read += touched
        return self._array[index]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """Of every blosc2 file that the test opens the number of its `chunks`, and of those `read`."""
    files: list[SimpleNamespace] = []
    open_file = blosc2.open

    def open_counted(path: str, mode: str) -> CountedReads:
        array = open_file(path, mode=mode)
        files.append(SimpleNamespace(chunks=array.schunk.nchunks, read=0))
        return CountedReads(array, files[-1])

    monkeypatch.setattr(blosc2, "open", open_counted)
    return files


@pytest.fixture(scope="session")
def fakes() -> SimpleNamespace:
    """The networks, labels and plan of this file."""
    return SimpleNamespace(
        PixelNetwork=PixelNetwork,
        WeightedNetwork=WeightedNetwork,
        plain_labels=plain_labels,
        region_labels=region_labels,
        make_plan=make_plan,
    )


DATASET_JSON = {
    "channel_names": {"0": "MR"},
    "labels": {"background": 0, "l1": 1, "l2": 2},
    "numTraining": 1,
    "file_ending": ".nii.gz",
}


@pytest.fixture
def model_folder(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes results/Dataset900_Test/NAME__balrsam with random vit_mini networks, as training
    leaves it."""

    def write(name: str = "2d", folds: tuple[FoldName, ...] = (0, 1), **changes: object) -> Path:
        folder = tmp_path / "results" / "Dataset900_Test" / f"{name}__balrsam"
        plan = make_plan(name=name, **changes)
        write_versioned(folder / "plan.json", plan)
        (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
        for fold in folds:
            torch.manual_seed(len(name) + (9 if fold == ALL else fold))
            model = build(plan.configuration(name).network)
            for parameter in model.parameters():
                parameter.data += 0.05 * torch.randn_like(parameter)
            (folder / f"fold_{fold}").mkdir()
            tensors = {f"ema/{key}": value.contiguous() for key, value in trainable_state(model).items()}
            save_file(tensors, folder / f"fold_{fold}" / "checkpoint_final.safetensors", {"base_sha256": ""})
        return folder

    return write
