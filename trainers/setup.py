"""Puts together all that the loop works with, fresh or restored from the latest checkpoint."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from balrsam_pipeline import __version__
from balrsam_pipeline.dataset import LabelScheme
from balrsam_pipeline.errors import CheckpointError, TrainingError
from balrsam_pipeline.extensions import load_extension, loaded_once
from balrsam_pipeline.network import (
    BalrSam,
    Features,
    Model,
    build,
    checkpoint_sha256,
    laid_out,
    obtain,
    start_on_images,
    starts_as_sam,
    trainable_state,
)
from balrsam_pipeline.paths import launcher_environment, threads_are_given
from balrsam_pipeline.plan import NetworkPlan
from balrsam_pipeline.processor import OtherWork, usable_cores
from balrsam_pipeline.progress import Phase, phase
from balrsam_pipeline.serialise import to_json
from trainers.augmentation import augment_intensity_batch
from trainers.augmentation_config import AugmentationConfig
from trainers.checkpoints import Checkpoint, CheckpointFolder
from trainers.config import TrainingConfig
from trainers.data import (
    BatchLoader,
    FoldData,
    KeptFeatures,
    PatchReader,
    copy_stream,
    fixed_samples,
    keep_features,
    open_loader,
    workers_beside_gpu,
)
from trainers.initial_weights import freeze_decoder, start_from
from trainers.loggers import Loggers, open_loggers
from trainers.losses import SegmentationLoss
from trainers.optimisation import Precision, WeightAverage, choose_precision, make_optimiser
from trainers.pace import Budget, Pace, ThreadChoice
from trainers.parallel import Ranks, sum_over_ranks
from trainers.request import TrainRequest
from trainers.resume import RunState, averaged_weights, best_ahead, refuse_changed_settings, save_kinds
from trainers.stopping import StopRequest
from trainers.trainer import CLOCKS, Trainer, TrainerParts, TrainingState
from trainers.validation import QuickValidation, expected_validation_s

MEASURED_PATCHES = 8  # on which low-rank decoder attention is truncated; more change the start no further


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A training run ready to go."""

    trainer: TrainsFold
    state: TrainingState
    run_state: RunState
    checkpoints: CheckpointFolder
    precision: Precision
    pace: Pace


class TrainsFold(Protocol):
    """What `trainers.trainer.Trainer` offers, and a trainer of a user's own in its place."""

    def run(self) -> bool:
        """Train until the budget is used (True) or a signal asks to stop (False)."""


def _trainer(config: TrainingConfig) -> Callable[[TrainerParts, TrainingState], TrainsFold]:
    name = config.trainer_extension
    return load_extension(name, "trainer", TrainingError) if name else Trainer


class TrainingForward(nn.Module):
    """The model's training pass as `forward`, which is what gradients are averaged around."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, image_bchw: Tensor, *features: Tensor) -> tuple[Tensor | None, ...]:
        output = self.model.forward_training(image_bchw, Features(*features) if features else None)
        return output.logits, output.boundary_logits, *output.coarser_logits

    def train_coarser(self, times: int) -> bool:
        """From now on train on images this many times smaller, where the model can; whether it does."""
        return self.model.train_coarser(times)

    def compute_again(self) -> bool:
        """From now on keep less for backward; whether the model can."""
        return self.model.compute_again()


@contextmanager
def assemble(
    request: TrainRequest, data: FoldData, config: TrainingConfig, ranks: Ranks, stop: StopRequest
) -> Iterator[Run]:
    """Build or restore a run; loader processes and loggers are closed at the end. While it lasts, it is
    spoken of.

    Raises:
        TrainingError: settings changed since the run was started.
        CheckpointError: no sound checkpoint, or none of SAM to adapt.
    """
    checkpoints = CheckpointFolder(data.folder)
    checkpoint = checkpoints.load_latest()
    if checkpoint is not None:
        refuse_changed_settings(checkpoint, config, data.plan.sha256(), request.accept_changed_settings)
    precision = choose_precision(ranks.device, config.amp)
    run_state = _run_state(request, data, config, precision, checkpoint)
    state = run_state.restore(checkpoint) if checkpoint is not None else TrainingState()
    ahead = best_ahead(checkpoints, checkpoint)
    augmentation, features, loader = _batches(request, data, config, ranks, run_state)
    logger = open_loggers(data.folder, state.step, request.loggers) if ranks.first else Loggers(())
    model, forward = run_state.model, TrainingForward(run_state.model)
    quick = _quick_validation(data, config, precision, features, ranks.world_size)
    name = f"{data.configuration.name}, fold {request.fold}"
    spoken = phase(name) if ranks.first else nullcontext(Phase(name))
    with spoken as going, closing(loader), closing(logger):
        pace = _pace(request, data, config, ranks, run_state, going, quick)
        parts = TrainerParts(
            config=config,
            augment=_augmentation_on_device(data, augmentation),
            forward=ranks.wrap(forward),
            parameters=tuple(parameter for parameter in model.parameters() if parameter.requires_grad),
            loss=SegmentationLoss(data.labels, config.loss, sum_over_ranks if ranks.world_size > 1 else None),
            optimiser=run_state.optimiser,
            average=run_state.average,
            precision=precision,
            loader=loader,
            stream=copy_stream(ranks.device),
            budget=run_state.budget,
            ranks=ranks,
            logger=logger,
            stop=stop,
            pace=pace,
            quick_dice=partial(_averaged_dice, quick, run_state) if data.fold.val else None,
            train_coarser=forward.train_coarser,
            compute_again=forward.compute_again,
            save=partial(save_kinds, run_state, checkpoints, ahead)
            if ranks.first
            else lambda state, kinds: None,
        )
        yield Run(
            trainer=_trainer(config)(parts, state),
            state=state,
            run_state=run_state,
            checkpoints=checkpoints,
            precision=precision,
            pace=pace,
        )


def _pace(
    request: TrainRequest,
    data: FoldData,
    config: TrainingConfig,
    ranks: Ranks,
    run_state: RunState,
    going: Phase,
    quick: QuickValidation,
) -> Pace:
    return Pace(
        config,
        run_state.budget,
        going,
        threads=_thread_choice(request, ranks),
        filling=quick.features.filling if quick.features is not None else None,
        afterwards=partial(expected_validation_s, data) if data.fold.val else None,
        patches=len(quick.samples),
    )


def _batches(
    request: TrainRequest, data: FoldData, config: TrainingConfig, ranks: Ranks, run_state: RunState
) -> tuple[AugmentationConfig, KeptFeatures | None, BatchLoader]:
    """How samples are augmented on this device, what is kept of a frozen encoder, and what makes batches."""
    for name in config.augmentation.extensions:  # here, where a wrong name is told before anything is done
        loaded_once(name, "augmentation", TrainingError)
    workers = default_loader_workers(ranks.device) if request.workers is None else request.workers
    augmentation = config.augmentation.on(ranks.device.type, volumes=data.configuration.network.depth > 0)
    in_loader = dataclasses.replace(config, augmentation=augmentation)
    base_sha256 = run_state.identity["base_sha256"]
    features = keep_features(data, config, run_state.model, base_sha256, (ranks.device.type, workers))
    if features is not None:
        filling = features.filling
        filling.clock = CLOCKS[config.budget_clock]
        run_state.budget.leave_out(lambda: filling.counted_s)
    rank, alive = (ranks.rank, ranks.world_size), request.continue_on_worker_loss
    return augmentation, features, open_loader(data, in_loader, rank, workers, alive, features)


def _thread_choice(request: TrainRequest, ranks: Ranks) -> ThreadChoice | None:
    """What decides how many threads compute; None where that is given, or of no matter."""
    if request.threads is not None:
        return None  # they are set
    if ranks.device.type != "cpu" or ranks.world_size > 1 or threads_are_given():
        return None
    return ThreadChoice(
        min(torch.get_num_threads(), usable_cores()), torch.set_num_threads, OtherWork().cores
    )


def _averaged_dice(quick: QuickValidation, run_state: RunState, enough: Callable[[], bool]) -> float:
    with averaged_weights(run_state):
        return quick.dice(run_state.model, enough)


def _run_state(
    request: TrainRequest,
    data: FoldData,
    config: TrainingConfig,
    precision: Precision,
    checkpoint: Checkpoint | None,
) -> RunState:
    network = data.configuration.network
    base = _base_checkpoint(request, network)
    torch.manual_seed(config.seed)
    model = laid_out(build(network, base), network, precision.device)
    low_rank = network.decoder == "sam" and network.decoder_attention == "low_rank"
    if low_rank and base is not None and isinstance(model, BalrSam) and checkpoint is None:
        start_on_images(model, base, _training_images(data, precision.device))
    if config.freeze == "nothing":
        model.requires_grad_(True)
    weights = trainable_state(model)
    if request.init_from is not None and checkpoint is None:
        start_from(request.init_from, weights, class_names(data.labels), network)
    if config.freeze == "decoder":
        freeze_decoder(model)
    identity = {
        "dataset": data.plan.dataset,
        "configuration": data.configuration.name,
        "fold": request.fold,
        "classes": list(class_names(data.labels)),
        "mirror_axes": list(data.configuration.mirror_axes),
        "plan_sha256": data.plan.sha256(),
        "cases_sha256": data.fold.sha256(),
        "base_sha256": checkpoint_sha256(base) if base is not None else "",
        "base_path": str(base.resolve()) if base is not None else "",
        "settings": to_json(config),
        "balrsam_pipeline": __version__,
    }
    if checkpoint is not None and checkpoint.metadata["base_sha256"] != identity["base_sha256"]:
        raise CheckpointError(
            base or "SAM checkpoint",
            found=f"sha256 {identity['base_sha256']}",
            expected=f"the SAM checkpoint that this run adapts, sha256 {checkpoint.metadata['base_sha256']}",
            fix="name that file with --checkpoint",
        )
    before = checkpoint.metadata if checkpoint is not None else {}
    used_s, once_s = (float(before.get(name, 0.0)) for name in ("elapsed_s", "once_s"))
    return RunState(
        model=model,
        weights=weights,
        optimiser=make_optimiser(model, config, partial(starts_as_sam, network)),
        average=WeightAverage(weights, config.ema_width),
        precision=precision,
        budget=Budget(config, CLOCKS[config.budget_clock], used_s, once_s),
        identity=identity,
    )


def _training_images(data: FoldData, device: torch.device) -> Iterator[Tensor]:
    """A few unaugmented patches of training cases, (1, c, y, x)."""
    cases = data.sampling_cases(data.fold.train)
    reader = PatchReader(data.store, data.configuration, AugmentationConfig(enabled=False))
    for sample in fixed_samples(cases, data.store.foreground, data.configuration, MEASURED_PATCHES):
        yield torch.from_numpy(reader.read(sample)[0])[None].to(device)


def class_names(labels: LabelScheme) -> tuple[str, ...]:
    """The name of every logit channel: regions, or background and the labels by value."""
    if labels.has_regions:
        return labels.names
    by_value = {values[0]: name for name, values in zip(labels.names, labels.values, strict=True)}
    return tuple(
        "background" if value == 0 else by_value.get(value, f"label {value}")
        for value in range(labels.classes)
    )


def _base_checkpoint(request: TrainRequest, network: NetworkPlan) -> Path | None:
    if network.from_scratch:
        return None
    return request.base or obtain(network.base)


def default_loader_workers(device: torch.device) -> int:
    """Beside a GPU the cores make batches, shared among this machine's ranks; on the CPU the network needs
    them, and patches cost it little."""
    if device.type != "cuda":
        return 0
    return workers_beside_gpu(usable_cores(), launcher_environment()["local_world_size"])


def _augmentation_on_device(
    data: FoldData, config: AugmentationConfig
) -> Callable[[Tensor, npt.NDArray[np.uint32]], Tensor]:
    """What changes a batch on the device: intensities where that was asked for, nothing where the loader has
    done it."""
    if not config.on_device:
        return lambda image_bchw, _: image_bchw
    channels = len(data.configuration.normalization)
    return lambda image_bchw, seeds: augment_intensity_batch(image_bchw, channels, seeds, config)


def _quick_validation(
    data: FoldData,
    config: TrainingConfig,
    precision: Precision,
    features: KeptFeatures | None,
    world_size: int,
) -> QuickValidation:
    cases = data.sampling_cases(data.fold.val)
    reader = PatchReader(data.source(cases, 1), data.configuration, AugmentationConfig(enabled=False))
    samples = fixed_samples(
        cases,
        data.store.foreground,
        data.configuration,
        config.quick_validation_patches,
        data.store.annotated,
    )
    batch_size = math.ceil((config.batch_size or 1) / world_size)  # a rank's share: what its device holds
    return QuickValidation(reader, samples, data.labels, precision, batch_size, features)
