"""Bias field: intensities that fade with the distance from a point, as those of an MR coil do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.augmentation.transform import Array, Limits, Seeds, Shape, Transform, between, moved

FARTHEST = 8.0  # the largest squared distance of two points of the patch, whose sides reach from -1 to 1


def draw(rng: np.random.RandomState, shape_cshw: Shape, limits: Limits) -> Array:
    """For each channel how much fades and from where, (c, 3): see `draw_for_device`."""
    return draw_for_device(rng.random_sample((3, shape_cshw[0])), limits)


def apply(image_cshw: npt.NDArray[np.float32], drawn_c3: Array) -> npt.NDArray[np.float32]:
    """Fade what lies above each channel's smallest intensity."""
    return _faded(torch.from_numpy(image_cshw)[None], drawn_c3[None])[0].numpy()


def draw_for_device(uniform_3c: Array, limits: Limits) -> Array:
    """For each channel (c, 3): the logarithm of how much fades from corner to corner, and the point's row and
    column, from -1 to 1 over the patch."""
    return np.stack([between(uniform_3c[0], limits), *between(uniform_3c[1:], (-1.0, 1.0))], axis=1)


def apply_on_device(image_bcshw: Tensor, drawn_bc3: Array, _seeds: Seeds) -> Tensor:
    """Fade what lies above each channel's smallest intensity."""
    return _faded(image_bcshw, drawn_bc3)


def _faded(image_bcshw: Tensor, drawn_bc3: Array) -> Tensor:
    """The image times exp(-strength · distance² / FARTHEST), whose mean over the patch is brought to 1."""
    drawn = moved(drawn_bc3, image_bcshw)
    strength, row, column = (part[:, :, None, None, None] for part in drawn.unbind(-1))
    h, w = image_bcshw.shape[-2:]
    y = torch.linspace(-1, 1, h, device=image_bcshw.device)[:, None]
    x = torch.linspace(-1, 1, w, device=image_bcshw.device)
    field = torch.exp(-strength * ((y - row) ** 2 + (x - column) ** 2) / FARTHEST)
    field = field / field.mean((-2, -1), keepdim=True)
    low = image_bcshw.amin((2, 3, 4), keepdim=True)
    return torch.where(strength == 0, image_bcshw, (image_bcshw - low) * field + low)


BIAS_FIELD = Transform(
    neutral=0.0,
    draw=draw,
    apply=apply,
    draw_for_device=draw_for_device,
    apply_on_device=apply_on_device,
)
