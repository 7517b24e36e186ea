"""What survives of a training run: tensors and state into checkpoints, and back into a model that goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from balrsam_pipeline.errors import CheckpointError, TrainingError
from balrsam_pipeline.network import Model
from balrsam_pipeline.serialise import from_json, to_json
from trainers.changed_settings import differences, with_defaults
from trainers.checkpoints import Checkpoint, CheckpointFolder, load_optimiser_tensors, optimiser_tensors
from trainers.config import TrainingConfig
from trainers.optimisation import Precision, WeightAverage
from trainers.pace import Budget
from trainers.trainer import TrainingState


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """The live objects of a run that a checkpoint holds.

    `weights` are the model's own tensors (not copies) that the plan trains; `identity` is metadata that never
    changes during the run.
    """

    model: Model
    weights: Mapping[str, Tensor]
    optimiser: torch.optim.Optimizer
    average: WeightAverage
    precision: Precision
    budget: Budget
    identity: Mapping[str, Any]

    def save(self, folder: CheckpointFolder, state: TrainingState, kind: str) -> None:
        """Write the checkpoint `kind`: "latest" with everything, "best" and "final" with the averaged weights
        alone."""
        metadata = dict(self.identity) | {
            "state": to_json(state),
            "step": state.step,
            "elapsed_s": self.budget.used_s(),
            "once_s": self.budget.once_s(),
            "scaler": self.precision.scaler.state_dict(),
        }
        average = {f"ema/{name}": tensor for name, tensor in self.average.average.items()}
        if kind != "latest":
            folder.save(kind, Checkpoint(average, metadata))
            return
        weights = {f"weights/{name}": tensor for name, tensor in self.weights.items()}
        optimiser = optimiser_tensors(self.optimiser, self._names())
        folder.save_latest(
            Checkpoint(average | weights | optimiser | _rng_tensors(self.precision.device), metadata)
        )

    def restore(self, checkpoint: Checkpoint) -> TrainingState:
        """Put everything back as it was when `checkpoint` was written."""
        copy_weights(checkpoint.part("weights"), self.weights)
        copy_weights(checkpoint.part("ema"), self.average.average)
        load_optimiser_tensors(self.optimiser, self._names(), checkpoint)
        if checkpoint.metadata["scaler"]:
            self.precision.scaler.load_state_dict(checkpoint.metadata["scaler"])
        rng = checkpoint.part("rng")
        torch.set_rng_state(rng["torch"])
        if "cuda" in rng and self.precision.device.type == "cuda":
            torch.cuda.set_rng_state(rng["cuda"], self.precision.device)
        return from_json(TrainingState, checkpoint.metadata["state"], "checkpoint", TrainingError)

    def _names(self) -> dict[Tensor, str]:
        return {parameter: name for name, parameter in self.model.named_parameters()}


def best_ahead(folder: CheckpointFolder, latest: Checkpoint | None) -> TrainingState | None:
    """Where training stood when its best weights were saved, if that was after the checkpoint that it goes on
    from: `latest`, None where it begins."""
    header = folder.header("best") if latest is not None else None
    if latest is None or header is None or "state" not in header:
        return None
    state = from_json(TrainingState, header["state"], "checkpoint", TrainingError)
    return state if state.step > latest.metadata["step"] else None


def save_kinds(
    run_state: RunState,
    folder: CheckpointFolder,
    ahead: TrainingState | None,
    state: TrainingState,
    kinds: tuple[str, ...],
) -> None:
    """Write the checkpoints of these kinds, in this order; but what was best `ahead` of the one that training
    went on from stays until something better comes. Smaller images are no match for whole ones."""
    for kind in kinds:
        better = ahead is None or (not state.coarse, state.best_dice) >= (not ahead.coarse, ahead.best_dice)
        if kind != "best" or better:
            run_state.save(folder, state, kind)


@contextmanager
def averaged_weights(run_state: RunState) -> Iterator[None]:
    """The model with its averaged weights inside, with its own afterwards, to the bit."""
    own = {name: tensor.clone() for name, tensor in run_state.weights.items()}
    copy_weights(run_state.average.average, run_state.weights)
    try:
        yield
    finally:
        copy_weights(own, run_state.weights)


def copy_weights(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    """Copy tensors into others of the same names and shapes.

    Raises:
        CheckpointError: names or shapes differ.
    """
    shapes = [{name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in (source, target)]
    if shapes[0] != shapes[1]:
        different = sorted(
            name for name in shapes[0].keys() | shapes[1].keys() if shapes[0].get(name) != shapes[1].get(name)
        )
        raise CheckpointError(
            "weights",
            found=f"other names or shapes: {', '.join(different[:5])}",
            expected="the weights of this plan's network",
            fix="go on with the plan and the version that the run was started with, or train into another "
            "--results",
        )
    with torch.no_grad():
        for name, tensor in target.items():
            tensor.copy_(source[name])


def refuse_changed_settings(
    checkpoint: Checkpoint, config: TrainingConfig, plan_sha256: str, accepted: bool
) -> list[str]:
    """Check that a run goes on with the settings it was started with; returns what changed, one line each.

    Raises:
        TrainingError: settings or the plan differ and that was not accepted; the message lists them.
    """
    changed = differences(with_defaults(checkpoint.metadata["settings"]), config)
    changed += differences({"plan": checkpoint.metadata["plan_sha256"]}, {"plan": plan_sha256})
    if changed and not accepted:
        raise TrainingError(
            "settings of this run",
            found="changed since it was started: " + "; ".join(changed),
            expected="the same settings, so that the result has one meaning",
            fix="use the former settings, or add --accept-changed-settings, or choose another --results",
        )
    return changed


def _rng_tensors(device: torch.device) -> dict[str, Tensor]:
    tensors = {"rng/torch": torch.get_rng_state()}
    if device.type == "cuda":
        tensors["rng/cuda"] = torch.cuda.get_rng_state(device)
    return tensors
