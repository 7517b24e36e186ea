"""A training run in small: the network of a subject with random weights, its trainer, and what a checkpoint
of it holds. Nothing is fetched and nothing is written unless asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from balrsam_pipeline.network import laid_out, random_model, starts_as_sam, trainable_state
from balrsam_pipeline.network.builder import freeze
from balrsam_pipeline.progress import Phase
from trainers.augmentation import augment_intensity_batch
from trainers.check_machine.subject import Subject
from trainers.data import BatchLoader, DeviceBatches, copy_stream
from trainers.loggers import Loggers
from trainers.losses import SegmentationLoss
from trainers.optimisation import WeightAverage, choose_precision, make_optimiser
from trainers.pace import Budget, Pace
from trainers.parallel import Ranks
from trainers.resume import RunState
from trainers.setup import TrainingForward
from trainers.stopping import StopRequest
from trainers.trainer import CLOCKS, Trainer, TrainerParts, TrainingState

SEED = 0
PROGRESS = 0.5  # of the budget: where the learning rate is neither warming up nor gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A trainer that steps when it is told to, with its batches and its state."""

    trainer: Trainer
    run_state: RunState
    batches: DeviceBatches

    @property
    def state(self) -> TrainingState:
        """Where training stands."""
        return self.trainer.state

    def step(self) -> None:
        """One optimiser step on the next batch."""
        self.trainer.step(self.batches.take(), PROGRESS, self.batches.fetch)


def set_up(subject: Subject, device: torch.device, loader: BatchLoader, going: Phase) -> Bench:
    """A fresh bench; its batches begin with the first step's."""
    config = subject.config
    torch.manual_seed(SEED)
    model = random_model(subject.configuration.network)
    if not subject.configuration.network.from_scratch:
        freeze(model)
    model = laid_out(model, subject.configuration.network, device)
    weights, precision = trainable_state(model), choose_precision(device, config.amp)
    channels = len(subject.configuration.normalization)
    run_state = RunState(
        model=model,
        weights=weights,
        optimiser=make_optimiser(model, config, partial(starts_as_sam, model.network)),
        average=WeightAverage(weights, config.ema_width),
        precision=precision,
        budget=Budget(config, CLOCKS[config.budget_clock]),
        identity={"settings": {}, "plan_sha256": ""},
    )
    forward = TrainingForward(model)
    parts = TrainerParts(
        config=config,
        augment=lambda image_bchw, seeds: (
            augment_intensity_batch(image_bchw, channels, seeds, config.augmentation)
            if config.augmentation.on_device
            else image_bchw
        ),
        forward=forward,
        parameters=tuple(parameter for parameter in model.parameters() if parameter.requires_grad),
        loss=SegmentationLoss(subject.labels, config.loss),
        optimiser=run_state.optimiser,
        average=run_state.average,
        precision=precision,
        loader=loader,
        stream=copy_stream(device),
        train_coarser=lambda _: False,
        compute_again=forward.compute_again,
        budget=run_state.budget,
        ranks=Ranks(device=device),
        logger=Loggers(()),
        stop=StopRequest(),
        pace=Pace(config, run_state.budget, going),
        quick_dice=lambda _: 0.0,
        save=lambda _, __: None,
    )
    batches = DeviceBatches(loader.batches(0), device, parts.augment, parts.stream)
    model.train()
    return Bench(trainer=Trainer(parts, TrainingState()), run_state=run_state, batches=batches)
