"""Small stand-ins of what the other packages give to training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.volumes import volume_configuration, volume_network

from balrsam_pipeline.dataset import make_folds, open_dataset, read_case, write_folds
from balrsam_pipeline.demo.generate import DATASET_NAME, DemoSize, generate_dataset
from balrsam_pipeline.network.stock_sam import stock_sam
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.plan import (
    ChannelStatistics,
    Configuration,
    NetworkPlan,
    Plan,
    read_plan,
    write_versioned,
)
from balrsam_pipeline.preprocessing import preprocess_image, store_folder, write_case
from trainers.config import TrainingConfig
from trainers.request import TrainRequest


class MemoryStore:
    """Cases in memory with the interface of a CaseStore; voxel values tell where they come from."""

    def __init__(self, shapes: dict[str, tuple[int, int, int]], channels: int = 1) -> None:
        self.images, self.labels = {}, {}
        for number, (case, shape) in enumerate(shapes.items()):
            rng = np.random.default_rng(number)
            self.images[case] = rng.normal(size=(channels, *shape)).astype(np.float32)
            label = np.zeros(shape, np.int16)
            z, y, x = (size // 2 for size in shape)
            label[z - 1 : z + 2, y - 3 : y + 3, x - 3 : x + 3] = 1
            label[z - 1 : z + 2, y - 1 : y + 1, x - 1 : x + 1] = 2
            self.labels[case] = label
            self.images[case][:, label > 0] += 2.0

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(self.images)

    def shape(self, case: str) -> tuple[int, int, int]:
        depth, height, width = self.labels[case].shape
        return depth, height, width

    def read_image(self, case: str) -> np.ndarray:
        return self.images[case]

    def read_slice(self, case: str, index: int, context: int = 0, axis: int = 0) -> np.ndarray:
        volume = np.moveaxis(self.images[case], axis + 1, 0)
        picks = [min(max(index + offset, 0), len(volume) - 1) for offset in range(-context, context + 1)]
        return np.concatenate([volume[pick] for pick in picks])

    def read_label_slice(self, case: str, index: int, axis: int = 0) -> np.ndarray:
        return np.take(self.labels[case], index, axis=axis)

    def read_box(self, case: str, box: tuple[slice, slice, slice]) -> np.ndarray:
        return self.images[case][(slice(None), *box)]

    def read_label_box(self, case: str, box: tuple[slice, slice, slice]) -> np.ndarray:
        return self.labels[case][box]

    def annotated(self, case: str) -> None:
        """Everything is annotated."""

    def foreground(self, case: str) -> dict[str, np.ndarray]:
        return {
            name: np.argwhere(self.labels[case] == value).astype(np.int32)
            for value, name in ((1, "outer"), (2, "inner"))
        }


def tiny_configuration(**changes: object) -> Configuration:
    """A small configuration; keyword arguments replace its values."""
    context = int(changes.get("context_slices", 0))  # type: ignore[call-overload]
    channels = int(changes.pop("channels", 1))  # type: ignore[call-overload]
    network = NetworkPlan(
        backbone="vit_mini",
        from_scratch=True,
        input_channels=channels * (2 * context + 1),
        classes=3,
        input_size=(32, 32),
        lora_rank=0,
        lora_alpha=1.0,
        adapter_rank=0,
        decoder_attention="low_rank",
        decoder_rank=8,
        cden_width=8,
        mask_stride=4,
    )
    values: dict[str, object] = {
        "name": "2d",
        "transpose": (0, 1, 2),
        "spacing_mm": (1.0, 1.0, 1.0),
        "slicing_axes": (0,),
        "context_slices": 0,
        "normalization": ("z_score",) * channels,
        "normalize_inside_mask": (False,) * channels,
        "patch_size": (16, 12),
        "batch_size": 4,
        "mirror_axes": (0, 1, 2),
        "network": network,
    }
    return Configuration(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def make_configuration() -> Callable[..., Configuration]:
    """A small configuration; keyword arguments replace its values."""
    return tiny_configuration


@pytest.fixture
def make_store() -> Callable[..., MemoryStore]:
    """A store of two cases of different shape."""

    def make(channels: int = 1, shapes: dict[str, tuple[int, int, int]] | None = None) -> MemoryStore:
        return MemoryStore(shapes or {"case_a": (9, 20, 14), "case_b": (7, 10, 30)}, channels)

    return make


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    """Roots with the demo dataset, planned by hand (a tiny network) and preprocessed; results are for each
    test to place."""
    folder = tmp_path_factory.mktemp("prepared")
    roots = Roots(raw=folder / "raw", preprocessed=folder / "preprocessed", results=folder / "results")
    size = DemoSize(training_cases=5, test_cases=0, shape_zyx=(8, 32, 32))
    dataset = open_dataset(generate_dataset(roots.raw, size))
    statistics = ChannelStatistics(
        mean=0, median=0, std=1, min=0, max=1, percentile_00_5=0, percentile_99_5=1
    )
    configuration = tiny_configuration(channels=2, patch_size=(32, 32))
    volumes = volume_configuration(
        network=volume_network(input_channels=2),
        normalization=("z_score",) * 2,
        normalize_inside_mask=(False,) * 2,
    )
    plan = Plan(
        dataset=dataset.name,
        fingerprint_sha256="0" * 64,
        channel_statistics=(statistics, statistics),
        configurations={"2d": configuration, "3d": volumes},
        default_configuration="2d",
    )
    preprocessed = roots.preprocessed / dataset.name
    write_versioned(preprocessed / "plan.json", plan)
    cases = dataset.training_cases()
    write_folds(preprocessed / "splits.json", make_folds(sorted(cases)))
    for case, files in cases.items():
        image, label = read_case(files, dataset.description)
        for each in (configuration, volumes):
            store = store_folder(preprocessed, each)
            write_case(store, case, preprocess_image(image, label, plan, each), dataset.description.labels)
    return roots


@pytest.fixture
def make_request(prepared: Roots, tmp_path: Path) -> Callable[..., TrainRequest]:
    """A request to train the demo dataset for a few steps; keyword arguments are settings of the training."""

    def make(**settings: object) -> TrainRequest:
        roots = dataclasses.replace(prepared, results=tmp_path / "results")
        return TrainRequest(
            dataset=prepared.raw / DATASET_NAME,
            roots=roots,
            device="cpu",
            workers=0,
            config=tiny_training(**settings),
        )

    return make


@pytest.fixture(scope="session")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SAM checkpoint of vit_mini with random weights and SAM's keys."""
    path = tmp_path_factory.mktemp("sam") / "vit_mini.pth"
    torch.save(stock_sam("vit_mini").state_dict(), path)
    return path


@pytest.fixture
def adapt(
    make_request: Callable[..., TrainRequest], sam: Path, tmp_path: Path
) -> Callable[..., TrainRequest]:
    """A request that trains the demo dataset with the plan changed to adapt `sam`, its `3d` in stacks of four
    slices; keyword arguments are settings."""

    def make(**settings: object) -> TrainRequest:
        request = make_request(**settings)
        dataset = request.roots.preprocessed / request.dataset.name
        target = tmp_path / "preprocessed"
        if not target.exists():
            plan = read_plan(dataset / "plan.json")
            slices, volumes = plan.configurations["2d"], plan.configurations["3d"]
            network = dataclasses.replace(
                slices.network, from_scratch=False, lora_rank=2, lora_alpha=2.0, adapter_rank=4
            )
            stacks = dataclasses.replace(
                volumes, network=dataclasses.replace(network, stack=4), patch_size=(32, 32)
            )
            adapted = {"2d": dataclasses.replace(slices, network=network), "3d": stacks}
            (target / dataset.name).mkdir(parents=True)
            for path in dataset.iterdir():
                (target / dataset.name / path.name).symlink_to(path)
            (target / dataset.name / "plan.json").unlink()
            changed = dataclasses.replace(plan, configurations=adapted)
            write_versioned(target / dataset.name / "plan.json", changed)
        roots = dataclasses.replace(request.roots, preprocessed=target)
        return dataclasses.replace(request, roots=roots, base=sam)

    return make


@pytest.fixture
def training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds end with their weights; whole images, which take longer than training, are not predicted."""
    monkeypatch.setattr("trainers.fold.validate_fold", lambda *_: None)


def tiny_training(**settings: object) -> TrainingConfig:
    """Six steps of two samples, saved after every one of three epochs."""
    values = {
        "epochs": 3,
        "steps_per_epoch": 2,
        "batch_size": 2,
        "save_every_s": 0.0,
        "quick_validation_patches": 2,
    }
    return TrainingConfig(**(values | settings))  # type: ignore[arg-type]
