"""Intensity curve: a random rising curve of straight pieces through each channel's intensities.

Gamma and contrast change all tissues in the same way. Between patients single tissues become brighter or
darker than others (a cyst brings all organs close together, a coil sees some better), and so does this curve:
each piece is stretched or squeezed by itself, and the order of intensities stays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.augmentation.transform import Array, Limits, Seeds, Shape, Transform, between, moved

PIECES = 5
REACH = 4.0  # standard deviations above the mean that pieces reach; beyond, the curve goes on straight
GAIN, SHIFT = 1 / 3, 1 / 4  # how much all intensities are scaled and moved, for 1 of a piece's logarithm
EPSILON = 1e-7


def draw(rng: np.random.RandomState, shape_cshw: Shape, limits: Limits) -> Array:
    """The curve of each channel, (c, k): see `draw_for_device`."""
    return draw_for_device(rng.random_sample((3, shape_cshw[0])), limits)


def apply(image_cshw: npt.NDArray[np.float32], drawn_ck: Array) -> npt.NDArray[np.float32]:
    """Send every channel through its curve."""
    return _curved(torch.from_numpy(image_cshw)[None], drawn_ck[None])[0].numpy()


def draw_for_device(uniform_3c: Array, limits: Limits) -> Array:
    """For each channel (c, k): logarithms of the pieces' slopes, of the gain, and the shift in the image's
    units; normal, with a spread from the range."""
    rngs = [np.random.default_rng(int(seed * 2**32)) for seed in uniform_3c[0]]
    normal_ck = np.stack([rng.standard_normal(PIECES + 2) for rng in rngs])
    spread_c1 = between(uniform_3c[1], limits)[:, None]
    drawn: Array = normal_ck * spread_c1 * np.array([1.0] * PIECES + [GAIN, SHIFT])
    return drawn


def apply_on_device(image_bcshw: Tensor, drawn_bck: Array, _seeds: Seeds) -> Tensor:
    """Send every channel through its curve; zeros leave it as it is."""
    return _curved(image_bcshw, drawn_bck)


def _curved(image_bcshw: Tensor, drawn_bck: Array) -> Tensor:
    """Values go to places from 0 to `PIECES`; a place becomes its piece's start and slope."""
    axes, drawn = (2, 3, 4), moved(drawn_bck, image_bcshw)
    slope = drawn[..., :PIECES].softmax(-1)
    start = torch.cat([torch.zeros_like(slope[..., :1]), slope.cumsum(-1)], -1)
    slope = torch.cat([slope, torch.full_like(slope[..., :1], 1 / PIECES)], -1)
    low = image_bcshw.amin(axes, keepdim=True)
    spread, mean = torch.std_mean(image_bcshw, axes, correction=0, keepdim=True)
    reach = torch.minimum(image_bcshw.amax(axes, keepdim=True), mean + REACH * spread) - low + EPSILON
    place = (image_bcshw - low).mul_(PIECES / reach)
    piece = place.long().clamp_(0, PIECES)
    place.sub_(piece).mul_(slope.gather(2, piece.flatten(2)).view_as(place))
    curve = place.add_(start.gather(2, piece.flatten(2)).view_as(place))
    del piece  # as large as two images
    gain, shift = (part[:, :, None, None, None] for part in drawn[..., PIECES:].unbind(-1))
    changed = curve.mul_(reach).add_(low).mul_(gain.exp()).add_(shift)
    left = (drawn == 0).all(-1)[:, :, None, None, None]
    return torch.where(left, image_bcshw, changed)


INTENSITY_CURVE = Transform(
    neutral=0.0,
    draw=draw,
    apply=apply,
    draw_for_device=draw_for_device,
    apply_on_device=apply_on_device,
)
