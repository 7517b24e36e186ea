from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from balrsam_pipeline.inference.sliding_window import Mirror, SliceSettings, slice_logits
from balrsam_pipeline.inference.tiling import padding, tiles
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


@torch.inference_mode()
@pytest.mark.parametrize("context", [0, 1])
def test_training_and_prediction_see_the_same_of_a_tile_and_its_surroundings(
    make_store, make_configuration, context
):
    store = make_store(channels=2)
    configuration = make_configuration(context_slices=context, channels=2, patch_size=(16, 16))
    network = dataclasses.replace(
        configuration.network, backbone="cnn", from_scratch=True, decoder="pyramid", surroundings=2
    )
    network = dataclasses.replace(network, input_channels=2 * 2 * (2 * context + 1))
    configuration = dataclasses.replace(configuration, network=network)
    reader = PatchReader(store, configuration, AugmentationConfig(enabled=False))
    seen = []

    def remember(batch_bchw):
        seen.append(batch_bchw.numpy())
        return batch_bchw[:, :1]

    volume_dchw = torch.from_numpy(store.read_image("case_a")).movedim(1, 0)
    settings = SliceSettings(
        patch_size=(16, 16),
        tile_step=0.5,
        batch_size=1,
        context_slices=context,
        mirrors=(Mirror(),),
        surroundings=2,
    )
    slice_logits([remember], volume_dchw, (3, 4), settings)
    places = tiles(tuple(max(16, side) for side in volume_dchw.shape[2:]), (16, 16), 0.5)
    assert len(places) == len(seen) > 1
    above, left = (padding(side, 16)[0] for side in volume_dchw.shape[2:])
    for place, batch in zip(places, seen, strict=True):
        sample = Sample(case="case_a", axis=0, slice_index=3, corner_yx=(place.y - above, place.x - left))
        patch, _ = reader.read(sample)
        assert len(patch) == reader.channels
        np.testing.assert_allclose(batch[0], patch, atol=1e-6)
