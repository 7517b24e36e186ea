from __future__ import annotations

import numpy as np
import pytest

from trainers.augmentation import Geometry2d
from trainers.augmentation_config import AugmentationConfig
from trainers.data.patches import CachedSource, PatchReader
from trainers.data.sampling import Sample


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("context", [0, 1, 2])
def test_the_cached_source_reads_what_the_store_reads(make_store, axis, context):
    store = make_store(channels=2)
    cached = CachedSource(store)
    for index in range(store.shape("case_a")[axis]):
        expected = store.read_slice("case_a", index, context, axis)
        np.testing.assert_array_equal(cached.read_slice("case_a", index, context, axis), expected)
        np.testing.assert_array_equal(
            cached.read_label_slice("case_a", index, axis), store.read_label_slice("case_a", index, axis)
        )


def test_mirroring_across_slices_reverses_the_neighbours(make_store, make_configuration):
    store = make_store(channels=2)
    configuration = make_configuration(context_slices=1, channels=2, patch_size=(20, 14))
    reader = PatchReader(store, configuration, AugmentationConfig(enabled=False))
    plain, _ = reader.read(Sample(case="case_a", axis=0, slice_index=4, corner_yx=(0, 0)))
    mirrored, _ = reader.read(
        Sample(
            case="case_a",
            axis=0,
            slice_index=4,
            corner_yx=(0, 0),
            geometry=Geometry2d(mirror=(True, False, False)),
        )
    )
    np.testing.assert_array_equal(mirrored[:2], plain[4:])
    np.testing.assert_array_equal(mirrored[2:4], plain[2:4])
    np.testing.assert_array_equal(mirrored[4:], plain[:2])
