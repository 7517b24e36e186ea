"""Augmented copies that an encoder sees: as many as there is time for, always the same, shown as encoded."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from balrsam_pipeline.layout import PreprocessedFolder
from balrsam_pipeline.plan import json_sha256
from balrsam_pipeline.serialise import to_json
from trainers.augmentation import Geometry2d
from trainers.augmentation_config import AugmentationConfig
from trainers.config import TrainingConfig
from trainers.data.feature_copies import FeatureCopies, copies_name, dropout, how_many
from trainers.data.kept_features import KeptFeatures
from trainers.data.patches import PatchReader
from trainers.data.sampling import Sample

# what is encoded is seen without a change of intensities, so that maps can be compared with the picture
FROZEN = {"encoder_shrink": 1, "adapted_stages": 0}
LAST_STAGE = {
    "encoder_shrink": 2,
    "adapted_stages": 1,
    "decoder": "pyramid",
    "backbone": "vit_t",
    "from_scratch": False,
}
GEOMETRY_ALONE = AugmentationConfig(
    noise_probability=0,
    blur_probability=0,
    brightness_probability=0,
    contrast_probability=0,
    low_resolution_probability=0,
    inverted_gamma_probability=0,
    gamma_probability=0,
)


@pytest.fixture
def planned_with(make_configuration):
    """A configuration of pictures of 224 × 224 for an encoder as given."""

    def make(beside):
        configuration = make_configuration(channels=3)
        network = dataclasses.replace(configuration.network, input_size=(224, 224), **beside)
        return dataclasses.replace(configuration, network=network)

    return make


@pytest.fixture
def reader(make_store, make_configuration) -> PatchReader:
    configuration = make_configuration(channels=3, patch_size=(24, 16))
    return PatchReader(make_store(3), configuration, AugmentationConfig(enabled=False))


def keeping(
    reader: PatchReader, folder: Path, copies: FeatureCopies, shapes: tuple[tuple[int, ...], ...] = ()
) -> KeptFeatures:
    """Keeps pictures themselves, as an encoder whose maps are the picture would have it."""
    return KeptFeatures(
        preprocessed=PreprocessedFolder(folder),
        key="encoder",
        reader=reader,
        encode=lambda image_chw: (torch.from_numpy(image_chw).permute(1, 2, 0),),
        content=str,
        dtype=torch.float32,
        copies=copies,
        shapes=shapes,
    )


@pytest.fixture
def kept(reader: PatchReader, tmp_path: Path) -> KeptFeatures:
    """The picture and three copies."""
    return keeping(reader, tmp_path, FeatureCopies(count=3, reader=reader, augmentation=GEOMETRY_ALONE))


def sample(view: float, mirror: tuple[bool, bool, bool] = (False, False, False)) -> Sample:
    geometry = Geometry2d(angle=0.2, mirror=mirror)
    return Sample(
        case="case_a",
        axis=0,
        slice_index=4,
        corner_yx=(-2, -1),
        geometry=geometry,
        view=view,
        intensity_seed=7,
    )


@pytest.mark.parametrize("mirror", [(False, False, False), (False, True, False), (True, True, True)])
@pytest.mark.parametrize("view", [0.26, 0.51, 0.99])
def test_the_picture_beside_a_copy_shows_what_the_encoder_saw(kept, reader, view, mirror):
    shown = kept.shown(sample(view, mirror))
    (maps_hwc,) = kept.read(shown)
    image_chw, _ = reader.read(shown)
    np.testing.assert_allclose(maps_hwc.permute(2, 0, 1).numpy(), image_chw, atol=1e-5)


def test_copies_differ_and_stay_as_they_are(kept, reader):
    numbers = [kept.copies.number(sample(view)) for view in (0.0, 0.24, 0.26, 0.6, 0.99)]
    assert numbers == [0, 0, 1, 2, 3]
    pictures = [reader.read(kept.shown(sample(view)))[0] for view in (0.0, 0.26, 0.6, 0.99)]
    assert len({picture.tobytes() for picture in pictures}) == 4
    again = dataclasses.replace(sample(0.26), geometry=Geometry2d(angle=-1.0), intensity_seed=99)
    np.testing.assert_array_equal(reader.read(kept.shown(again))[0], pictures[1])


@pytest.mark.parametrize("probability", [None, 0.1, 0.9])
def test_copies_are_moved_more_often_than_samples_but_not_what_settings_leave_still(reader, probability):
    still = dataclasses.replace(GEOMETRY_ALONE, rotation_probability=0.0, scaling_probability=probability)
    copies = FeatureCopies(count=1, reader=reader, augmentation=still)
    asked = [dataclasses.replace(sample(0.6), slice_index=index) for index in range(300)]
    shown = [copies.shown(each, (0, 0)).geometry for each in asked]
    assert {geometry.angle for geometry in shown} == {0.0}
    scaled = np.mean([geometry.scale != 1.0 for geometry in shown])
    assert scaled == pytest.approx(0.6, abs=4 * np.sqrt(0.6 * 0.4 / 300))


def test_maps_kept_where_still_copies_were_moved_are_not_read_again():
    """Until copies heeded a probability of 0, names were hashes of the settings alone."""
    still = AugmentationConfig(rotation_probability=0.0, scaling_probability=0.0)
    assert copies_name(still) != json_sha256(to_json(still))[: len(copies_name(still))]


def test_the_unaugmented_copy_is_moved_as_before(kept):
    assert kept.shown(sample(0.1)) == sample(0.1)


def test_what_shows_maps_is_not_bent_and_what_shows_none_is(kept):
    bent = dataclasses.replace(sample(0.1), geometry=Geometry2d(angle=0.2, bend=(0.1, -0.2)))
    assert kept.shown(bent).geometry == Geometry2d(angle=0.2)
    kept = dataclasses.replace(kept, copies=dataclasses.replace(kept.copies, without=0.95))
    assert kept.shown(bent).geometry.bend == bent.geometry.bend


def test_a_share_of_the_samples_shows_the_picture_alone_augmented_freely(kept):
    kept = dataclasses.replace(
        kept, copies=dataclasses.replace(kept.copies, without=0.5), shapes=((24, 16, 3),)
    )
    numbers = [kept.copies.number(sample(view)) for view in (0.0, 0.12, 0.13, 0.3, 0.49, 0.5, 0.99)]
    assert numbers == [0, 0, 1, 2, 3, None, None]
    alone = sample(0.7)
    assert kept.shown(alone) is alone
    (maps_hwc,) = kept.read(alone)
    assert maps_hwc.shape == (24, 16, 3) and not maps_hwc.any()
    (of_another,) = kept.read(kept.shown(sample(0.1)))
    assert of_another.shape == maps_hwc.shape and of_another.any()
    assert kept.filling.made == 1, "nothing is encoded for a sample without maps"


def test_each_copy_has_a_file_and_other_augmentation_others(kept, reader, tmp_path):
    for view in (0.0, 0.26, 0.6, 0.99, 0.27):
        kept.read(kept.shown(sample(view)))
    names = {path.name for path in (tmp_path / "features" / "encoder" / "case_a").iterdir()}
    assert len(names) == 4 and "0_4.safetensors" in names
    changed = dataclasses.replace(GEOMETRY_ALONE, scaling_range=(0.5, 2.0))
    other = dataclasses.replace(
        kept, copies=FeatureCopies(count=3, reader=reader, augmentation=changed), _sound=set()
    )
    other.read(other.shown(sample(0.26)))
    assert len(list((tmp_path / "features" / "encoder" / "case_a").iterdir())) == 5


@pytest.mark.parametrize(
    ("minutes", "slices", "beside", "expected"),
    [
        (2.5, 83, FROZEN, 0),  # 83 slices take 67 s: more than a quarter of the time for one view of each
        (10, 83, FROZEN, 1),  # 150 s for two views of 67 s
        (5, 5, FROZEN, 7),
        (None, 1000, FROZEN, 7),  # no limit of time
        (5, 83, LAST_STAGE, 5),  # 75 s for six views of 69 % of 17 s
    ],
)
def test_as_many_copies_as_a_quarter_of_the_time_encodes(planned_with, minutes, slices, beside, expected):
    configuration, config = planned_with(beside), TrainingConfig(max_minutes=minutes)
    assert how_many(configuration, config, slices) == expected
    off = dataclasses.replace(config, augmentation=AugmentationConfig(enabled=False))
    assert how_many(configuration, off, slices) == 0


def test_few_slices_train_without_their_maps_more_often():
    shares = [dropout(TrainingConfig(), slices) for slices in (1, 5, 20, 40, 1000)]
    assert shares == [0.5, 0.5, 0.5, 0.25, 0.01]
    assert dropout(TrainingConfig(feature_dropout=0.0), 5) == 0.0


@pytest.fixture
def tiles(make_store, make_configuration, tmp_path: Path) -> KeptFeatures:
    """Three tiles of each slice; half of the samples show none of them."""
    configuration = make_configuration(channels=3, patch_size=(8, 8))
    reader = PatchReader(make_store(3), configuration, AugmentationConfig(enabled=False))
    copies = FeatureCopies(count=3, reader=reader, augmentation=GEOMETRY_ALONE, without=0.5, tiles=True)
    return keeping(reader, tmp_path, copies, ((8, 8, 3),))


@pytest.mark.parametrize("mirror", [(False, False, False), (False, True, False), (True, True, True)])
@pytest.mark.parametrize("view", [0.01, 0.26, 0.49])
def test_a_tile_has_a_place_of_its_own_and_shows_what_the_encoder_saw(tiles, view, mirror):
    asked = dataclasses.replace(sample(view, mirror), corner_yx=(1, 2))
    shown, elsewhere = tiles.shown(asked), tiles.shown(dataclasses.replace(asked, corner_yx=(3, 0)))
    assert shown == elsewhere, "wherever the sample was drawn"
    down, right = tiles.reader.room(asked)
    assert 0 <= shown.corner_yx[0] <= down and 0 <= shown.corner_yx[1] <= right
    (maps_hwc,) = tiles.read(shown)
    image_chw, _ = tiles.reader.read(shown)
    np.testing.assert_allclose(maps_hwc.permute(2, 0, 1).numpy(), image_chw, atol=1e-5)


def test_samples_of_quick_validation_keep_their_places_and_have_files_of_their_own(tiles):
    places = [(0, 0), (1, 2), (4, 1)]
    for place in places:
        fixed = dataclasses.replace(sample(0.0), corner_yx=place, geometry=Geometry2d(), intensity_seed=None)
        assert tiles.shown(fixed) == fixed
        (maps_hwc,) = tiles.read(fixed)
        np.testing.assert_array_equal(maps_hwc.permute(2, 0, 1).numpy(), tiles.reader.read(fixed)[0])
    for view in (0.01, 0.2, 0.4, 0.45):
        tiles.read(tiles.shown(sample(view)))
    assert tiles.filling.made == len(places) + 3
    free = sample(0.7)
    assert tiles.shown(free) is free and not tiles.read(free)[0].any()


def test_tiles_are_as_many_as_the_time_encodes_and_cover_a_slice_eight_times_at_most(make_configuration):
    configuration = make_configuration(channels=3)
    network = dataclasses.replace(configuration.network, input_size=(128, 128), **FROZEN)
    configuration = dataclasses.replace(configuration, network=network)
    counts = [
        how_many(configuration, TrainingConfig(max_minutes=minutes), 16, covering=20.0)
        for minutes in (0.1, 10, 20, 10_000, None)
    ]
    assert counts == [0, 35, 71, 160, 160]  # 16 tiles take 4.2 s
    assert dropout(TrainingConfig(), 1000, tiles=True) == 0.5
