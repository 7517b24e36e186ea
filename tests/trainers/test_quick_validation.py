"""Dice of a few patches after every epoch: its value, and the memory that it takes beside the network's."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from balrsam_pipeline.dataset import LabelScheme
from balrsam_pipeline.network.live_bytes import LiveBytes
from trainers.optimisation import Precision
from trainers.validation import QuickValidation

CLASSES, PATCHES, SIDE, CASES = 20, 8, 16, 3
LABELS = LabelScheme(
    names=tuple(f"label {value}" for value in range(1, CLASSES)),
    values=tuple((value,) for value in range(1, CLASSES)),
    has_regions=False,
    region_order=(),
    ignore_value=None,
    largest=CLASSES - 1,
)
RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, CLASSES, (PATCHES, SIDE, SIDE)).astype(np.int16)
TRUTH[::CASES][TRUTH[::CASES] == 1] = 2  # the first case does not show the first label
SAID = np.where(RNG.random(TRUTH.shape) < 0.7, TRUTH, 0)


class Says(nn.Module):
    """Logits of what it says; the image holds the patch's number."""

    def forward(self, image_bchw: Tensor, _: Any) -> Tensor:
        said = torch.from_numpy(SAID[image_bchw[:, 0, 0, 0].int().numpy()])
        return nn.functional.one_hot(said.long(), CLASSES).movedim(-1, 1).float()


def validation(batch_size: int) -> QuickValidation:
    def read(sample: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        return np.full((1, SIDE, SIDE), sample.number, np.float32), TRUTH[sample.number]

    precision = Precision(torch.device("cpu"), torch.float32, torch.amp.GradScaler("cpu", enabled=False))
    samples = [SimpleNamespace(number=number, case=f"case {number % CASES}") for number in range(PATCHES)]
    return QuickValidation(SimpleNamespace(read=read), samples, LABELS, precision, batch_size)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_size", [1, 3, PATCHES])
def test_it_is_the_mean_over_labels_of_the_mean_over_cases_that_show_them(batch_size: int) -> None:
    dice = []
    for label in range(1, CLASSES):
        of_cases = []
        for case in range(CASES):
            said, truth = SAID[case::CASES] == label, TRUTH[case::CASES] == label
            if truth.any():
                of_cases.append(2 * (said & truth).sum() / (said.sum() + truth.sum()))
        dice.append(np.mean(of_cases))
    assert validation(batch_size).dice(Says()) == pytest.approx(np.mean(dice))


def test_it_is_asked_whether_that_is_enough_only_where_patches_are_left() -> None:
    asked: list[bool] = []
    validation(PATCHES // 2).dice(Says(), lambda: bool(asked.append(True)))  # type: ignore[func-returns-value]
    assert asked == [True], "between the two batches"


def test_without_patches_or_foreground_it_is_zero() -> None:
    whole = validation(1)
    assert replace(whole, samples=()).dice(Says()) == 0.0
    nothing = SimpleNamespace(read=lambda sample: (whole.reader.read(sample)[0], np.zeros((SIDE, SIDE), int)))
    assert replace(whole, reader=nothing).dice(Says()) == 0.0  # type: ignore[arg-type]


def test_maps_of_all_classes_are_held_for_one_patch_at_a_time() -> None:
    """With 118 classes in volumes they would take more of a GPU than the training step that it was planned
    for."""
    logits = 4 * PATCHES * CLASSES * SIDE**2
    with LiveBytes() as live:
        validation(PATCHES).dice(Says())
    made_by_the_network = 4 * logits  # here one-hot in int64, and floats of it
    assert live.peak < made_by_the_network + 8 * logits / PATCHES
