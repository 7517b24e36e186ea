"""What is drawn for stacks of slices, and how an adapted network over them predicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from balrsam_pipeline.dataset import open_dataset
from balrsam_pipeline.inference import Predictor, PredictorOptions
from balrsam_pipeline.inference.tiling import tile_starts
from balrsam_pipeline.network import build
from balrsam_pipeline.plan import Configuration, read_plan
from trainers import TrainRequest
from trainers.augmentation import draw_volume_geometry
from trainers.augmentation_config import AugmentationConfig
from trainers.config import TrainingConfig

Adapt = Callable[..., TrainRequest]
STACK = 4


def configuration_of(request: TrainRequest) -> Configuration:
    plan = read_plan(request.roots.preprocessed / request.dataset.name / "plan.json")
    return plan.configurations["3d"]


def test_stacks_are_predicted_as_by_hand(adapt: Adapt) -> None:
    request = adapt()
    planned = read_plan(request.roots.preprocessed / request.dataset.name / "plan.json")
    configuration = dataclasses.replace(planned.configurations["3d"], mirror_axes=(0,))
    model = build(configuration.network, request.base).train(False)
    with torch.no_grad():  # as training would: what starts at zero has other weights
        for parameter in model.parameters():
            if parameter.requires_grad and not bool(parameter.any()):
                parameter.normal_(std=0.1)
    labels, options = (
        open_dataset(request.dataset).description.labels,
        PredictorOptions(device="cpu", amp=False),
    )
    predictor = Predictor([model], planned, configuration, labels, options)
    rng = np.random.default_rng(0)
    for depth in (STACK, 9):
        image = torch.from_numpy(rng.normal(size=(2, depth, 32, 32)).astype(np.float32))
        found = predictor.predict_preprocessed(image.numpy())
        torch.testing.assert_close(torch.from_numpy(found), by_hand(model, image), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def by_hand(model: Callable[[Tensor], Tensor], image_czyx: Tensor) -> Tensor:
    """Overlapping stacks, each also mirrored along the slices, with Gaussian weights along them."""
    depth = image_czyx.shape[1]
    weights = torch.exp(-0.5 * ((torch.arange(STACK) - 1.5) / (STACK / 8)) ** 2)[:, None, None]
    total, weight = torch.zeros(3, depth, 32, 32), torch.zeros(depth, 1, 1)
    for start in tile_starts(depth, STACK, 0.5):
        stack = image_czyx[None, :, start : start + STACK]
        logits = (model(stack) + model(stack.flip(2)).flip(2))[0] / 2
        total[:, start : start + STACK] += logits * weights
        weight[start : start + STACK] += weights
    return total / weight


def test_a_stack_is_turned_and_scaled_within_slices_and_all_of_it_alike() -> None:
    rng, config = (
        np.random.default_rng(0),
        AugmentationConfig(rotation_probability=1.0, scaling_probability=1.0),
    )
    for _ in range(20):
        geometry = draw_volume_geometry(rng, config, (1.0, 1.0, 1.0), (0, 1, 2), stack=True)
        matrix = geometry.matrix_zyx
        np.testing.assert_array_equal(matrix[0], (1, 0, 0))
        np.testing.assert_array_equal(matrix[:, 0], (1, 0, 0))
        assert geometry.angles[0] != 0.0 and geometry.scales[1] != 1.0


def test_settings_count_slices_and_take_the_rate_of_adapted_networks(adapt: Adapt) -> None:
    configuration = configuration_of(adapt())
    alone = dataclasses.replace(configuration, network=dataclasses.replace(configuration.network, stack=0))
    stacked, slices = (TrainingConfig().completed(each) for each in (configuration, alone))
    assert stacked.learning_rate == slices.learning_rate
    assert stacked.quick_validation_patches == slices.quick_validation_patches // 4
    assert stacked.epochs is not None and slices.epochs is not None and stacked.epochs <= slices.epochs
