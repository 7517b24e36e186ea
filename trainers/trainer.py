"""The training loop, and nothing else: model, loss, optimiser, data, budget, checkpoints and loggers are
handed to it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.memory import is_want_of_memory
from trainers.config import TrainingConfig
from trainers.data import BatchLoader, CopyStream, DeviceBatch, DeviceBatches
from trainers.gradients import accumulate
from trainers.loggers import Logger
from trainers.losses import SegmentationLoss
from trainers.optimisation import Precision, WeightAverage, learning_rate, set_learning_rate
from trainers.pace import Budget, Pace
from trainers.parallel import Ranks
from trainers.stopping import StopRequest

LOG = logging.getLogger(__name__)
MOST_SKIPPED_IN_A_ROW = 10
# in float16 the scaler skips steps of its own while it looks for a scale, each halving it from 65,536: only
# below 1, after 17 in a row, is something else wrong than the scale
MOST_SKIPPED_BY_SCALER = 17
SAVES_APART = 20  # times what a checkpoint takes to write: 10 GB of a whole ViT-H would take half of a minute
FORWARD_SHARE = 0.35  # of a training step
COARSER = 2  # times smaller are images in the first `coarse_share` of the budget
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.monotonic, "cpu": time.process_time}


@dataclass
class TrainingState:
    """Where the loop stands; what a checkpoint keeps besides tensors.

    `epochs_since_best` counts quick validations, though not while images are seen smaller (`coarse`).
    `pieces` is how many parts a batch is worked through in, since memory ran out for all of it, and `again`
    whether the encoder's blocks are computed again in backward, since it ran out for a single sample.
    """

    step: int = 0
    best_dice: float = -1.0
    epochs_since_best: int = 0
    skipped_in_a_row: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    pieces: int = 1
    again: bool = False
    coarse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerParts:
    """All that the loop works with.

    Attributes:
        augment: changes intensities of a batch (image, seeds) on the device.
        stream: beside which the device computes, for the next batch; None on a CPU.
        forward: the model as it trains (wrapped for several ranks): image and its kept features, if any ->
            (logits, boundary logits or None, and those of coarser levels, if any).
        parameters: the trainable parameters, for the gradient clip.
        pace: measures how fast it goes, and says so.
        quick_dice: scores the averaged weights on a few patches, no longer than until what it is given says
            that it is enough; called on the first rank alone. None where no case is left to validate on.
        train_coarser: has the network see images this many times smaller from now on, where it can; whether
            it does.
        compute_again: has the network keep less for backward from now on; whether it can.
        save: writes checkpoints of the kinds named ("best", "latest"), in that order.
    """

    config: TrainingConfig
    augment: Callable[[Tensor, npt.NDArray[np.uint32]], Tensor]
    forward: nn.Module
    parameters: tuple[nn.Parameter, ...]
    loss: SegmentationLoss
    optimiser: torch.optim.Optimizer
    average: WeightAverage
    precision: Precision
    loader: BatchLoader
    stream: CopyStream | None
    budget: Budget
    ranks: Ranks
    logger: Logger
    stop: StopRequest
    pace: Pace
    quick_dice: Callable[[Callable[[], bool]], float] | None
    train_coarser: Callable[[int], bool]
    compute_again: Callable[[], bool]
    save: Callable[[TrainingState, tuple[str, ...]], None]


class Trainer:
    """Runs optimiser steps until the budget is used or a signal asks to stop."""

    def __init__(self, parts: TrainerParts, state: TrainingState) -> None:
        self._parts, self.state = parts, state
        self._saved_at, self._saving_s = time.monotonic(), 0.0
        self._epochs_ended = 0

    def run(self) -> bool:
        """Train; returns True when the budget is used, False when asked to stop. Either way the latest
        checkpoint is saved.

        Raises:
            TrainingError: the loss stays non-finite, memory runs out, or data cannot be read.
        """
        parts, state = self._parts, self.state
        parts.forward.train()
        if state.again:
            parts.compute_again()
        batches = DeviceBatches(
            parts.loader.batches(state.step), parts.precision.device, parts.augment, parts.stream
        )
        stopped, progress = parts.ranks.agree(bool(parts.stop), self._progress())
        while progress < 1.0 and not stopped:
            batch, began = batches.take(), (time.monotonic(), parts.budget.repeated_s())
            self.step(batch, progress, batches.fetch)
            if not self._epochs_ended:
                parts.budget.reserve(self._validation_s(parts.budget.repeated_s() - began[1]))
            if parts.ranks.first:
                mean_loss = state.loss_sum / max(1, state.loss_steps)
                parts.pace.stepped(state.step, mean_loss, time.monotonic() - began[0])
            if state.step % parts.config.steps_per_epoch == 0:
                self._end_epoch(progress)
            stopped, progress = parts.ranks.agree(bool(parts.stop), self._progress())
        if not stopped and state.step % parts.config.steps_per_epoch != 0:
            self._end_epoch(progress)
        parts.save(state, ("latest",))
        return not stopped

    def _progress(self) -> float:
        """The share of the budget that is used; all of it where patience is at its end."""
        patience, state = self._parts.config.patience, self.state
        if patience is None or state.epochs_since_best < patience:
            return self._parts.budget.progress(state.step)
        LOG.info("no better quick validation in %d epochs: training ends at step %d", patience, state.step)
        return 1.0

    def _validation_s(self, step_s: float) -> float:
        """Seconds that a quick validation takes, judged by a step: it has no backward pass."""
        config = self._parts.config
        if self._parts.quick_dice is None:
            return 0.0
        batches = math.ceil(config.quick_validation_patches / (config.batch_size or 1))
        return batches * step_s * FORWARD_SHARE

    def step(self, batch: DeviceBatch, progress: float, fetch: Callable[[], None]) -> None:
        """One optimiser step at a share of the budget; `fetch` begins to bring the next batch.

        Raises:
            TrainingError: losses have not been finite for many steps.
        """
        parts, state = self._parts, self.state
        set_learning_rate(parts.optimiser, learning_rate(progress, parts.config))
        coarse = parts.train_coarser(COARSER if progress < parts.config.coarse_share else 1)
        if state.coarse and not coarse:  # quick validation saw smaller images, too: it begins anew,
            state.best_dice = -1.0
            self._epochs_ended = 0  # and how long it takes is judged by steps again
        state.coarse = coarse
        loss, norm = self._backward(batch, fetch)
        finite = math.isfinite(loss) and math.isfinite(norm)
        if finite:
            parts.precision.scaler.step(parts.optimiser)
            state.skipped_in_a_row = 0
            state.loss_sum += loss
            state.loss_steps += 1
        parts.precision.scaler.update()
        parts.optimiser.zero_grad(set_to_none=True)
        state.step += 1
        if finite:
            parts.average.update(state.step)
        else:
            self._note_skipped(loss)

    def _backward(self, batch: DeviceBatch, fetch: Callable[[], None]) -> tuple[float, float]:
        """Forward and backward; returns the loss and the norm of the gradient (before it is clipped).

        On a GPU all of it is only begun here; then the next batch is fetched, and the two figures, read last,
        are what the step waits for.
        """
        parts = self._parts
        loss = self._accumulate(batch.inputs, batch.label_bhw)
        parts.precision.scaler.unscale_(parts.optimiser)
        norm = nn.utils.clip_grad_norm_(parts.parameters, parts.config.gradient_clip or math.inf)
        figures = torch.stack([loss, norm.detach()])
        fetch()
        loss_value, norm_value = figures.tolist()  # the one wait for the device
        return loss_value, norm_value

    def _accumulate(self, inputs: tuple[Tensor, ...], label_bhw: Tensor) -> Tensor:
        """Gradients of the batch; whenever memory runs out, in a way that takes less of it."""
        parts, state = self._parts, self.state
        while True:
            try:
                return accumulate(parts.forward, parts.loss, parts.precision, inputs, label_bhw, state.pieces)
            except (MemoryError, RuntimeError) as problem:
                if not is_want_of_memory(problem) or not self._take_less(len(label_bhw)):
                    raise
            parts.optimiser.zero_grad(set_to_none=True)
            if parts.precision.device.type == "cuda":
                torch.cuda.empty_cache()

    def _take_less(self, samples: int) -> bool:
        """Go on in twice as many pieces, down to single samples, and then with blocks computed again; whether
        there was anything left to do."""
        parts, state = self._parts, self.state
        if parts.ranks.world_size > 1:  # they would have to do so together
            return False
        if state.pieces < samples:
            state.pieces = min(2 * state.pieces, samples)
        elif state.again or not parts.compute_again():
            return False
        else:
            state.again = True
        LOG.warning(
            "memory ran out: batches of %d are worked through in %d pieces from step %d on%s (same "
            "gradients, slower)",
            samples,
            state.pieces,
            state.step,
            ", with all blocks computed again in backward" if state.again else "",
        )
        parts.logger.log(
            {"event": "divided", "step": state.step, "pieces": state.pieces, "again": state.again}
        )
        return True

    def _note_skipped(self, loss: float) -> None:
        state = self.state
        state.skipped_in_a_row += 1
        shown = self._parts.loader.describe(state.step - 1)
        self._parts.logger.log({"event": "skipped", "step": state.step, "loss": str(loss), "batch": shown})
        scaled = self._parts.precision.scaler.is_enabled()
        if state.skipped_in_a_row >= (MOST_SKIPPED_BY_SCALER if scaled else MOST_SKIPPED_IN_A_ROW):
            raise TrainingError(
                f"training step {state.step}",
                found=f"a non-finite loss or gradient {state.skipped_in_a_row} times in a row, last on "
                f"{shown}",
                expected="finite losses",
                fix="check those cases (balrsam verify DATASET), or train with a lower --learning-rate; "
                "the same command goes on from the last good checkpoint",
            )

    def _end_epoch(self, progress: float) -> None:
        parts, state, began_s = self._parts, self.state, self._parts.budget.repeated_s()
        self._epochs_ended += 1
        if parts.ranks.first:
            dice, whole = self._quick_dice()
            record: dict[str, float | int | str] = {
                "event": "epoch",
                "epoch": math.ceil(state.step / parts.config.steps_per_epoch),
                "step": state.step,
                "progress": progress,
                "elapsed_s": round(parts.budget.used_s(), 2),
                "left_s": round(parts.pace.left_s(state.step) or 0.0, 1),
                "validation_s": round(parts.pace.validation_s() or 0.0, 1),
                "loss": state.loss_sum / max(1, state.loss_steps),
                "learning_rate": learning_rate(progress, parts.config),
                **({"quick_dice": dice} if dice is not None else {}),
                **({} if whole else {"quick_dice_cut_short": 1}),
                "samples_per_s": round(parts.pace.samples_per_s, 2),
            }
            state.loss_sum, state.loss_steps = 0.0, 0
            parts.logger.log(record)
            self._save_if_due(dice, whole)
            parts.pace.validated(dice, coarse=state.coarse)
        state.loss_sum, state.loss_steps = 0.0, 0
        parts.budget.reserve(parts.budget.repeated_s() - began_s)

    def _quick_dice(self) -> tuple[float | None, bool]:
        """The Dice of the quick validation, and whether it saw all of its patches before time was up."""
        parts, cut_short = self._parts, False

        def enough() -> bool:
            nonlocal cut_short
            cut_short = parts.budget.is_used_up()
            return cut_short

        return (None if parts.quick_dice is None else parts.quick_dice(enough)), not cut_short

    def _save_if_due(self, dice: float | None, whole: bool) -> None:
        """Save what is due; the Dice of a part of the patches beats none of all of them."""
        better = dice is not None and dice > self.state.best_dice and (whole or self.state.best_dice < 0)
        began, every_s = time.monotonic(), self._parts.config.save_every_s
        due = not every_s or began - self._saved_at >= max(every_s, SAVES_APART * self._saving_s)
        if dice is not None:
            waiting = not better and not self.state.coarse
            self.state.epochs_since_best = self.state.epochs_since_best + 1 if waiting else 0
            if whole:
                self.state.best_dice = max(self.state.best_dice, dice)
        if due:
            self._parts.save(self.state, ("best", "latest") if better else ("latest",))  # which knows of it
            self._saved_at = time.monotonic()
            self._saving_s = self._saved_at - began
        elif better:
            self._parts.save(self.state, ("best",))
