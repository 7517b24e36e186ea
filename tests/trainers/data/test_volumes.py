"""Samples and batches of volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.volumes import volume_configuration

from trainers.augmentation import Geometry3d, augment_volume
from trainers.augmentation_config import AugmentationConfig
from trainers.config import TrainingConfig
from trainers.data.loader import BatchSource
from trainers.data.patches import CachedSource, PatchReader, SliceSource
from trainers.data.sampling import Sample, Sampler, SamplingCase, fixed_samples

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = {"small": (6, 12, 10), "large": (20, 40, 36)}


@pytest.fixture
def store(make_store):  # type: ignore[no-untyped-def]
    return make_store(shapes=SHAPES)


def cases() -> tuple[SamplingCase, ...]:
    return tuple(SamplingCase(case=case, shape_zyx=shape) for case, shape in SHAPES.items())


def sampler(store: SliceSource, **changes: object) -> Sampler:
    return Sampler(cases(), store.foreground, volume_configuration(), TrainingConfig(**changes))  # type: ignore[arg-type]


def test_patches_lie_inside_large_volumes_and_about_small_ones(store: SliceSource) -> None:
    for index in range(60):
        sample = sampler(store).draw(0, index)
        corner, shape = (sample.slice_index, *sample.corner_yx), SHAPES[sample.case]
        for start, length, size in zip(corner, shape, (8, 16, 16), strict=True):
            assert 0 <= start <= length - size if length >= size else start == -((size - length) // 2)


def test_a_sample_is_a_function_of_seed_epoch_and_index(store: SliceSource) -> None:
    drawn = sampler(store).draw(3, 5)
    assert drawn == sampler(store).draw(3, 5)
    assert drawn != sampler(store).draw(3, 6)
    assert drawn != sampler(store, seed=1).draw(3, 5)


def test_foreground_is_in_every_sample_that_is_centred_on_it(store: SliceSource) -> None:
    drawn = sampler(store, foreground_fraction=1.0)
    reader = PatchReader(store, volume_configuration(), AugmentationConfig(enabled=False))
    for index in range(20):
        sample = drawn.draw(0, index)
        plain = Sample(
            case=sample.case,
            axis=0,
            slice_index=sample.slice_index,
            corner_yx=sample.corner_yx,
            volume=Geometry3d(),
        )
        assert reader.read(plain)[1].any()


def test_a_cache_reads_what_the_store_reads(store: SliceSource) -> None:
    for source in (store, CachedSource(store)):
        reader = PatchReader(source, volume_configuration(), AugmentationConfig())
        image, label = reader.read(sampler(store).draw(0, 7))
        assert image.shape == (1, 8, 16, 16) and label.shape == (8, 16, 16)
        assert image.dtype == np.float32 and label.dtype == np.int16
        first = (image, label) if source is store else first  # noqa: F821
        np.testing.assert_array_equal(image, first[0])
        np.testing.assert_array_equal(label, first[1])


def test_a_batch_stacks_volumes(store: SliceSource) -> None:
    reader = PatchReader(store, volume_configuration(), AugmentationConfig())
    batch = BatchSource(sampler(store, batch_size=3), reader, 3).make(0)
    assert batch.image_bchw.shape == (3, 1, 8, 16, 16)
    assert batch.label_bhw.shape == (3, 8, 16, 16)


def test_quick_validation_sees_each_case_about_its_foreground(store: SliceSource) -> None:
    samples = fixed_samples(cases(), store.foreground, volume_configuration(), 4)
    reader = PatchReader(store, volume_configuration(), AugmentationConfig(enabled=False))
    assert [sample.case for sample in samples] == ["small", "large", "large"]  # the small one is seen whole
    assert all(reader.read(sample)[1].any() for sample in samples)


def test_blur_reaches_across_slices_only_where_they_are_near() -> None:
    image = np.zeros((1, 5, 5, 5), np.float32)
    image[0, 2] = 1.0
    only_blur = {f"{name}_probability": 0.0 for name in ("noise", "brightness", "contrast", "low_resolution")}
    config = AugmentationConfig(
        blur_probability=1.0, inverted_gamma_probability=0.0, gamma_probability=0.0, **only_blur
    )
    seed = next(
        seed for seed in range(50) if augment_volume(image.copy(), seed, config, across=True)[0, 1].any()
    )
    assert not augment_volume(image.copy(), seed, config, across=False)[0, 1].any()


def test_stores_give_boxes(tmp_path: Path) -> None:
    from support.plans import example_plan
    from support.volumes import volume_configuration as configuration_of

    from balrsam_pipeline.preprocessing import CaseStore, store_folder

    triplanar = example_plan().configurations["2d"]
    assert store_folder(tmp_path, configuration_of()) == tmp_path / "triplanar"
    assert store_folder(tmp_path, triplanar) == tmp_path / "2d"
    assert CaseStore(tmp_path).cases == ()
