"""Training with a frozen encoder's output kept: the same run every time, resumed or not, the encoder once a
picture."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_vit import random_tiny_sam

from balrsam_pipeline.layout import PreprocessedFolder
from balrsam_pipeline.network import BalrSam, build, checkpoint_sha256, preset
from balrsam_pipeline.plan import read_plan, write_versioned
from trainers import TrainRequest, train_fold
from trainers.augmentation_config import AugmentationConfig
from trainers.checkpoints import Checkpoint, CheckpointFolder, read_checkpoint
from trainers.data import Sample, feature_copies, keep_features, keeping, open_fold
from trainers.stopping import TrainingStopped
from trainers.trainer import Trainer

FROZEN: Mapping[str, Any] = {"adapted_stages": 0}
# as planned for many pictures of large objects
LAST_STAGE: Mapping[str, Any] = {"adapted_stages": 1, "decoder": "pyramid", "encoder_shrink": 2}

pytestmark = pytest.mark.usefixtures("training_only")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in LiteMedSAM's form with random weights."""
    path = tmp_path_factory.mktemp("sam") / "tiny.pth"
    torch.save(random_tiny_sam(4), path)
    return path


@pytest.fixture
def adapt(make_request: Callable[..., TrainRequest], base: Path, tmp_path: Path):
    """A request that adapts `base` on the demo dataset in a place of its own."""

    def make(
        place: str,
        preprocessed: str = "preprocessed",
        network: Mapping[str, Any] = FROZEN,
        **settings: object,
    ) -> TrainRequest:
        request = make_request(**settings)
        source = request.roots.preprocessed / request.dataset.name
        target = tmp_path / preprocessed / request.dataset.name
        if not target.exists():
            target.mkdir(parents=True)
            for path in source.iterdir():
                (target / path.name).symlink_to(path)
            (target / "plan.json").unlink()
            plan = read_plan(source / "plan.json")
            tiny = preset("vit_t", classes=3, input_channels=2)
            chosen = dataclasses.replace(
                tiny, input_size=(32, 32), cden_width=8, projection="fixed", **network
            )
            adapted = dataclasses.replace(plan.configurations["2d"], network=chosen, patch_size=(48, 48))
            write_versioned(target / "plan.json", dataclasses.replace(plan, configurations={"2d": adapted}))
        roots = dataclasses.replace(request.roots, preprocessed=target.parent, results=tmp_path / place)
        return dataclasses.replace(request, roots=roots, base=base)

    return make


def kept_files(request: TrainRequest) -> dict[Path, int]:
    """Files of kept features, with when they were written."""
    folder = PreprocessedFolder(request.roots.preprocessed / request.dataset.name).path / "features"
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


def latest(request: TrainRequest) -> Checkpoint:
    """What training ends with."""
    return read_checkpoint(CheckpointFolder(train_fold(request).folder).path("latest"))


def check_equal(one: Checkpoint, other: Checkpoint) -> None:
    """To the bit."""
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert torch.equal(other.tensors[name], tensor), name


@pytest.mark.parametrize("network", [FROZEN, LAST_STAGE], ids=["frozen", "last_stage"])
def test_filling_reusing_and_resuming_train_the_same_weights(adapt, monkeypatch, caplog, network) -> None:
    caplog.set_level(logging.INFO)
    filling = adapt("filling", network=network)
    expected = latest(filling)
    assert "keeping features of" in caplog.text
    kept = kept_files(filling)
    assert kept
    with monkeypatch.context() as patch:
        patch.setattr(BalrSam, "prefix", _refuse(BalrSam.prefix))
        again = latest(adapt("again", network=network))
    check_equal(expected, again)
    assert kept_files(filling) == kept
    resumed = adapt("resumed", "another_preprocessed", network)
    with monkeypatch.context() as patch:
        original = Trainer.step

        def stepping(self, batch, progress, fetch):
            original(self, batch, progress, fetch)
            if self.state.step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr(Trainer, "step", stepping)
        with pytest.raises(TrainingStopped):
            train_fold(resumed)
    check_equal(expected, latest(resumed))


def test_where_the_disk_has_little_room_what_is_kept_counts_as_room(adapt, monkeypatch, caplog) -> None:
    """The files of the first start are none that a later one, or another fold, has no room for."""
    caplog.set_level(logging.INFO)
    settings = {"feature_dropout": 0.0, "epochs": 8}
    first = adapt("first", "small_disk", **settings)
    data, a_slice = open_fold(first), 2 * 8 * 8 * (256 + 160)  # bytes of two maps in half precision
    slices = sum(case.shape_zyx[0] for case in data.sampling_cases(data.fold.train))
    capacity = int(2.4 * slices * a_slice)

    def usage(_path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=capacity - sum(path.stat().st_size for path in kept_files(first)))

    monkeypatch.setattr(keeping.shutil, "disk_usage", usage)
    latest(first)
    for fold in (0, 1):
        latest(dataclasses.replace(adapt(f"again {fold}", "small_disk", **settings), fold=fold))
    assert caplog.text.count("of each slice itself and 1 augmented copies") == 3
    assert caplog.text.count("no room for more than 1 of 7 copies") == 3


def test_copies_of_other_settings_are_no_room(adapt, monkeypatch, caplog) -> None:
    """They lie in the same folder, and this training cannot use them."""
    caplog.set_level(logging.INFO)
    request = adapt("room", "with_copies")
    data = open_fold(request)
    case = data.sampling_cases(data.fold.train)[0].case
    base = checkpoint_sha256(request.base)
    computed_in = torch.bfloat16 if keeping.cpu_computes_bfloat16() else torch.float32
    key = keeping.features_key(base, data.configuration, computed_in)
    for view in ("0_0", "0_1z", "0_0_1_ffffffff"):
        path = PreprocessedFolder(data.store.folder.parent).features(key, case, view)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"maps")
    config = request.config.completed(data.configuration, 1, data.training_cases)
    keep_features(data, config, build(data.configuration.network, request.base), base, ("cpu", 0))
    assert "(2 are kept already" in caplog.text


@pytest.mark.parametrize(
    ("patch", "expected"), [(48, (3, 0.5 * 20 / 35)), (16, (4, 0.5))], ids=["whole", "tiles"]
)
def test_folds_and_the_model_of_all_cases_show_as_many_copies_and_as_many_samples_without(
    adapt, monkeypatch, patch, expected
) -> None:
    """Folds train on four of the five cases, "all" on five; they have 44 slices, so four of them about 35."""
    # slices of 32 x 32 pixels, 69 % of a quarter each: 4.2 views of 35 in a quarter of a minute
    once_s, megapixels = 15 / 4.2, 35 * 32 * 32 * 0.69 / 4 / 1e6
    monkeypatch.setattr(feature_copies, "ENCODER_S_PER_MEGAPIXEL", once_s / megapixels)
    request = adapt("alike", network=LAST_STAGE, max_minutes=1.0)
    for fold in (0, 1, "all"):
        data, base = open_fold(dataclasses.replace(request, fold=fold)), checkpoint_sha256(request.base)
        cut = dataclasses.replace(data.configuration, patch_size=(patch, patch))
        data, model = dataclasses.replace(data, configuration=cut), build(cut.network, request.base)
        config = request.config.completed(cut, 1, data.training_cases)
        features = keep_features(data, config, model, base, ("cpu", 0))
        assert features is not None and features.copies is not None
        assert (features.copies.count, features.copies.without) == expected, fold


def test_what_may_be_kept_at_most_limits_all_folds_alike(adapt, monkeypatch) -> None:
    """Five views of the 35 slices of a fold fit, so four copies, though "all" trains on 44."""
    monkeypatch.setattr(keeping, "MOST_BYTES", int(5.1 * 35 * 2 * 8 * 8 * (256 + 160)))
    request = adapt("most")
    for fold in (0, 1, "all"):
        data, base = open_fold(dataclasses.replace(request, fold=fold)), checkpoint_sha256(request.base)
        config = request.config.completed(data.configuration, 1, data.training_cases)
        model = build(data.configuration.network, request.base)
        features = keep_features(data, config, model, base, ("cpu", 0))
        assert features is not None and features.copies is not None
        assert features.copies.count == 4, fold


def test_the_encoder_sees_copies_changed_in_intensity_also_where_the_device_changes_samples(adapt) -> None:
    seen = []
    for on_device in (False, True):
        augmentation = AugmentationConfig(on_device=on_device, brightness_probability=1.0)
        request = adapt("copies", augmentation=augmentation, feature_dropout=0.0)
        data, base = open_fold(request), checkpoint_sha256(request.base)
        config = request.config.completed(data.configuration, 1, data.training_cases)
        model = build(data.configuration.network, request.base)
        features = keep_features(data, config, model, base, ("cpu", 0))
        assert features is not None and features.copies is not None
        sample = Sample(case=data.fold.train[0], axis=0, slice_index=2, corner_yx=(0, 0), view=0.5)
        copy = features.copies.encoded(sample, (0, 0), reversed_z=False)
        seen += [features.copies.reader.read(each)[0] for each in (copy, sample)]
    copied, plain, copied_for_device, _ = seen
    np.testing.assert_array_equal(copied_for_device, copied)
    assert not np.array_equal(copied, plain)


def test_a_folder_that_cannot_be_written_gives_what_it_has(adapt, base, monkeypatch) -> None:
    request = adapt("shared", augmentation=AugmentationConfig(enabled=False))
    data = open_fold(request)
    model, sha256 = build(data.configuration.network, base), checkpoint_sha256(base)
    config = request.config.completed(data.configuration, 1, data.training_cases)

    def read_all() -> tuple[torch.Tensor, ...]:
        features = keep_features(data, config, model, sha256, ("cpu", 0))
        assert features is not None
        samples = [
            Sample(case=case.case, axis=0, slice_index=index, corner_yx=(0, 0))
            for case in data.sampling_cases(data.fold.train)
            for index in range(case.shape_zyx[0])
        ]
        return features.stacked(samples)

    expected, kept = read_all(), kept_files(request)
    assert len(kept) == len(expected[0])
    monkeypatch.setattr(keeping.os, "access", lambda *_: False)
    with monkeypatch.context() as patch:
        patch.setattr(BalrSam, "prefix", _refuse(BalrSam.prefix))
        assert all(map(torch.equal, read_all(), expected))
    damaged = next(iter(kept))
    damaged.write_bytes(bytes(damaged.stat().st_size))
    for _ in range(2):
        assert all(map(torch.equal, read_all(), expected))
    assert not any(damaged.read_bytes())
    features = keep_features(data, config, model, sha256, ("cpu", 0))
    assert features is not None
    case = damaged.parent.name
    for index in range(data.store.shape(case)[0]):
        features.read(Sample(case=case, axis=0, slice_index=index, corner_yx=(0, 0)))
    assert features.filling.counted_s == 0, "what is made whenever it is shown is not done once"
    damaged.unlink()
    assert keep_features(data, config, model, sha256, ("cpu", 0)) is None


def _refuse(original):
    """The encoder where only shapes are asked for; an error where it would compute."""

    def prefix(self, image):
        assert image.device.type == "meta", "the encoder ran although its output is kept"
        return original(self, image)

    return prefix


def test_with_everything_trained_nothing_is_kept(adapt, caplog) -> None:
    caplog.set_level(logging.INFO)
    request = adapt("whole", epochs=1, freeze="nothing")
    train_fold(request)
    assert "the frozen encoder runs in every step: it is trained" in caplog.text
    assert not kept_files(request)
