"""From an image's own grid to the preprocessed one and back: crop box, transposed axes, shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGrid:
    """Where preprocessed voxels lie in the image they come from.

    Attributes:
        shape_zyx: the image's own shape.
        crop_zyx: (start, stop) on each of its axes of the box that was preprocessed.
        transpose: order of its axes after preprocessing.
    """

    shape_zyx: tuple[int, int, int]
    crop_zyx: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    transpose: tuple[int, int, int]

    @property
    def cropped_shape(self) -> tuple[int, int, int]:
        """Shape of the crop box, axes transposed."""
        sizes = [stop - start for start, stop in self.crop_zyx]
        first, second, third = (sizes[axis] for axis in self.transpose)
        return first, second, third

    def cropped_view(self, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The crop box of an array (…, z, y, x) on the image's grid, axes transposed; a view, so it can be written to."""
        lead = array.ndim - 3
        box = (*[slice(None)] * lead, *(slice(start, stop) for start, stop in self.crop_zyx))
        return array[box].transpose((*range(lead), *(lead + axis for axis in self.transpose)))
