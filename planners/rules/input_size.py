"""Patch and input size: whole slices wherever the thinnest label survives it, tiles only where it does not.

Two questions decide. How thin is the thinnest label: it must stay `THIN` input pixels thick, or a resized
slice hides it. And what does a pixel's label depend on: an outline of an organ on all of the slice, so that a
tile cut out of a head or a lesion says neither inside nor outside (fetal heads scored 0.58 in tiles of 128
and 0.92 whole at 224, in the project's first measurements, 28 November 2026, which docs/benchmarks.md does
not hold). So slices are seen whole, made smaller if they must be, and tiles are for vessels and the like. In
volumes, and where both thin and large labels are there, `THINNEST` pixels must do. Tiles are no finer than
their thinnest label needs.

SAM attends within windows of 14×14 tokens of 16 pixels: sizes whose token grid is no multiple of 14 pay for
padding above 224.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from balrsam_pipeline.plan import Surroundings
from planners.hardware import Hardware
from planners.rules import Decision
from planners.rules.slices import MIXED, Slices

SIDES = (112, 224, 448, 672, 896)
TOKEN = 16
UPSAMPLING = (4, 2, 1)  # whole factors, so that voxels fall on input pixels alike
THIN = 4.0  # input pixels across the thinnest label; below, a slice is not made smaller but cut into tiles,
# but in volumes, and where a tile is less than this many times as large as the thickest label, as few pixels
# will do: what a voxel of a body shows depends on where it lies. Rims of kidneys, 5 voxels thick in slices
# of 512, score 0.49 at 2.1 pixels and 0.43 in tiles, the organs beside them 0.80 and 0.58, rims as the only
# label 0.45 and 0.36 (docs/benchmarks.md)
TILE_LABELS, THINNEST = 2.0, 2.0
# tiles are cut from slices made so much smaller that the thinnest label spans this many pixels, if that is
# worth a resampling: surroundings for resolution that nothing needs
TILE_ACROSS, COARSER = 8.0, 1.5
# a slice seen whole may lose this much resolution for the next smaller side: a third of the tokens for it
SHRINK_TO = 0.85
# of the smallest side; a whole factor that fills less leaves too few tokens, so the slice is scaled to the
# side
FILLED = 0.75

# on a CPU
CPU_COVER = 0.85  # a patch may be this much smaller than the slice along an axis, at the price of two tiles,
CPU_SAVING = 1 / 3  # where that saves at least this share of the tokens along it,
CPU_FEW_TOKENS = 9  # unless the whole slice has no more than these: one tile is quicker to predict than four
CPU_TILE = 128  # many small tiles teach more in the same time than few large ones (docs/benchmarks.md)

# whole slices on the smallest of these sides that leaves the thinnest label this thick: fetal heads (56
# cases, a
# small convolutional network) scored 0.946 in 77 core-seconds at 96 × 128, and with 5 cases 0.906 in 40 at
# 96 × 128 against 0.889 in 150 at 192 × 256
CPU_SIDES = (160, 224)
CPU_COMFORT = 32.0

# beside an encoder that sees each slice once
MOST_LARGER = 1.5  # patches hold the largest slice whole, unless it is this much larger than the median

# adapted: a frozen encoder knows structures that span several tokens, so small slices are enlarged,
ENLARGE = 8.0  # but a voxel becomes no larger than half a token

WIDER: tuple[Surroundings, ...] = (2, 4, 8)  # than a tile: the least that shows all of a slice

_LARGEST_BY_GB = ((16.0, 896), (8.0, 672), (0.0, 448))  # of memory, as cards are sold


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How a slice gets into the network.

    Attributes:
        patch: (y, x) in voxels of the spacing that slices are preprocessed to.
        input: (y, x) in network pixels.
        shrink: how many times coarser than the target spacing slices are preprocessed.
        fitted: whether each image is resized by itself so that it just fits the patch, or `frame` where a
            patch is a tile of it.
        whole: whether a patch shows all of a slice; else it is a tile of it.
    """

    patch: tuple[int, int]
    input: tuple[int, int]
    shrink: float = 1.0
    fitted: bool = False
    whole: bool = True
    frame: tuple[int, int] = (0, 0)

    @property
    def scale(self) -> float:
        """Input pixels per voxel of the target spacing, along the longer side."""
        return max(self.input) / max(self.patch) / self.shrink

    def coarser(self, spacing_mm: tuple[float, float, float], *, across: bool) -> tuple[float, float, float]:
        """The spacing, slice axis first, that slices are preprocessed to; `across` changes that axis too."""
        first, second, third = spacing_mm
        return first * (self.shrink if across else 1), second * self.shrink, third * self.shrink

    @property
    def coarser_reason(self) -> str:
        """What that adds to the reason for the spacing."""
        if self.shrink <= 1:
            return ""
        why = "slices are seen whole" if self.whole else "tiles need no more"
        return f"; made {self.shrink:.2f} times coarser, since {why} (see what the network sees)"


def largest_side(hardware: Hardware) -> int:
    """The longest input side worth planning: 224 on a CPU, where tokens are what training time goes into;
    more with memory."""
    if hardware.gpu_memory_gb is None:
        return 224
    return next(side for needed, side in _LARGEST_BY_GB if hardware.is_sold_with(needed))


def memory_reason(hardware: Hardware, side: int) -> str:
    """What a GPU's memory adds to the reason of a size that would be another at a longer side than `side`."""
    memory = f"{hardware.gpu_memory_gb or 0:.3g} GB"
    if side == largest_side(hardware):
        return f"; a GPU of {memory}: at most {side}"
    return f"; at {SIDES[SIDES.index(side) + 1]} too few samples fit into {memory}"


def input_size(
    slices: Slices,
    thickness_px: float,
    largest: int,
    *,
    thickest_px: float = 0.0,
    cpu: bool = False,
    adapted: bool = False,
    once: bool = False,
    ordered: bool = False,
) -> Decision[Size]:
    """Choose patch and input size.

    Args:
        slices: the dataset's slices.
        thickness_px: of the thinnest label, in voxels of the target spacing.
        largest: the longest input side that the hardware allows.
        thickest_px: of the thickest label, in voxels of the target spacing.
        cpu: whether a CPU trains, for which small slices are not enlarged.
        adapted: whether a frozen encoder is adapted, for which small slices are enlarged.
        once: whether a frozen encoder runs once for each slice before training, so that patches hold slices
            whole, and are no smaller than they must: it knows structures at the resolution of its training.
        ordered: whether labels lie in one order from top to bottom in nearly all pictures, as layers of a
            retina do.
    """
    slices = _holding_all(slices, largest) if once else slices
    longest = slices.longest
    if longest <= min(SIDES[1], largest) and not slices.mixed:
        if adapted:
            return _enlarged(slices, largest)
        return _native(slices, whole=once) if cpu else _small(slices)
    fitting = [side for side in SIDES if side >= SHRINK_TO * longest and side <= largest]
    if fitting:
        side = largest if adapted and ENLARGE * longest >= largest else fitting[0]
        return _whole(slices, side, f"{slices} are seen whole")
    tile = CPU_TILE if cpu else largest
    large = thickest_px * TILE_LABELS > tile * _coarser(slices, thickness_px)
    least = THINNEST if large or ordered or not slices.pictures else THIN
    if thickness_px * largest / longest < least:
        return _tiled(slices, thickness_px, tile, least, largest)
    side = _cpu_side(slices, thickness_px, largest) if cpu and not once else largest
    return _whole(
        slices,
        side,
        f"{slices} are seen whole but smaller: at {side} pixels the thinnest label "
        f"({thickness_px:.1f} voxels) still spans {thickness_px * side / longest:.1f}, and what a pixel "
        "shows depends on its surroundings",
    )


def _tiled(slices: Slices, thickness_px: float, tile: int, least: float, largest: int) -> Decision[Size]:
    """Tiles of a side of `tile` pixels, no finer than their thinnest label needs; whole at `largest` pixels
    it would span less than `least`."""
    coarser = _coarser(slices, thickness_px)
    seen = replace(slices, yx=(math.ceil(slices.yx[0] / coarser), math.ceil(slices.yx[1] / coarser)))
    fineness = (
        "at full resolution"
        if coarser == 1
        else f"of slices made {coarser:.1f} times smaller, in which it spans {TILE_ACROSS:g} and a tile "
        f"shows {tile * coarser:.0f} voxels"
    )
    small = ", small ones, since on a CPU more steps are worth more than pixels" if tile < largest else ""
    return Decision(
        replace(_tiles(seen, tile), shrink=coarser),
        f"{slices} seen whole at {largest} pixels would leave "
        f"{thickness_px * largest / slices.longest:.1f} pixels of the thinnest label "
        f"({thickness_px:.1f} voxels), under {least:g}: tiles {fineness}{small}{_resized(seen)}",
    )


def _coarser(slices: Slices, thickness_px: float) -> float:
    """How many times smaller slices are made before tiles are cut; pictures of mixed sizes have no common
    scale, unless they are resized by themselves."""
    coarser = thickness_px / TILE_ACROSS
    return coarser if coarser >= COARSER and (slices.scaled or not slices.mixed) else 1.0


def _cpu_side(slices: Slices, thickness_px: float, largest: int) -> int:
    """The smallest side at which the thinnest label is still comfortably thick: more steps in the same
    time."""
    thick = (side for side in CPU_SIDES if thickness_px * side / slices.longest >= CPU_COMFORT)
    return min(next(thick, largest), largest)


def _holding_all(slices: Slices, largest: int) -> Slices:
    """The same with the size of the largest slice, so that a patch holds any whole: an encoder that runs once
    for each slice has one view of it. Pictures of which one is much larger are resized by themselves, as all
    are that an input of `largest` pixels does not hold."""
    larger = max(slices.largest_yx) / slices.longest
    outgrown = slices.pictures and larger > MIXED and max(slices.largest_yx) > largest >= slices.longest
    if slices.mixed or not larger or larger > MOST_LARGER or outgrown:
        return replace(slices, spread=max(slices.spread, larger))
    return slices if slices.pictures and slices.longest > largest else replace(slices, yx=slices.largest_yx)


def given_input_size(side: int, slices: Slices) -> Decision[Size]:
    """Whole slices at an input side that the user names."""
    return _whole(slices, side, f"whole slices at an input side of {side} were asked for")


def given_tiles(side: int, slices: Slices) -> Decision[Size]:
    """Tiles at full resolution of a side that the user names."""
    return Decision(_tiles(slices, side), f"tiles of {side} pixels were asked for{_resized(slices)}")


def surroundings(size: Size, slices: Slices) -> Decision[Surroundings]:
    """How many times wider than a tile a second view of the slice about it is; 0 where patches show all, and
    in pictures, whose tiles show vessels and cells, which look alike wherever they lie."""
    if size.whole or slices.pictures:
        return Decision(0, "")
    longest = slices.longest / size.shrink
    times = next((times for times in WIDER if times * min(size.patch) >= longest), WIDER[-1])
    return Decision(
        times,
        f"; beside each tile the network sees its surroundings, {times} times as wide, shrunk to its size, "
        "so that a tile knows where it is",
    )


def _tiles(slices: Slices, side: int) -> Size:
    patch = (min(side, _up(slices.yx[0])), min(side, _up(slices.yx[1])))
    whole = patch[0] >= slices.yx[0] and patch[1] >= slices.yx[1]
    if not (slices.mixed and slices.scaled):
        return Size(patch=patch, input=patch, whole=whole)
    frame = (round(slices.longest * slices.frame_yx[0]), round(slices.longest * slices.frame_yx[1]))
    return Size(patch=patch, input=patch, whole=whole, fitted=True, frame=frame)


def _resized(slices: Slices) -> str:
    """What `_tiles` does to pictures of mixed sizes first, in words."""
    if not (slices.mixed and slices.scaled):
        return ""
    return (
        f"; each picture is resized by itself to {slices.longest}, since structures are larger in larger ones"
    )


def _small(slices: Slices) -> Decision[Size]:
    """Whole slices within one window of 14×14 tokens: no padding is paid, so both sides are just as long as
    needed."""
    side = SIDES[0] if slices.longest <= SIDES[0] else SIDES[1]
    factor = next(factor for factor in UPSAMPLING if factor * slices.longest <= side)
    if side == SIDES[0] and factor * slices.longest < FILLED * side:
        return _whole(slices, side, f"{slices} are seen whole")
    input_y, input_x = (_up(factor * size) for size in slices.yx)
    enlarged = f", enlarged {factor} times, since tokens cover 16 pixels" if factor > 1 else ""
    return Decision(
        Size(patch=(input_y // factor, input_x // factor), input=(input_y, input_x)),
        f"{slices} are seen whole{enlarged}; few tokens make training quick",
    )


def _enlarged(slices: Slices, largest: int) -> Decision[Size]:
    """Small slices for a frozen encoder: as large as the hardware allows, a voxel half a token at most."""
    reach = ENLARGE * slices.longest
    side = next((side for side in SIDES if side >= reach), largest)
    return _whole(
        slices,
        min(side, largest),
        f"{slices} are seen whole, enlarged, since a frozen encoder knows structures that span its 16-pixel "
        "tokens",
    )


def _native(slices: Slices, *, whole: bool) -> Decision[Size]:
    """Small slices on a CPU: not enlarged, and without a row of tokens for their last few voxels where that
    saves much."""
    y, x = (_up(size) for size in slices.yx)
    if (y // TOKEN) * (x // TOKEN) > CPU_FEW_TOKENS and not whole:
        y, x = (_without_last_row(size) for size in slices.yx)
    seen = (
        "whole"
        if y >= slices.yx[0] and x >= slices.yx[1]
        else f"nearly whole, in overlapping tiles of {y} × {x}"
    )
    return Decision(
        Size(patch=(y, x), input=(y, x)),
        f"{slices} are seen {seen}, not enlarged: on a CPU few tokens make training quick, and more steps "
        "are "
        "worth more than pixels",
    )


def _without_last_row(size: int) -> int:
    whole, shorter = _up(size), _up(math.ceil(CPU_COVER * size))
    return shorter if whole - shorter >= CPU_SAVING * whole - 1e-6 else whole


def _whole(slices: Slices, side: int, reason: str) -> Decision[Size]:
    """Whole slices on a longer side of `side` pixels: resized in preprocessing where they get smaller, inside
    the network where they get larger."""
    scale = side / slices.longest
    padding = f"; a side of {side} pixels pays for no padded window" if side in SIDES else ""
    if slices.pictures and (scale < 1 or slices.mixed):
        frame = (_up_near(side * slices.frame_yx[0]), _up_near(side * slices.frame_yx[1]))
        frame = (min(side, frame[0]), min(side, frame[1]))
        stored = min(side, max(slices.largest_yx) or side)
        patch = (_voxels(frame[0], side / stored), _voxels(frame[1], side / stored))
        up_to = f" to {stored} pixels, as many as the largest has" if stored < side else ""
        each = f"each resized by itself{up_to}, since their sizes differ, " if slices.mixed else ""
        return Decision(
            Size(patch=patch, input=frame, shrink=side / stored / scale, fitted=True),
            f"{reason}, {each}{scale:.2f} input pixels per pixel{padding}",
        )
    sizes = [side if size == slices.longest else min(side, _up_near(size * scale)) for size in slices.yx]
    pixels = (sizes[0], sizes[1])
    if scale < 1:
        size = Size(patch=pixels, input=pixels, shrink=1 / scale)
    else:
        size = Size(patch=(_voxels(pixels[0], scale), _voxels(pixels[1], scale)), input=pixels)
    return Decision(size, f"{reason}, {scale:.2f} input pixels per voxel{padding}")


def _voxels(pixels: int, scale: float) -> int:
    return max(1, round(pixels / scale))


def _up(size: int) -> int:
    return math.ceil(size / TOKEN) * TOKEN


def _up_near(size: float) -> int:
    return _up(max(1, math.ceil(size - 1e-6)))
