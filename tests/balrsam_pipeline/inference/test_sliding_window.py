"""Batches over slices, tiles and mirrors give what a plain loop gives."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from balrsam_pipeline.inference.sliding_window import (
    Mirror,
    SliceSettings,
    mirrors,
    rotated,
    slice_logits,
    with_context,
)
from balrsam_pipeline.inference.tiling import gaussian_window, padding, tiles
from balrsam_pipeline.network import Features


def brute_force(
    networks: list[torch.nn.Module], volume: torch.Tensor, settings: SliceSettings
) -> torch.Tensor:
    """One slice, one tile, one mirror, one network at a time."""
    height, width = volume.shape[2:]
    rows, columns = padding(height, settings.patch_size[0]), padding(width, settings.patch_size[1])
    padded = functional.pad(volume, (*columns, *rows))
    window = torch.from_numpy(gaussian_window(settings.patch_size))
    result = []
    for index in range(len(volume)):
        total, weight = 0.0, torch.zeros(padded.shape[2:])
        for tile in tiles(tuple(padded.shape[2:]), settings.patch_size, settings.tile_step):
            place = (
                slice(tile.y, tile.y + settings.patch_size[0]),
                slice(tile.x, tile.x + settings.patch_size[1]),
            )
            for mirror in settings.mirrors:
                order = range(-settings.context_slices, settings.context_slices + 1)
                neighbours = [
                    min(max(index + offset, 0), len(volume) - 1)
                    for offset in (reversed(order) if mirror.context else order)
                ]
                patch = torch.cat([padded[neighbour][(slice(None), *place)] for neighbour in neighbours])[
                    None
                ].flip(mirror.dimensions)
                logits = sum(network(patch) for network in networks) / len(networks)
                placed = torch.zeros(logits.shape[1], *padded.shape[2:])
                placed[(slice(None), *place)] = logits.flip(mirror.dimensions)[0] * window
                total = total + placed
                weight[place] += window
        result.append((total / weight)[:, rows[0] : rows[0] + height, columns[0] : columns[0] + width])
    return torch.stack(result)


@pytest.mark.parametrize("size", [(20, 30), (7, 30), (5, 6), (12, 16)])
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
@torch.inference_mode()
def test_batches_agree_with_a_plain_loop(
    fakes: SimpleNamespace, size: tuple[int, int], context: int, batch_size: int
) -> None:
    volume = torch.randn(4, 2, *size, generator=torch.Generator().manual_seed(1))
    settings = SliceSettings(
        patch_size=(12, 16),
        tile_step=0.5,
        batch_size=batch_size,
        context_slices=context,
        mirrors=mirrors((0, 1, 2), 0, context),
    )
    networks = [fakes.WeightedNetwork(2 * (2 * context + 1), 3, seed) for seed in (0, 1)]
    torch.testing.assert_close(
        slice_logits(networks, volume, (0, 4), settings),
        brute_force(networks, volume, settings),
        atol=1e-5,
        rtol=1e-4,
    )


@torch.inference_mode()
def test_a_span_in_the_middle_sees_its_neighbours(fakes: SimpleNamespace) -> None:
    volume = torch.randn(9, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    settings = SliceSettings(
        patch_size=(8, 8), tile_step=0.5, batch_size=4, context_slices=1, mirrors=(Mirror(),)
    )
    networks = [fakes.WeightedNetwork(3, 2)]
    whole = slice_logits(networks, volume, (0, 9), settings)
    parts = [slice_logits(networks, volume, span, settings) for span in ((0, 2), (2, 3), (3, 9))]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_context_is_slice_major_and_repeats_the_edge() -> None:
    volume = torch.arange(6.0).reshape(3, 2, 1, 1)  # slice d has channels 2d, 2d + 1
    assert with_context(volume, 0, 1, 1).flatten().tolist() == [0, 1, 0, 1, 2, 3]
    assert with_context(volume, 1, 2, 1, reverse=True).flatten().tolist() == [4, 5, 2, 3, 0, 1]


def test_mirrors_that_change_nothing_are_left_out() -> None:
    assert mirrors((0, 1, 2), 0, 0) == (
        Mirror(),
        Mirror(columns=True),
        Mirror(rows=True),
        Mirror(rows=True, columns=True),
    )
    assert len(mirrors((0, 1, 2), 0, 1)) == 8
    assert mirrors((0,), 1, 0) == (
        Mirror(),
        Mirror(rows=True),
    )  # rows of slices along axis 1 run along axis 0
    assert mirrors((), 0, 3) == (Mirror(),)


class Encoding:
    """A network whose masks depend on where things lie in image and maps; counts what it encodes."""

    mirrors_maps = True

    def __init__(self) -> None:
        self.encoded = 0
        self.ramp = torch.linspace(0, 1, 16)[:, None] + torch.linspace(0, 2, 16)

    def prefix(self, image_bchw: torch.Tensor) -> Features:
        self.encoded += len(image_bchw)
        return Features((image_bchw * self.ramp).permute(0, 2, 3, 1), None)

    def __call__(self, image_bchw: torch.Tensor, features: Features | None = None) -> torch.Tensor:
        maps = features or self.prefix(image_bchw)
        return torch.cat([image_bchw + maps.tokens_byxc.permute(0, 3, 1, 2), self.ramp * image_bchw], dim=1)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_slice_is_encoded_once_and_its_maps_are_mirrored(batch_size: int) -> None:
    volume = torch.randn(3, 1, 16, 24)
    settings = SliceSettings(
        patch_size=(16, 16),
        tile_step=0.5,
        batch_size=batch_size,
        context_slices=0,
        mirrors=mirrors((0, 1, 2), 0, 0),
    )
    network = Encoding()
    found = slice_logits([network], volume, (0, 3), settings)
    assert network.encoded == 3 * 2  # slices and tiles
    plain = dataclasses.replace(settings, mirrors=(Mirror(),))
    features = Encoding()
    total = torch.zeros_like(found)
    for mirror in settings.mirrors:

        def mirrored(image: torch.Tensor, mirror: Mirror = mirror) -> torch.Tensor:
            axes = [axis - 1 for axis in mirror.dimensions]
            maps = features.prefix(image).tokens_byxc.flip(axes)
            return features(image.flip(mirror.dimensions), Features(maps, None)).flip(mirror.dimensions)

        total += slice_logits([mirrored], volume, (0, 3), plain)
    torch.testing.assert_close(found, total / len(settings.mirrors))


@pytest.mark.parametrize("degrees", [10.0, -25.0, 90.0])
def test_rotation_is_that_of_scipy(degrees: float) -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(0).random((20, 31)), 2).astype(np.float32)
    expected = ndimage.rotate(image, -degrees, reshape=False, order=1, mode="grid-constant")
    np.testing.assert_allclose(
        rotated(torch.from_numpy(image)[None, None], degrees)[0, 0], expected, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_places_are_not_rounded_to_16_bits_under_autocast(dtype: torch.dtype) -> None:
    ramp = torch.arange(256.0).expand(1, 1, 256, 256)
    expected = rotated(ramp, 10.0)
    with torch.autocast("cpu", dtype=dtype):
        found = rotated(ramp, 10.0)
        in_half = rotated(ramp.to(dtype), 10.0)
    assert found.dtype == in_half.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(in_half, expected, atol=1.0, rtol=0)  # half a grey level of 128 to 256


def test_rotated_slices_are_averaged_where_they_show_a_pixel() -> None:
    """Of a smooth image and a network that copies it, rotations there and back leave all as it was; corners
    that only the slice as it is shows are its own."""
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")
    volume = (2 + rows / 24 + columns / 32)[None, None]
    settings = SliceSettings(
        patch_size=(24, 32),
        tile_step=0.5,
        batch_size=4,
        context_slices=0,
        mirrors=(Mirror(),),
        rotations=(0.0, 10.0, -10.0),
    )
    same = slice_logits([torch.nn.Identity()], volume, (0, 1), settings)
    torch.testing.assert_close(same[..., 6:-6, 6:-6], volume[..., 6:-6, 6:-6], atol=1e-4, rtol=0)
    torch.testing.assert_close(same[..., 0, 0], volume[..., 0, 0])


def test_slices_larger_than_the_patch_are_seen_as_they_are() -> None:
    settings = SliceSettings(
        patch_size=(16, 16), tile_step=0.5, batch_size=4, context_slices=0, mirrors=(Mirror(),)
    )
    volume = torch.randn(2, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    both = dataclasses.replace(settings, rotations=(0.0, 10.0))
    network = torch.nn.Conv2d(1, 2, 3, padding=1)
    with torch.no_grad():
        plain, turned = (slice_logits([network], volume, (0, 2), each) for each in (settings, both))
    torch.testing.assert_close(plain, turned, rtol=0, atol=0)


def test_wrong_outer_pixels_of_tiles_do_not_show_inside_nor_beside_the_borders_of_slices() -> None:
    settings = SliceSettings(
        patch_size=(32, 32), tile_step=0.5, batch_size=8, context_slices=0, mirrors=(Mirror(),)
    )
    rim = torch.zeros(32)
    rim[:2] = rim[-2:] = 1

    def wrong(batch: torch.Tensor) -> torch.Tensor:
        return rim.expand_as(batch)

    for size in ((80, 80), (32, 80)):
        logits = slice_logits([wrong], torch.zeros(1, 1, *size), (0, 1), settings)[0, 0]
        assert float(logits[:, 2:-2].max()) < 0.005
        assert float(logits[:, 0].min()) > 0.999  # the outermost pixels are seen at a rim alone
