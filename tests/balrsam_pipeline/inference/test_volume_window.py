"""Volumes predicted from overlapping patches."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from balrsam_pipeline.inference.tiling import tile_starts
from balrsam_pipeline.inference.volume_window import (
    VolumeLogits,
    VolumeSettings,
    bytes_held,
    volume_flips,
)

PATCH = (4, 6, 6)


def settings(**changes: object) -> VolumeSettings:
    values: dict[str, object] = {"patch_zyx": PATCH, "tile_step": 0.5, "batch_size": 3, "flips": ((),)}
    return VolumeSettings(**(values | changes))  # type: ignore[arg-type]


def two_classes(batch: Tensor) -> Tensor:
    """Voxel by voxel, so that patches agree wherever they lie."""
    return torch.cat([batch, 2 - batch], dim=1)


@pytest.mark.parametrize("shape", [(9, 13, 8), (3, 13, 5), (4, 6, 6)])
def test_a_network_of_single_voxels_gives_the_same_as_on_the_whole_volume(
    shape: tuple[int, int, int],
) -> None:
    image = torch.randn(1, *shape)
    logits = VolumeLogits([two_classes], image, 2, settings(flips=volume_flips((0, 2)))).take(0, shape[0])
    torch.testing.assert_close(logits, two_classes(image[None])[0])


def test_slabs_are_those_of_the_whole_volume() -> None:
    image = torch.randn(1, 23, 9, 7)
    whole = VolumeLogits([_weighted], image, 1, settings()).take(0, 23)
    stream = VolumeLogits([_weighted], image, 1, settings())
    parts = [stream.take(start, stop) for start, stop in ((0, 1), (1, 9), (9, 10), (10, 23))]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    with pytest.raises(ValueError, match="front to back"):
        stream.take(3, 4)


def _weighted(batch: Tensor) -> Tensor:
    """Depends on where a voxel lies in its patch."""
    place = torch.linspace(0, 1, batch[0].numel()).view(batch.shape[1:])
    return batch * place


def test_overlapping_patches_are_averaged_with_gaussian_weights() -> None:
    image, distance = torch.randn(1, 9, 6, 6), torch.arange(4) - 1.5
    window = torch.exp(-0.5 * (distance / (4 / 8)) ** 2)[:, None, None].expand(PATCH)  # along slices alone
    total, weight = torch.zeros(9, 6, 6), torch.zeros(9, 6, 6)
    for start in tile_starts(9, 4, 0.5):
        total[start : start + 4] += _weighted(image[None, :, start : start + 4])[0, 0] * window
        weight[start : start + 4] += window
    logits = VolumeLogits([_weighted], image, 1, settings()).take(0, 9)
    torch.testing.assert_close(logits[0], total / weight)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_wrong_outer_voxels_of_patches_do_not_show_inside_wherever_they_lie_along_other_axes(
    axis: int,
) -> None:
    """Also beside the volume's faces and edges, which no patch shows in its middle."""
    side, size = 16, 40
    rim = torch.zeros(side)
    rim[0] = rim[-1] = 1
    along = [1, 1, 1]
    along[axis] = side

    def wrong(batch: Tensor) -> Tensor:
        return rim.view(along).expand_as(batch)

    weight = torch.exp(-0.5 * ((torch.arange(side) - 7.5) / 2) ** 2)
    rims, weights = torch.zeros(size), torch.zeros(size)
    for start in tile_starts(size, side, 0.5):
        rims[start : start + side] += weight * rim
        weights[start : start + side] += weight
    patches = settings(patch_zyx=(side,) * 3)
    logits = VolumeLogits([wrong], torch.zeros(1, size, size, size), 1, patches).take(0, size)[0]
    found = logits.movedim(axis, 2)[:, :, 1:-1]
    assert float(found.max()) < 0.003
    torch.testing.assert_close(found, (rims / weights)[1:-1].expand_as(found))


def test_no_more_is_held_than_a_patch_is_deep() -> None:
    image = torch.randn(1, 60, 8, 8)
    stream = VolumeLogits([two_classes], image, 2, settings())
    held = []
    for start in range(60):
        stream.take(start, start + 1)
        held.append((stream._held, stream._sums.shape[1]))
    assert max(held) <= (PATCH[0], PATCH[0] + 1)


@pytest.mark.parametrize(("depth", "slab"), [(60, 1), (60, 7), (60, 60), (3, 3)])
def test_the_memory_that_is_reckoned_with_is_never_less_than_what_is_held(depth: int, slab: int) -> None:
    image = torch.randn(1, depth, 8, 5)
    stream = VolumeLogits([two_classes], image, 2, settings())
    held = 0
    for start in range(0, depth, slab):
        stream.take(start, min(depth, start + slab))
        held = max(held, stream._sums.nbytes + stream._weights.nbytes)
    assert held <= bytes_held(2, (depth, 8, 5), PATCH, slab)


class Made(TorchDispatchMode):
    """Adds up the bytes of tensors that are made of zeros or padded."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in ("zeros", "new_zeros", "constant_pad_nd"):
            self.bytes += made.nbytes
        return made


@pytest.mark.parametrize(("depth", "slab"), [(60, 1), (60, 7), (60, 60)])
def test_room_for_sums_is_made_once(depth: int, slab: int) -> None:
    """Where it grew, the smaller and the larger were there for a moment."""
    with Made() as made:
        stream = VolumeLogits([two_classes], torch.randn(1, depth, 8, 8), 2, settings())
        for start in range(0, depth, slab):
            stream.take(start, min(depth, start + slab))
    assert made.bytes <= bytes_held(2, (depth, 8, 8), PATCH, slab)


class Copies(TorchDispatchMode):
    """Adds up the numbers that are copied from tensor to tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func.overloadpacket.__name__ == "copy_":
            self.numbers += args[1].numel()
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("slab", [1, 3, 25])
def test_what_is_held_is_moved_once_for_each_row_of_patches(slab: int) -> None:
    """For each slab it would be moved as often as a patch has slices."""
    classes, depth, size = 2, 100, (20, 8, 8)
    stream = VolumeLogits([two_classes], torch.randn(1, depth, 8, 8), classes, settings(patch_zyx=size))
    with Copies() as copies:
        for start in range(0, depth, slab):
            stream.take(start, min(depth, start + slab))
    rows = len(tile_starts(depth, size[0], 0.5))
    assert copies.numbers <= rows * (classes + 1) * math.prod(size)


def test_slices_that_nobody_asks_for_are_passed_over() -> None:
    image = torch.randn(1, 40, 6, 6)
    whole = VolumeLogits([_weighted], image, 1, settings()).take(0, 40)
    stream = VolumeLogits([_weighted], image, 1, settings())
    for start, stop in ((2, 3), (9, 12), (30, 33), (39, 40)):
        torch.testing.assert_close(stream.take(start, stop), whole[:, start:stop])
    assert stream._sums.shape[1] <= PATCH[0] + 2


CARD = torch.device("meta")  # stands for a GPU: it computes shapes alone, and what leaves it is zeros


class Moves(TorchDispatchMode):
    """Notes the shapes that go to the card and come from it, and where tensors are flipped and added up."""

    def __init__(self) -> None:
        super().__init__()
        self.to_card: list[tuple[int, ...]] = []
        self.from_card: list[tuple[int, ...]] = []
        self.flipped: set[str] = set()
        self.added: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        if name == "_to_copy" and args[0].device != kwargs.get("device", args[0].device):
            to_card = kwargs["device"] == CARD
            (self.to_card if to_card else self.from_card).append(tuple(args[0].shape))
            if not to_card:
                return torch.zeros(args[0].shape)
        if name == "flip":
            self.flipped.add(args[0].device.type)
        if name in ("add", "add_", "addcmul_"):
            self.added.add(args[0].device.type)
        return func(*args, **kwargs)


def test_copies_are_mirrored_turned_back_and_added_up_on_the_card_and_leave_it_as_one() -> None:
    image, flips = torch.randn(1, 4, 6, 9), volume_flips((0, 1, 2))  # two places in eight copies
    with Moves() as moves:
        stream = VolumeLogits([two_classes], image, 2, settings(flips=flips, batch_size=8), CARD)
        logits = stream.take(0, 4)
    assert moves.to_card == [(1, *PATCH)] * 2
    assert moves.from_card == [(2, *PATCH)] * 2
    assert moves.flipped == {"meta"}
    assert logits.device.type == "cpu"


def test_sums_that_are_at_home_on_the_card_stay_there() -> None:
    image = torch.randn(1, 23, 6, 9)
    with Moves() as moves:
        stream = VolumeLogits([two_classes], image, 2, settings(flips=volume_flips((1,))), CARD, CARD)
        slabs = [stream.take(start, min(23, start + 10)) for start in range(0, 23, 10)]
    assert moves.from_card == []
    assert moves.added == {"meta"}
    assert [slab.device.type for slab in slabs] == ["meta"] * 3


@pytest.mark.parametrize("batch_size", [1, 3, 5, 64])
def test_batches_may_part_the_copies_of_a_place(batch_size: int) -> None:
    image, flips = torch.randn(1, 9, 13, 8), volume_flips((0, 1, 2))
    logits = VolumeLogits([_weighted], image, 1, settings(flips=flips, batch_size=batch_size)).take(0, 9)
    each = [VolumeLogits([_turned(flip)], image, 1, settings()).take(0, 9) for flip in flips]
    torch.testing.assert_close(logits, torch.stack(each).mean(0))


def _turned(flip: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """A network that sees everything mirrored."""
    return lambda batch: _weighted(batch.flip(flip)).flip(flip)


def test_mirrored_copies_are_averaged() -> None:
    image = torch.randn(1, 4, 6, 6)
    logits = VolumeLogits([_weighted], image, 1, settings(flips=volume_flips((1,)))).take(0, 4)
    expected = (_weighted(image[None]) + _weighted(image[None].flip(3)).flip(3)) / 2
    torch.testing.assert_close(logits, expected[0])


def test_all_mirrors_are_those_of_a_cube() -> None:
    assert len(volume_flips((0, 1, 2))) == 8
    assert volume_flips(()) == ((),)
    assert volume_flips((2,)) == ((), (4,))
