"""Connected components against SciPy's, of masks nearly full of isolated voxels too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from balrsam_pipeline.voxels.components import connected_components

CORNERS = np.ones((3, 3, 3))


@given(mask=hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.booleans()))
@example(mask=np.array([[[True, False, True, False, True]]]))
@settings(deadline=None, max_examples=80)
def test_components_are_those_of_scipy(mask: np.ndarray) -> None:
    found, count = connected_components(mask)
    expected, number = ndimage.label(mask, structure=CORNERS)
    assert count == number and found.shape == mask.shape
    pairs = set(zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(found)) == len(np.unique(expected)), "the same, numbered otherwise"
    assert ((found == 0) == ~mask).all()


@pytest.mark.parametrize("shape", [(1, 64, 64), (33, 32, 31), (1, 1, 99)])
def test_every_other_voxel_is_a_component(shape: tuple[int, int, int]) -> None:
    mask = np.zeros(shape, dtype=bool)
    mask[::2, ::2, ::2] = True
    assert connected_components(mask)[1] == mask.sum()
