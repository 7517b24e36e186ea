"""What an intensity transform is: how it is drawn and how it is applied, in the loader and on the device.

Drawing and applying are apart, so that any sample can be replayed. Both places draw from the same range. In
the loader numbers come one after the other from the sample's own generator; on the device every transform has
numbers of its own, so that a sample is independent of the rest of its batch.

Suffixes: `b` batch, `c` image channels, `s` slices (1 for 2d), `h` rows, `w` columns: `image_bcshw`.
Neighbouring slices of a channel are changed alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from balrsam_pipeline.hardware import sent

Array = npt.NDArray[np.floating]
Limits = tuple[float, float]
Shape = tuple[int, int, int, int]
Seeds = npt.NDArray[np.integer[Any]]
PER_CHANNEL = 0.5  # nnU-Net: blur and low resolution touch each channel with this probability


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """One intensity transform.

    Attributes:
        neutral: the parameter that leaves a channel as it is.
        draw: (the sample's generator, shape (c, s, h, w), range) -> parameters, one for each channel first.
        apply: (image (c, s, h, w) float32, which may be overwritten; parameters) -> image.
        apply_to_volume: the same where the slices are a volume's; None where that makes no difference.
        draw_for_device: (numbers from 0 to 1 of shape (3, c), range) -> parameters (c,) or (c, …).
        apply_on_device: for a batch: (image (b, c, s, h, w), parameters (b, c, …), seeds (b,)) -> image.
    """

    neutral: float
    draw: Callable[[np.random.RandomState, Shape, Limits], Array]
    apply: Callable[[npt.NDArray[np.float32], Array], npt.NDArray[np.float32]]
    draw_for_device: Callable[[Array, Limits], Array]
    apply_on_device: Callable[[Tensor, Array, Seeds], Tensor]
    apply_to_volume: Callable[[npt.NDArray[np.float32], Array], npt.NDArray[np.float32]] | None = None


def between(uniform: Any, limits: Limits) -> Any:
    """Numbers from 0 to 1 stretched to a range."""
    low, high = limits
    return low + uniform * (high - low)


def either_side(side: Any, position: Any, limits: Limits) -> Array:
    """Below or above 1 with equal chance, uniform within each. Source: nnU-Net's contrast and gamma.

    Args:
        side: below 0.5 takes the part below 1, where the range has one.
        position: within that part; both from 0 to 1.
    """
    low, high = limits
    below = between(position, (low, min(high, 1.0)))
    above = between(position, (max(low, 1.0), high))
    return np.asarray(np.where((side < 0.5) & (low < 1), below, above), dtype=np.float64)


def beside(drawn_bc: Array, image_bcshw: Tensor) -> Tensor:
    """Parameters (b, c) as (b, c, 1, 1, 1), of the image's type and on its device."""
    return moved(drawn_bc, image_bcshw)[:, :, None, None, None]


def moved(numbers: Array, like: Tensor) -> Tensor:
    """Numbers in the type and on the device of a tensor, without waiting for a CUDA device."""
    return sent(torch.from_numpy(np.ascontiguousarray(numbers)).to(like.dtype), like.device)


def moved_places(places: npt.NDArray[np.integer[Any]], device: torch.device) -> Tensor:
    """Indices on a device, without waiting for CUDA's, as an index of an array would."""
    return sent(torch.from_numpy(places.astype(np.int64)), device)
