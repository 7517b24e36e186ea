"""Training that adapts a SAM checkpoint: what moves, what stays, and what the trained file is good for
without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from balrsam_pipeline.errors import BalrsamError, CheckpointError
from balrsam_pipeline.network import BalrSam, build, load_trained, start_on_images
from balrsam_pipeline.network.stock_sam import stock_sam
from balrsam_pipeline.plan import NetworkPlan, read_plan
from trainers import TrainRequest, train_fold
from trainers.checkpoints import CheckpointFolder, read_checkpoint
from trainers.setup import MEASURED_PATCHES

pytestmark = pytest.mark.usefixtures("training_only")
Adapted = Callable[..., TrainRequest]


def network_of(request: TrainRequest) -> NetworkPlan:
    """The planned network of a request."""
    return (
        read_plan(request.roots.preprocessed / request.dataset.name / "plan.json")
        .configurations["2d"]
        .network
    )


def trained_file(request: TrainRequest) -> Path:
    """Train, and name the final checkpoint."""
    return CheckpointFolder(train_fold(request).folder).path("final")


def test_only_what_is_not_sams_encoder_is_trained_and_saved(adapt: Adapted, sam: Path) -> None:
    request = adapt(epochs=1)
    path = trained_file(request)
    names = set(read_checkpoint(path).part("ema"))
    assert any(".lora." in name for name in names)
    assert "image_encoder.blocks.0.mlp.lin1.weight" not in names
    assert path.stat().st_size < 0.6 * sam.stat().st_size
    start, end = build(network_of(request), sam), load_trained(path, network_of(request), sam)
    assert torch.equal(
        start.image_encoder.blocks[0].mlp.lin1.weight, end.image_encoder.blocks[0].mlp.lin1.weight
    )


def test_low_rank_attention_starts_on_training_images_once(
    adapt: Adapted, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def start(model: BalrSam, base: Path, images: Iterable[Tensor]) -> None:
        measured.append(len(list(images)))
        start_on_images(model, base, images)

    monkeypatch.setattr("trainers.setup.start_on_images", start)
    train_fold(adapt(epochs=1))
    train_fold(dataclasses.replace(adapt(epochs=2), accept_changed_settings=True))
    assert measured == [MEASURED_PATCHES]


def test_with_nothing_frozen_the_encoder_trains_and_predicts_again(adapt: Adapted, sam: Path) -> None:
    request = adapt(epochs=1, freeze="nothing")
    path = trained_file(request)
    start, end = build(network_of(request), sam), load_trained(path, network_of(request), sam)
    weight = "image_encoder.blocks.0.mlp.lin1.weight"
    assert torch.equal(end.get_parameter(weight), read_checkpoint(path).part("ema")[weight])
    assert not torch.equal(end.get_parameter(weight), start.get_parameter(weight))


def test_a_run_does_not_go_on_with_another_sam(adapt: Adapted, tmp_path: Path) -> None:
    train_fold(adapt(epochs=1))
    other = tmp_path / "other.pth"
    torch.manual_seed(1)
    torch.save(stock_sam("vit_mini").state_dict(), other)
    again = adapt(epochs=2)
    with pytest.raises(CheckpointError, match="--checkpoint"):
        train_fold(dataclasses.replace(again, base=other, accept_changed_settings=True))


def test_without_a_sam_checkpoint_the_command_that_fetches_it_is_named(
    adapt: Adapted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("balrsam_checkpoints", str(tmp_path / "nothing"))
    with pytest.raises(BalrsamError, match="--checkpoint"):
        train_fold(dataclasses.replace(adapt(epochs=1), base=None))
