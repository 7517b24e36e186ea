"""What a training run is told: losses, augmentation, schedule and budget, as frozen dataclasses <-> JSON."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.extensions import FORM, is_extension_name
from balrsam_pipeline.files import read_json
from balrsam_pipeline.options import option
from balrsam_pipeline.plan import Configuration
from balrsam_pipeline.serialise import from_json

Clock = Literal["wall", "cpu"]
Freeze = Literal["nothing", "encoder", "decoder"]
VOLUME_ROTATION_DEGREES = 30.0
TRANSLATION_PROBABILITY = 0.5
# how often samples are changed where settings leave it open: usually (nnU-Net's shares), and in slices of few
# volumes that are seen for long (chosen on folds 1 and 2 of ACDC and fold 1 of CHAOS, docs/benchmarks.md)
SHARES = {
    "rotation_probability": (0.2, 0.5),
    "scaling_probability": (0.2, 0.5),
    "intensity_curve_probability": (0.0, 0.3),
    "elastic_probability": (0.0, 0.5),
}
FEW_VOLUMES = 40  # training cases up to which that pays, in trainings as long as these:
LONG_MINUTES, LONG_STEPS = 10, 8000
FROM_SCRATCH_RATE = 3e-3  # chosen on fold 0 of Hippocampus, docs/benchmarks.md
# beyond these a number is a slip: kernels and batches of it fill any memory
LARGEST_RANGE, LARGEST_FACTOR, LARGEST_RATE, LARGEST_BATCH, MOST_PATCHES = 100.0, 10.0, 10.0, 2**16, 2**16
ZOOMS = ("scaling_range", "low_resolution_zoom")
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
            _require(f"loss.{name}", getattr(self, name) >= 0, getattr(self, name), "0 (off) or more")
        _require_extension("loss.extension", self.extension)
        total = self.dice + self.cross_entropy + (self.extension_weight if self.extension else 0)
        _require("loss", total > 0, "dice and cross_entropy both 0", "one of them above 0, or an extension")
        _require(
            "loss.label_smoothing", 0 <= self.label_smoothing < 1, self.label_smoothing, "from 0 up to 1"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationConfig:
    """Probabilities and ranges of augmentation. Source: nnU-Net v2 default data augmentation.

    The probability of an intensity transform names the transform in `trainers.augmentation` and the setting
    of its range; transforms come in the order of these settings. A new one goes last, so that samples of a
    seed stay as they were: its two settings here, and a file beside the others.

    `rotation_degrees` None takes 30 for volumes, whose patients lie one way, and for pictures and volumes of
    a microscope nnU-Net's rule: 180 for nearly square patches, 15 where one side exceeds 1.5 times the other;
    `translation_probability` None takes 0.5, and none for `vit_mini`, which was measured without.
    Probabilities of rotation, scaling, intensity curves and bending that are None follow the number of
    training volumes. A CUDA device changes intensities itself, a batch at a time, since the loader would
    starve it; `in_loader` has it done by the loader there too, `on_device` on other devices as well.
    `extensions` name functions of one's own (docs/extending.md), which the loader calls last.
    """

    enabled: bool = True
    on_device: bool = False
    in_loader: bool = False
    mirroring: bool = True
    rotation_probability: float | None = None
    rotation_degrees: float | None = None
    scaling_probability: float | None = None
    scaling_range: tuple[float, float] = (0.7, 1.4)
    noise_probability: float = field(
        default=0.1, metadata={"transform": "noise:NOISE", "limits": "noise_variance"}
    )
    noise_variance: tuple[float, float] = (0.0, 0.1)
    blur_probability: float = field(default=0.2, metadata={"transform": "blur:BLUR", "limits": "blur_sigma"})
    blur_sigma: tuple[float, float] = (0.5, 1.0)
    brightness_probability: float = field(
        default=0.15, metadata={"transform": "brightness:BRIGHTNESS", "limits": "brightness_range"}
    )
    brightness_range: tuple[float, float] = (0.75, 1.25)
    contrast_probability: float = field(
        default=0.15, metadata={"transform": "contrast:CONTRAST", "limits": "contrast_range"}
    )
    contrast_range: tuple[float, float] = (0.75, 1.25)
    low_resolution_probability: float = field(
        default=0.25, metadata={"transform": "low_resolution:LOW_RESOLUTION", "limits": "low_resolution_zoom"}
    )
    low_resolution_zoom: tuple[float, float] = (0.5, 1.0)
    inverted_gamma_probability: float = field(
        default=0.1, metadata={"transform": "gamma:INVERTED_GAMMA", "limits": "gamma_range"}
    )
    gamma_probability: float = field(
        default=0.3, metadata={"transform": "gamma:GAMMA", "limits": "gamma_range"}
    )
    gamma_range: tuple[float, float] = (0.7, 1.5)
    bias_field_probability: float = field(
        default=0.0, metadata={"transform": "bias_field:BIAS_FIELD", "limits": "bias_field_strength"}
    )
    bias_field_strength: tuple[float, float] = (0.0, 1.5)
    intensity_curve_probability: float | None = field(
        default=None,
        metadata={"transform": "intensity_curve:INTENSITY_CURVE", "limits": "intensity_curve_strength"},
    )
    intensity_curve_strength: tuple[float, float] = (0.3, 0.9)
    translation_probability: float | None = None
    translation_fraction: float = 0.1
    elastic_probability: float | None = None
    elastic_strength: tuple[float, float] = (0.0, 0.075)
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name.endswith("_probability") and value is not None:
                _require(f"augmentation.{item.name}", 0 <= value <= 1, value, "a probability from 0 to 1")
            if item.name == "extensions":
                for name in value:
                    _require_extension("augmentation.extensions", name)
            elif item.name in ZOOMS:
                expected = f"two numbers above 0, the smaller first, at most {LARGEST_FACTOR:g}"
                within = 0 < value[0] <= value[1] <= LARGEST_FACTOR
                _require(f"augmentation.{item.name}", within, value, expected)
            elif isinstance(value, tuple):
                largest = LARGEST_FACTOR if item.name.endswith("_strength") else LARGEST_RANGE
                expected = f"two numbers, the smaller first, from 0 to {largest:g}"
                within = 0 <= value[0] <= value[1] <= largest
                _require(f"augmentation.{item.name}", within, value, expected)
        turned, moved = self.rotation_degrees, self.translation_fraction
        _require(
            "augmentation.rotation_degrees", turned is None or 0 <= turned <= 180, turned, "from 0 to 180"
        )
        _require("augmentation.translation_fraction", 0 <= moved <= 1, moved, "from 0 to 1")

    def probability(self, name: str) -> float:
        """What a setting of that name says, or what is usual where that is None."""
        given: float | None = getattr(self, name)
        return SHARES[name][0] if given is None else given

    def completed(self, configuration: Configuration, *, strong: bool = False) -> AugmentationConfig:
        """The same with every None filled in.

        Args:
            strong: whether few patients are seen for long.
        """
        from balrsam_pipeline.imageio.geometry import is_flat  # brings readers of images along

        volumes = not is_flat(configuration.spacing_mm)
        pyramid = configuration.network.from_scratch and configuration.network.decoder == "pyramid"
        which = int(strong and volumes and pyramid)
        filled: dict[str, Any] = {
            name: shares[which] for name, shares in SHARES.items() if getattr(self, name) is None
        }
        if self.translation_probability is None:
            shifts = configuration.network.backbone != "vit_mini"
            filled["translation_probability"] = TRANSLATION_PROBABILITY if shifts else 0.0
        if "ct" in configuration.normalization and self.intensity_curve_probability is None:
            filled["intensity_curve_probability"] = 0.0  # Hounsfield units tell one tissue from another
        any_way = {1, 2} <= set(configuration.mirror_axes)  # else a flip and half a turn are a mirror image
        if self.rotation_degrees is None and not any_way:
            filled["rotation_degrees"] = VOLUME_ROTATION_DEGREES
        return dataclasses.replace(self, **filled)

    def on(self, device_type: str, *, volumes: bool = False) -> AugmentationConfig:
        """The same with `on_device` as it is on a kind of device: "cuda", "cpu", "mps". Patches of volumes
        are changed by the loader everywhere."""
        on_device = self.on_device or (device_type == "cuda" and not self.in_loader)
        return dataclasses.replace(self, on_device=on_device and not volumes)


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
        save_every_s: seconds between checkpoints (taken at the end of an epoch); 0 saves after every epoch.
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
        "peak learning rate (default: 0.003 from scratch, 0.001 adapted; docs/training.md)",
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
        _require("seed", self.seed >= 0, self.seed, "0 or more")
        _require("epochs", self.epochs is None or self.epochs > 0, self.epochs, "at least 1")
        _require("max_steps", self.max_steps is None or self.max_steps > 0, self.max_steps, "at least 1")
        _require(
            "max_minutes", self.max_minutes is None or self.max_minutes > 0, self.max_minutes, "more than 0"
        )
        _require("budget_clock", self.budget_clock in get_args(Clock), self.budget_clock, "wall or cpu")
        _require("patience", self.patience is None or self.patience > 0, self.patience, "at least 1")
        _require("steps_per_epoch", self.steps_per_epoch > 0, self.steps_per_epoch, "at least 1")
        batch, rate = self.batch_size, self.learning_rate
        _require(
            "batch_size", batch is None or 0 < batch <= LARGEST_BATCH, batch, f"from 1 to {LARGEST_BATCH}"
        )
        _require(
            "learning_rate",
            rate is None or 0 < rate <= LARGEST_RATE,
            rate,
            f"above 0, at most {LARGEST_RATE:g}",
        )
        _require("weight_decay", self.weight_decay >= 0, self.weight_decay, "0 (off) or more")
        _require("poly_exponent", self.poly_exponent >= 0, self.poly_exponent, "0 (constant) or more")
        patches = self.quick_validation_patches
        _require("quick_validation_patches", 0 <= patches <= MOST_PATCHES, patches, f"0 to {MOST_PATCHES}")
        _require("pretrained_rate", 0 < self.pretrained_rate <= 1, self.pretrained_rate, "above 0, at most 1")
        _require("gradient_clip", self.gradient_clip >= 0, self.gradient_clip, "0 (off) or more")
        _require("warmup_fraction", 0 <= self.warmup_fraction < 1, self.warmup_fraction, "from 0 up to 1")
        _require("ema_width", 0 < self.ema_width < 0.5, self.ema_width, "between 0 and 0.5")
        given = self.feature_dropout
        _require("feature_dropout", given is None or 0 <= given < 1, given, "from 0 up to 1")
        _require("coarse_share", 0 <= self.coarse_share <= 1, self.coarse_share, "from 0 to 1")
        for name in ("network_extension", "trainer_extension"):
            _require_extension(name, getattr(self, name))
        _require("freeze", self.freeze in get_args(Freeze), self.freeze, "nothing, encoder or decoder")
        _require(
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


def _require_extension(name: str, value: str) -> None:
    _require(name, not value or is_extension_name(value), value, FORM)


def _require(name: str, holds: bool, value: object, expected: str) -> None:
    if not holds:
        raise TrainingError(
            f"training setting '{name}'", found=str(value), expected=expected, fix=f"correct '{name}'"
        )
