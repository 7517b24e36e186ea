"""What a training run is told: losses, augmentation, schedule and budget, as frozen dataclasses <-> JSON."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.options import option
from balrsam_pipeline.plan import Configuration
from balrsam_pipeline.serialise import from_json
from trainers.augmentation_config import AugmentationConfig, require, require_extension

Clock = Literal["wall", "cpu"]
Freeze = Literal["nothing", "encoder", "decoder"]
FEW_VOLUMES = 40  # training cases up to which that pays, in trainings as long as these:
LONG_MINUTES, LONG_STEPS = 10, 8000
FROM_SCRATCH_RATE = 3e-3  # chosen on fold 0 of Hippocampus, docs/benchmarks.md
# beyond these a number is a slip: batches of it fill any memory
LARGEST_RATE, LARGEST_BATCH, MOST_PATCHES = 10.0, 2**16, 2**16
LARGEST_SEED = 2**64 - 1  # that PyTorch takes
SLICES_A_VOLUME = 4  # patches of slices for one of a volume, in the quick validation
VOLUME_RATE = 2e-3  # a volume a step is a smaller batch of like voxels
ADAPTED_RATE = 1e-3  # adapters start at zero beside frozen weights: gentler
# training cases up to which a pyramid beside TinyViT, all new as it is, learns at that rate too: of
# few it learns the maps by heart (with 5 pictures 0.003 lost 0.026 and 0.006 Dice, with 72 it gained 0.007)
FEW_CASES = 20
FROM_SCRATCH_EPOCHS = 300
# an adapted network sees as many samples whatever its batch: a step of a large frozen encoder takes time in
# proportion to it. In batches of 8 to 24 that is 17,000 to 50,000 steps; smaller batches take as many steps
# as 8 would.
ADAPTED_SAMPLES, ADAPTED_STEPS = 400_000, 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Weights of the three losses; `label_smoothing` is the share of the cross-entropy target spread over all
    classes. `extension` names a loss of one's own (docs/extending.md), added with `extension_weight`."""

    dice: float = 1.0
    cross_entropy: float = 1.0
    boundary: float = 0.5
    label_smoothing: float = 0.0
    extension: str = ""
    extension_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("dice", "cross_entropy", "boundary", "extension_weight"):
            require(f"loss.{name}", getattr(self, name) >= 0, getattr(self, name), "0 (off) or more")
        require_extension("loss.extension", self.extension)
        total = self.dice + self.cross_entropy + (self.extension_weight if self.extension else 0)
        require("loss", total > 0, "dice and cross_entropy both 0", "one of them above 0, or an extension")
        require("loss.label_smoothing", 0 <= self.label_smoothing < 1, self.label_smoothing, "from 0 up to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """All settings of one training run.

    Attributes:
        seed: of weights' initialisation and of every sample.
        epochs: the budget in epochs of `steps_per_epoch` optimiser steps. Without any budget 300 of a network
            trained from scratch; of an adapted one as many as show it 400,000 samples, in 50,000 steps at
            most.
        max_steps: the budget in optimiser steps; of several budgets the one used up first ends the run.
        max_minutes: the budget in minutes, counted over resumes, without the whole-image validation that
            follows; with both budgets, the one used up first ends the run and drives the learning rate.
        budget_clock: "wall", or "cpu": core-minutes of this process, which makes runs on a busy machine
            comparable.
        patience: epochs without a better quick validation after which training ends, before its budget does.
            The learning rate falls as if it went on; the weights that scored best are the checkpoint "best".
        batch_size: samples of one step over all devices; None takes the plan's for each of them.
        learning_rate: the highest; None takes 3e-3 for a network trained from scratch or for a pyramid beside
            TinyViT with more than 20 training cases, 2e-3 for one over volumes and 1e-3 for an
            adapted one, times the root of the number of devices that each have the plan's batch.
        pretrained_rate: share of the learning rate that trained weights of SAM's own take where a checkpoint
            is adapted (its mask decoder's); new parts and LoRA take all of it.
        warmup_fraction: share of the budget over which the learning rate rises linearly.
        gradient_clip: largest norm of the whole gradient; 0 does not limit it.
        ema_width: the exponential moving average of weights spans about this share of the steps so far,
            whatever the budget.
        coarse_share: share of the budget, from its start, that trains on images of half the side: about
            twice as many in the same time, while it is about finding structures and not yet about edges.
            For networks of convolutions alone (plan's decoder "pyramid") whose masks are not as fine as
            the input, and networks over volumes.
        foreground_fraction: share of samples centred on a foreground voxel. Source: nnU-Net oversamples 1/3.
        quick_validation_patches: validation patches scored after every epoch to keep the best checkpoint; of
            volumes a quarter as many are taken.
        freeze: "encoder" freezes what the plan does (SAM's encoder where it is adapted); "decoder" the mask
            decoder too, but for classes; "nothing" trains SAM's encoder along, which takes the memory and the
            checkpoint size of all of SAM.
        feature_dropout: share of samples, where what a frozen encoder makes of a slice is kept, that train
            without it: on the picture alone, augmented as freely as any. None takes half of them up to 20
            training slices and fewer the more there are (`feature_copies.dropout`).
        network_extension: names a function of one's own that changes the network (docs/extending.md); the
            model's plan then names it too.
        trainer_extension: names what trains in place of `trainers.trainer.Trainer`.
        save_every_s: seconds between checkpoints (taken at the end of an epoch), more where one takes long to
            write (20 times as long); 0 saves after every epoch.
    """

    seed: int = option("seed of weights and samples (default: 0)", default=0, metavar="N")
    epochs: int | None = option(
        "epochs to train (default: 300, where SAM is adapted 400,000 samples; with --max-minutes: no limit)",
        default=None,
        metavar="N",
    )
    max_steps: int | None = option(
        "optimiser steps to train (with it alone: no limit of epochs)", default=None, metavar="N"
    )
    max_minutes: float | None = option(
        "training minutes per fold, over resumes; validation of whole images not counted",
        default=None,
        metavar="M",
    )
    budget_clock: Clock = option(
        "what --max-minutes counts: wall-clock (default) or CPU minutes of this process", default="wall"
    )
    patience: int | None = option(
        "end training after N epochs without a better quick validation (default: use the budget)",
        default=None,
        metavar="N",
    )
    steps_per_epoch: int = 100
    batch_size: int | None = option("samples per step (default: the plan's)", default=None, metavar="N")
    learning_rate: float | None = option(
        "peak learning rate (default: 0.003 from scratch, 3d 0.002, 0.001 adapted; docs/training.md)",
        default=None,
        metavar="X",
    )
    weight_decay: float = 0.05
    pretrained_rate: float = 1.0
    warmup_fraction: float = 0.05
    poly_exponent: float = 0.9
    gradient_clip: float = option(
        "largest norm of the gradient (default: 1; 0: no limit)", default=1.0, metavar="X"
    )
    ema_width: float = 0.05
    coarse_share: float = 0.5
    foreground_fraction: float = 1 / 3
    quick_validation_patches: int = 64
    save_every_s: float = 60.0
    amp: bool = True
    freeze: Freeze = option(
        "encoder: SAM's (default); decoder: the mask decoder too, so that adapters, CDEN and class "
        "tokens train; nothing: all of it trains",
        default="encoder",
    )
    feature_dropout: float | None = None
    network_extension: str = ""
    trainer_extension: str = ""
    loss: LossConfig = field(default_factory=LossConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        require("seed", 0 <= self.seed <= LARGEST_SEED, self.seed, f"0 to {LARGEST_SEED}")
        require("epochs", self.epochs is None or self.epochs > 0, self.epochs, "at least 1")
        require("max_steps", self.max_steps is None or self.max_steps > 0, self.max_steps, "at least 1")
        minutes = self.max_minutes
        require("max_minutes", minutes is None or 0 < minutes < math.inf, minutes, "more than 0, and finite")
        require("budget_clock", self.budget_clock in get_args(Clock), self.budget_clock, "wall or cpu")
        require("patience", self.patience is None or self.patience > 0, self.patience, "at least 1")
        require("steps_per_epoch", self.steps_per_epoch > 0, self.steps_per_epoch, "at least 1")
        batch, rate = self.batch_size, self.learning_rate
        require(
            "batch_size", batch is None or 0 < batch <= LARGEST_BATCH, batch, f"from 1 to {LARGEST_BATCH}"
        )
        require(
            "learning_rate",
            rate is None or 0 < rate <= LARGEST_RATE,
            rate,
            f"above 0, at most {LARGEST_RATE:g}",
        )
        every = self.save_every_s
        require("save_every_s", 0 <= every < math.inf, every, "0 (after every epoch) or more, and finite")
        decay = self.weight_decay
        require("weight_decay", 0 <= decay < math.inf, decay, "0 (off) or more, and finite")
        require("poly_exponent", self.poly_exponent >= 0, self.poly_exponent, "0 (constant) or more")
        patches = self.quick_validation_patches
        require("quick_validation_patches", 0 <= patches <= MOST_PATCHES, patches, f"0 to {MOST_PATCHES}")
        require("pretrained_rate", 0 < self.pretrained_rate <= 1, self.pretrained_rate, "above 0, at most 1")
        require("gradient_clip", self.gradient_clip >= 0, self.gradient_clip, "0 (off) or more")
        require("warmup_fraction", 0 <= self.warmup_fraction < 1, self.warmup_fraction, "from 0 up to 1")
        require("ema_width", 0 < self.ema_width < 0.5, self.ema_width, "between 0 and 0.5")
        given = self.feature_dropout
        require("feature_dropout", given is None or 0 <= given < 1, given, "from 0 up to 1")
        require("coarse_share", 0 <= self.coarse_share <= 1, self.coarse_share, "from 0 to 1")
        for name in ("network_extension", "trainer_extension"):
            require_extension(name, getattr(self, name))
        require("freeze", self.freeze in get_args(Freeze), self.freeze, "nothing, encoder or decoder")
        require(
            "foreground_fraction", 0 <= self.foreground_fraction <= 1, self.foreground_fraction, "from 0 to 1"
        )

    @property
    def budget_steps(self) -> int | None:
        """Optimiser steps after which the run ends; None where time alone ends it."""
        limits = [self.max_steps, None if self.epochs is None else self.epochs * self.steps_per_epoch]
        return min((limit for limit in limits if limit is not None), default=None)

    def completed(self, configuration: Configuration, ranks: int = 1, cases: int = 0) -> TrainingConfig:
        """The same with every None that the plan and the number of training cases decide filled in.

        A plan fits one device, so that `ranks` of them take as many batches, and the learning rate grows with
        the root of their number, which keeps AdamW's noise as it is. No rank goes without a sample.

        Source: square-root scaling, Malladi et al., arXiv 2205.10287.
        """
        network = configuration.network
        kept = network.backbone == "vit_t" and network.decoder == "pyramid"
        fast = network.from_scratch or (kept and cases > FEW_CASES)
        rate = FROM_SCRATCH_RATE if fast else ADAPTED_RATE
        patches, scale = 1, 1.0 if self.batch_size is not None else math.sqrt(ranks)
        if configuration.network.depth:
            patches = SLICES_A_VOLUME
        if configuration.network.volume is not None:
            rate = VOLUME_RATE
        batch_size = max(ranks, self.batch_size or ranks * configuration.batch_size)
        epochs, steps = self.epochs, self.budget_steps
        long = (self.max_minutes or LONG_MINUTES) >= LONG_MINUTES and (steps or LONG_STEPS) >= LONG_STEPS
        if (epochs, self.max_steps, self.max_minutes) == (None, None, None):
            slices = batch_size * (configuration.network.stack or 1)
            steps = min(ADAPTED_SAMPLES // slices, ADAPTED_STEPS)
            adapted = not configuration.network.from_scratch
            epochs = math.ceil(steps / self.steps_per_epoch) if adapted else FROM_SCRATCH_EPOCHS
        return dataclasses.replace(
            self,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=self.learning_rate or rate * scale,
            quick_validation_patches=max(1, self.quick_validation_patches // patches),
            feature_dropout=self.feature_dropout if kept else 0.0,
            augmentation=self.augmentation.completed(configuration, strong=long and 0 < cases <= FEW_VOLUMES),
        )


def read_training_config(path: Path) -> TrainingConfig:
    """Read settings from a JSON file that names only what differs from the defaults.

    Raises:
        TrainingError: unreadable, an unknown setting, or a value that makes no sense.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "settings.json"
        >>> _ = path.write_text('{"epochs": 50, "loss": {"boundary": 0.0}}')
        >>> config = read_training_config(path)
        >>> config.epochs, config.loss.boundary, config.loss.dice
        (50, 0.0, 1.0)
    """
    return from_json(TrainingConfig, read_json(path, TrainingError), path, TrainingError)
