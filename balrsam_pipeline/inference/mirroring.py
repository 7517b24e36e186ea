"""Which mirrored copies of a slice are predicted and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """One mirrored copy: `rows`/`columns` flip a slice's y/x, `context` reverses the order of its neighbours."""

    rows: bool = False
    columns: bool = False
    context: bool = False

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Dimensions of a (batch, channel, y, x) tensor to flip."""
        return ((2,) if self.rows else ()) + ((3,) if self.columns else ())


def mirrors(mirror_axes: Sequence[int], slicing_axis: int, context_slices: int) -> tuple[Mirror, ...]:
    """Every combination of the mirrors that change what the network sees, the unmirrored copy first.

    Mirroring along the slicing axis changes nothing for a slice alone, and the order of its neighbours where it has some.

    Args:
        mirror_axes: volume axes (0, 1, 2) on which the network was trained mirrored.
        slicing_axis: volume axis along which slices are cut.
        context_slices: neighbours on each side that the network sees.
    """
    rows_axis, columns_axis = (axis for axis in range(3) if axis != slicing_axis)
    flip_rows, flip_columns = rows_axis in mirror_axes, columns_axis in mirror_axes
    flip_context = context_slices > 0 and slicing_axis in mirror_axes
    choices = [(False, True) if flips else (False,) for flips in (flip_rows, flip_columns, flip_context)]
    return tuple(Mirror(rows=rows, columns=columns, context=context) for rows, columns, context in product(*choices))
