"""The best weights of a run that goes on from before them; that it ends where an undisturbed one does is in
`test_fold.py`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from balrsam_pipeline.serialise import to_json
from trainers.checkpoints import Checkpoint, CheckpointFolder, write_checkpoint
from trainers.resume import best_ahead, save_kinds
from trainers.trainer import TrainingState

LATEST = TrainingState(step=10, best_dice=0.4)


def checkpoint(state: TrainingState) -> Checkpoint:
    return Checkpoint({"ema/a": torch.zeros(2)}, {"state": to_json(state), "step": state.step})


def interrupted(folder: Path, latest: TrainingState, best: TrainingState) -> CheckpointFolder:
    checkpoints = CheckpointFolder(folder)
    checkpoints.save_latest(checkpoint(latest))
    checkpoints.save("best", checkpoint(best))
    return checkpoints


def written(checkpoints: CheckpointFolder, state: TrainingState, latest: TrainingState = LATEST) -> list[str]:
    """The checkpoints that are written where, gone on from the latest, this state is the best."""
    saved: list[str] = []
    run_state = SimpleNamespace(save=lambda folder, state, kind: saved.append(kind))
    ahead = best_ahead(checkpoints, checkpoint(latest))
    save_kinds(run_state, checkpoints, ahead, state, ("best", "latest"))  # type: ignore[arg-type]
    return saved


@pytest.mark.parametrize(("dice", "kept"), [(0.5, True), (0.6, False), (0.7, False), (-1.0, True)])
def test_the_best_that_was_saved_after_the_latest_stays_until_a_better_one_comes(
    tmp_path: Path, dice: float, kept: bool
) -> None:
    """It had 0.6; the latest, from which training goes on, knows of 0.4 alone."""
    checkpoints = interrupted(tmp_path, LATEST, TrainingState(step=20, best_dice=0.6))
    state = TrainingState(step=15, best_dice=dice)
    assert written(checkpoints, state) == (["latest"] if kept else ["best", "latest"])


def test_a_best_that_the_latest_knows_of_is_compared_by_what_it_knows(tmp_path: Path) -> None:
    """Since then settings may have changed, of which the loop takes account, and this does not."""
    checkpoints = interrupted(tmp_path, LATEST, TrainingState(step=10, best_dice=0.9))
    assert written(checkpoints, TrainingState(step=15, best_dice=0.5)) == ["best", "latest"]


@pytest.mark.parametrize(("before", "now", "kept"), [(True, False, False), (False, True, True)])
def test_the_dice_of_smaller_images_beats_none_of_whole_ones(
    tmp_path: Path, before: bool, now: bool, kept: bool
) -> None:
    latest = TrainingState(step=10, best_dice=0.4, coarse=True)
    dice = 0.9 if before else 0.5
    checkpoints = interrupted(tmp_path, latest, TrainingState(step=20, best_dice=dice, coarse=before))
    state = TrainingState(step=15, best_dice=0.5 if before else 0.9, coarse=now)
    assert written(checkpoints, state, latest) == (["latest"] if kept else ["best", "latest"])


@pytest.mark.parametrize("content", [None, b"", b"damaged"])
def test_no_best_that_can_be_read_is_none(tmp_path: Path, content: bytes | None) -> None:
    checkpoints = CheckpointFolder(tmp_path)
    if content is not None:
        checkpoints.path("best").write_bytes(content)
    assert best_ahead(checkpoints, checkpoint(LATEST)) is None
    write_checkpoint(checkpoints.path("best"), Checkpoint({"ema/a": torch.zeros(2)}, {"step": 20}))
    assert best_ahead(checkpoints, checkpoint(LATEST)) is None


def test_a_training_that_begins_has_none_ahead(tmp_path: Path) -> None:
    """Weights of another training may lie there."""
    checkpoints = CheckpointFolder(tmp_path)
    checkpoints.save("best", checkpoint(TrainingState(step=20, best_dice=0.9)))
    assert best_ahead(checkpoints, None) is None
