"""How samples are augmented, as a frozen dataclass <-> JSON, and the checks that all settings share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.extensions import FORM, is_extension_name
from balrsam_pipeline.plan import Configuration

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
# beyond these a number is a slip: kernels of it fill any memory
LARGEST_RANGE, LARGEST_FACTOR = 100.0, 10.0
ZOOMS = ("scaling_range", "low_resolution_zoom")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationConfig:
    """Probabilities and ranges of augmentation. Source: nnU-Net v2 default data augmentation.

    The probability of an intensity transform names the transform in `trainers.augmentation` and the setting
    of its range; transforms come in the order of these settings. A new one goes last, so that samples of a
    seed stay as they were: its two settings here, and a file beside the others.

    `rotation_degrees` None takes 30 where the plan does not mirror along both axes of a slice, as of
    patients, who lie one way, and elsewhere nnU-Net's rule: 180 for nearly square patches, 15 where one side
    exceeds 1.5 times the other; `translation_probability` None takes 0.5, and none for `vit_mini`, which was
    measured without.
    Probabilities of rotation, scaling, intensity curves and bending that are None follow the number of
    training volumes. A CUDA device changes intensities itself, a batch at a time, since the loader would
    starve it; `in_loader` has it done by the loader there too, `on_device` on other devices as well.
    `extensions` name functions of one's own (docs/extending.md), which the loader calls last: beside them it
    changes intensities everywhere, unless `on_device` has that done after them.
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
                require(f"augmentation.{item.name}", 0 <= value <= 1, value, "a probability from 0 to 1")
            if item.name == "extensions":
                for name in value:
                    require_extension("augmentation.extensions", name)
            elif item.name in ZOOMS:
                expected = f"two numbers above 0, the smaller first, at most {LARGEST_FACTOR:g}"
                within = 0 < value[0] <= value[1] <= LARGEST_FACTOR
                require(f"augmentation.{item.name}", within, value, expected)
            elif isinstance(value, tuple):
                largest = LARGEST_FACTOR if item.name.endswith("_strength") else LARGEST_RANGE
                expected = f"two numbers, the smaller first, from 0 to {largest:g}"
                within = 0 <= value[0] <= value[1] <= largest
                require(f"augmentation.{item.name}", within, value, expected)
        turned, moved = self.rotation_degrees, self.translation_fraction
        require(
            "augmentation.rotation_degrees", turned is None or 0 <= turned <= 180, turned, "from 0 to 180"
        )
        require("augmentation.translation_fraction", 0 <= moved <= 1, moved, "from 0 to 1")

    def probability(self, name: str) -> float:
        """What a setting of that name says, or what is usual where that is None."""
        given: float | None = getattr(self, name)
        return SHARES[name][0] if given is None else given

    def completed(self, configuration: Configuration, *, strong: bool = False) -> AugmentationConfig:
        """The same with every None filled in.

        Args:
            strong: whether few patients are seen for long.
        """
        from balrsam_pipeline.imageio import is_flat  # brings readers of images along

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
        left_to_loader = self.in_loader or bool(self.extensions)
        on_device = self.on_device or (device_type == "cuda" and not left_to_loader)
        return dataclasses.replace(self, on_device=on_device and not volumes)


def require_extension(name: str, value: str) -> None:
    """Refuse what cannot name a function of the user's own; "" names none."""
    require(name, not value or is_extension_name(value), value, FORM)


def require(name: str, holds: bool, value: object, expected: str) -> None:
    """Refuse a value unless `holds`.

    Raises:
        TrainingError: it does not.
    """
    if not holds:
        raise TrainingError(
            f"training setting '{name}'", found=str(value), expected=expected, fix=f"correct '{name}'"
        )
