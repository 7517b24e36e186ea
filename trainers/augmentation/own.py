"""Augmentations of a user's own package: functions that change a patch and its labels after all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.extensions import loaded_once

Image = npt.NDArray[np.float32]
Label = npt.NDArray[np.int16]
STREAM = 1  # beside the numbers that the built-in transforms draw from the same seed


def augment_own(image: Image, label: Label, seed: int, names: Sequence[str]) -> tuple[Image, Label]:
    """A patch (channel, y, x) or (channel, z, y, x) and its labels after the named functions, in order.

    Each is called with copies that it may overwrite and with a generator of the sample's own:
    `(image, label, rng) -> (image, label)`.

    Raises:
        TrainingError: a function cannot be imported, or returns another shape.
    """
    rng = np.random.default_rng([seed, STREAM])
    for name in names:
        changed = loaded_once(name, "augmentation", TrainingError)(image.copy(), label.copy(), rng)
        image, label = _checked(name, changed, image, label)
    return image, label


def _checked(name: str, changed: object, image: Image, label: Label) -> tuple[Image, Label]:
    pair = changed if isinstance(changed, tuple) and len(changed) == 2 else (None, None)
    shapes = [getattr(array, "shape", None) for array in pair]
    if shapes != [image.shape, label.shape]:
        raise TrainingError(
            f"augmentation '{name}'",
            found=f"shapes {shapes[0]} and {shapes[1]}" if pair[0] is not None else f"{changed!r:.60}",
            expected=f"(image, label) of shapes {image.shape} and {label.shape}, as it was given",
            fix="return both, each as large as before",
        )
    return np.asarray(pair[0], np.float32), np.asarray(pair[1], np.int16)
