from __future__ import annotations

import errno

import pytest
import torch
from torch import nn

from balrsam_pipeline.errors import CheckpointError, TrainingError
from trainers.checkpoints import (
    Checkpoint,
    CheckpointFolder,
    load_optimiser_tensors,
    optimiser_tensors,
    read_checkpoint,
)
from trainers.config import TrainingConfig
from trainers.optimisation import make_optimiser


def checkpoint(step):
    return Checkpoint(
        {"weights/a": torch.full((2, 3), float(step)), "rng/torch": torch.get_rng_state()},
        {"step": step, "plan_sha256": "ab"},
    )


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save_latest(checkpoint(3))
    loaded = folder.load_latest()
    assert loaded is not None and loaded.metadata == {"step": 3, "plan_sha256": "ab"}
    assert torch.equal(loaded.part("weights")["a"], torch.full((2, 3), 3.0))
    assert torch.equal(loaded.part("rng")["torch"], torch.get_rng_state())


def test_the_two_latest_are_kept_and_nothing_else(tmp_path):
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2, 3):
        folder.save_latest(checkpoint(step))
    assert read_checkpoint(folder.path("latest")).metadata["step"] == 3
    assert read_checkpoint(folder.path("previous")).metadata["step"] == 2
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["truncated", "flipped bit", "emptied", "deleted"])
def test_a_damaged_latest_falls_back_to_the_previous_one(tmp_path, damage, caplog):
    folder = CheckpointFolder(tmp_path)
    folder.save_latest(checkpoint(1))
    folder.save_latest(checkpoint(2))
    path = folder.path("latest")
    content = bytearray(path.read_bytes())
    if damage == "deleted":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-10])
    elif damage == "emptied":
        path.write_bytes(b"")
    else:
        content[-3] ^= 1
        path.write_bytes(content)
    loaded = folder.load_latest()
    assert loaded is not None and loaded.metadata["step"] == 1
    assert damage == "deleted" or "going on from checkpoint_previous.safetensors, step 1" in caplog.text


def test_settings_are_those_of_the_newest_sound_header(tmp_path):
    folder = CheckpointFolder(tmp_path)
    assert folder.begun() is None
    for step in (1, 2):
        begun = checkpoint(step)
        folder.save_latest(Checkpoint(begun.tensors, begun.metadata | {"settings": {"seed": step}}))
    assert folder.begun()["settings"] == {"seed": 2}
    folder.path("latest").write_bytes(b"no checkpoint")
    assert folder.begun()["settings"] == {"seed": 1}
    folder.path("previous").write_bytes(b"")
    assert folder.begun() is None
    folder.save("final", checkpoint(3))  # without settings
    assert folder.begun() is None


def test_without_a_sound_checkpoint_the_message_says_what_to_delete(tmp_path):
    folder = CheckpointFolder(tmp_path)
    assert folder.load_latest() is None
    folder.path("latest").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=r"delete checkpoint_latest\.safetensors"):
        folder.load_latest()


def test_a_full_disk_leaves_the_former_checkpoint_and_names_the_remedy(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path)
    folder.save_latest(checkpoint(1))

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("trainers.checkpoints.save_file", full)
    with pytest.raises(TrainingError, match="the disk is full"):
        folder.save_latest(checkpoint(2))
    assert read_checkpoint(folder.path("latest")).metadata["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_latest.safetensors"]


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / ".tmp-123-checkpoint_latest.safetensors").write_bytes(b"half")
    (tmp_path / ".tmpJaVWFb").write_bytes(b"what safetensors itself leaves when it is killed")
    CheckpointFolder(tmp_path).remove_leftovers()
    assert list(tmp_path.iterdir()) == []


def test_the_optimisers_state_survives_to_the_bit_channels_last_included():
    torch.manual_seed(0)

    def make():
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 2, 3)).to(memory_format=torch.channels_last)

    def step(model, optimiser, seed):
        torch.manual_seed(seed)
        model(torch.randn(1, 2, 9, 9)).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    config = TrainingConfig(learning_rate=1e-3)
    whole, resumed = make(), make()
    optimiser = make_optimiser(whole, config)
    step(whole, optimiser, 5)
    saved = {
        name: tensor.clone().contiguous()
        for name, tensor in optimiser_tensors(optimiser, names(whole)).items()
    }
    with torch.no_grad():
        for own, other in zip(resumed.parameters(), whole.parameters(), strict=True):
            own.copy_(other)
    second = make_optimiser(resumed, config)
    load_optimiser_tensors(second, names(resumed), Checkpoint(saved, {}))
    step(whole, optimiser, 6)
    step(resumed, second, 6)
    for own, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(own, other)


def names(model):
    return {parameter: name for name, parameter in model.named_parameters()}


def test_every_tensor_of_the_optimiser_comes_back_on_its_parameters_device():
    """On CUDA the fused kernel refuses a step count that stayed on the CPU; the meta device stands for CUDA
    here."""
    parameter = nn.Parameter(torch.zeros(2, 3, device="meta"))
    optimiser = torch.optim.AdamW([parameter])
    stored = {
        "optimizer/w/step": torch.tensor(7.0),
        "optimizer/w/exp_avg": torch.ones(2, 3),
        "optimizer/w/exp_avg_sq": torch.ones(2, 3),
    }
    load_optimiser_tensors(optimiser, {parameter: "w"}, Checkpoint(stored, {}))
    state = optimiser.state[parameter]
    assert {name: tensor.device.type for name, tensor in state.items()} == dict.fromkeys(state, "meta")
    assert set(state) == {"step", "exp_avg", "exp_avg_sq"}
