from __future__ import annotations

import dataclasses
import json
import math

import pytest

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.network import preset
from balrsam_pipeline.serialise import from_json, to_json
from trainers.augmentation_config import AugmentationConfig
from trainers.changed_settings import differences, with_defaults
from trainers.config import LossConfig, TrainingConfig, read_training_config


def test_settings_survive_json():
    config = TrainingConfig(
        epochs=None,
        max_minutes=3.5,
        loss=LossConfig(boundary=0.1),
        augmentation=AugmentationConfig(mirroring=False),
    )
    assert from_json(TrainingConfig, json.loads(json.dumps(to_json(config))), "here", TrainingError) == config


def test_a_settings_file_names_only_what_differs_and_unknown_names_are_refused(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"learning_rate": 0.01, "loss": {"dice": 2}}')
    assert read_training_config(path) == TrainingConfig(learning_rate=0.01, loss=LossConfig(dice=2.0))
    path.write_text('{"lerning_rate": 0.01}')
    with pytest.raises(TrainingError, match="lerning_rate"):
        read_training_config(path)


@pytest.mark.parametrize(
    "setting",
    [
        {"epochs": 0},
        {"max_minutes": -1},
        {"learning_rate": 0},
        {"ema_width": 0},
        {"gradient_clip": -1},
        {"budget_clock": "sun"},
        {"freeze": "some"},
        {"seed": -1},
        {"weight_decay": -0.1},
        {"poly_exponent": -1.0},
        {"learning_rate": 1e9},
        {"batch_size": 10**9},
        {"quick_validation_patches": 10**9},
        {"max_minutes": math.inf},
        {"max_minutes": math.nan},
        {"seed": 99999999999999999999},
        {"save_every_s": -1.0},
        {"save_every_s": math.nan},
        {"save_every_s": math.inf},
        {"weight_decay": math.inf},
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(setting):
    with pytest.raises(TrainingError, match=next(iter(setting))):
        TrainingConfig(**setting)


@pytest.mark.parametrize(
    "setting",
    [
        {"scaling_range": (0.0, 1.0)},  # of nothing
        {"low_resolution_zoom": (0.0, 1.0)},
        {"low_resolution_zoom": (0.5, 1e4)},
        {"blur_sigma": (0.5, 1e9)},  # a kernel larger than memory
        {"gamma_range": (1.5, 0.7)},
        {"bias_field_strength": (0.0, 100.0)},  # a logarithm: overflows
        {"intensity_curve_strength": (0.0, 100.0)},
        {"translation_fraction": 1e9},
        {"rotation_degrees": -1.0},
    ],
)
def test_augmentation_that_makes_no_sense_is_refused_by_name(setting):
    with pytest.raises(TrainingError, match=next(iter(setting))):
        AugmentationConfig(**setting)


def test_runs_from_before_slices_were_shifted_go_on_without_shifts(make_configuration):
    before = to_json(TrainingConfig())
    del before["augmentation"]["translation_probability"]
    assert with_defaults(before)["augmentation"]["translation_probability"] == 0.0
    network = dataclasses.replace(make_configuration().network, backbone="vit_mini")
    completed = TrainingConfig().completed(dataclasses.replace(make_configuration(), network=network))
    assert completed.augmentation.translation_probability == 0.0


def test_runs_from_before_slices_were_bent_go_on_unbent():
    assert with_defaults({"augmentation": {}})["augmentation"]["elastic_probability"] == 0.0


def test_features_are_dropped_only_where_a_frozen_encoder_s_are_kept(make_configuration):
    assert with_defaults({})["feature_dropout"] == 0.0, "runs from before dropped none"
    scratch = make_configuration()
    assert TrainingConfig().completed(scratch).feature_dropout == 0.0
    network = dataclasses.replace(scratch.network, backbone="vit_t", decoder="pyramid", from_scratch=False)
    kept = dataclasses.replace(scratch, network=network)
    assert TrainingConfig().completed(kept).feature_dropout is None
    assert TrainingConfig(feature_dropout=0.25).completed(kept).feature_dropout == 0.25


@pytest.mark.parametrize(
    ("decoder", "stages", "cases", "rate"),
    [("pyramid", 0, 21, 3e-3), ("pyramid", 0, 20, 1e-3), ("pyramid", 1, 21, 3e-3), ("sam", 0, 21, 1e-3)],
)
def test_a_pyramid_beside_an_encoder_learns_fast_from_many_cases(
    make_configuration, decoder, stages, cases, rate
):
    scratch = make_configuration()
    network = dataclasses.replace(
        scratch.network, backbone="vit_t", decoder=decoder, from_scratch=False, adapted_stages=stages
    )
    kept = dataclasses.replace(scratch, network=network)
    assert TrainingConfig().completed(kept, cases=cases).learning_rate == rate


def test_the_plan_fills_in_batch_size_and_learning_rate(make_configuration):
    configuration = make_configuration(batch_size=7)
    completed = TrainingConfig().completed(configuration)
    assert (completed.batch_size, completed.learning_rate) == (7, 3e-3)
    adapted = dataclasses.replace(
        configuration, network=dataclasses.replace(configuration.network, from_scratch=False)
    )
    assert TrainingConfig().completed(adapted).learning_rate == 1e-3
    given = TrainingConfig(
        batch_size=2,
        learning_rate=0.5,
        augmentation=AugmentationConfig(
            rotation_degrees=90.0,
            rotation_probability=0.1,
            scaling_probability=0.1,
            intensity_curve_probability=0.1,
            elastic_probability=0.1,
            translation_probability=0.3,
        ),
    )
    assert given.completed(configuration) == dataclasses.replace(given, epochs=300, feature_dropout=0.0)
    assert dataclasses.replace(given, max_minutes=5.0).completed(configuration).budget_steps is None


@pytest.mark.parametrize(
    ("batch", "epochs", "samples"), [(24, 167, 400_800), (8, 500, 400_000), (2, 500, 100_000)]
)
def test_an_adapted_network_is_shown_as_many_samples_whatever_its_batch(
    make_configuration, batch, epochs, samples
):
    scratch = make_configuration(batch_size=batch)
    network = dataclasses.replace(scratch.network, from_scratch=False)
    adapted = TrainingConfig().completed(dataclasses.replace(scratch, network=network))
    assert (adapted.epochs, adapted.budget_steps * batch) == (epochs, samples)
    assert TrainingConfig().completed(scratch).epochs == 300
    assert dataclasses.replace(TrainingConfig(), epochs=7).completed(scratch).epochs == 7


@pytest.mark.parametrize("spacing_mm", [10.0, 999.0])
def test_what_lies_one_way_is_rotated_less(make_configuration, spacing_mm):
    """Half a turn of a picture that was flipped upside down is its mirror image from left to right."""
    body = make_configuration(mirror_axes=(2,), spacing_mm=(spacing_mm, 1.0, 1.0))
    cells = dataclasses.replace(body, mirror_axes=(1, 2))  # which lie any way
    assert TrainingConfig().completed(body).augmentation.rotation_degrees == 30.0
    assert TrainingConfig().completed(cells).augmentation.rotation_degrees is None


def test_differences_name_each_changed_setting():
    changed = differences(TrainingConfig(), TrainingConfig(seed=3, loss=LossConfig(dice=0.5)))
    assert changed == ["seed: 0 -> 3", "loss.dice: 1.0 -> 0.5"]
    assert differences(to_json(TrainingConfig()), TrainingConfig()) == []


def test_a_setting_that_did_not_exist_when_a_run_began_counts_as_its_default():
    former = to_json(TrainingConfig(seed=3))
    del former["augmentation"]["on_device"]
    del former["weight_decay"]
    assert differences(with_defaults(former), TrainingConfig(seed=3)) == []
    assert differences(with_defaults(former), TrainingConfig(seed=4)) == ["seed: 3 -> 4"]
    assert differences(with_defaults(former | {"gone": 1}), TrainingConfig(seed=3)) == ["gone: 1 -> None"]


def test_several_devices_each_take_the_plans_batch_with_a_higher_rate(make_configuration):
    configuration = make_configuration()
    one, four = (TrainingConfig().completed(configuration, ranks=ranks) for ranks in (1, 4))
    assert four.batch_size == 4 * one.batch_size
    assert four.learning_rate == pytest.approx(2 * one.learning_rate)


def test_a_batch_that_was_asked_for_is_divided_and_leaves_no_rank_without_a_sample(make_configuration):
    configuration = make_configuration()
    asked = TrainingConfig(batch_size=6).completed(configuration, ranks=4)
    assert (asked.batch_size, asked.learning_rate) == (
        6,
        TrainingConfig().completed(configuration).learning_rate,
    )
    assert TrainingConfig(batch_size=2).completed(configuration, ranks=4).batch_size == 4


def test_cuda_changes_intensities_itself_unless_the_loader_is_to():
    assert AugmentationConfig().on("cuda").on_device
    assert not AugmentationConfig().on("cuda", volumes=True).on_device
    assert not AugmentationConfig(in_loader=True).on("cuda").on_device
    assert not AugmentationConfig().on("cpu").on_device
    own = AugmentationConfig(extensions=("a_package:change",))
    assert not own.on("cuda").on_device, "they come after all others, in the loader"
    assert dataclasses.replace(own, on_device=True).on("cuda").on_device, "asked for"
    assert AugmentationConfig(on_device=True).on("cpu").on_device


@pytest.mark.parametrize(
    ("cases", "given", "spacing_mm", "strong"),
    [
        (27, {}, 10.0, True),
        (27, {"max_minutes": 10}, 10.0, True),
        (27, {"max_minutes": 9}, 10.0, False),  # too short for it
        (27, {"epochs": 20}, 10.0, False),
        (27, {"max_minutes": 60, "max_steps": 7999}, 10.0, False),
        (41, {}, 10.0, False),  # patients enough
        (0, {}, 10.0, False),  # not known
        (27, {}, 999.0, False),  # pictures
        (27, {}, 149.9, False),  # of pixels of 0.15 mm, seen smaller or not
    ],
)
def test_slices_of_few_volumes_are_changed_more_often_when_they_are_seen_for_long(
    make_configuration, cases, given, spacing_mm, strong
):
    network = preset("cnn", classes=2)
    configuration = dataclasses.replace(
        make_configuration(), network=network, spacing_mm=(spacing_mm, 1.0, 1.0)
    )
    found = TrainingConfig(**given).completed(configuration, cases=cases).augmentation
    names = ("rotation", "scaling", "intensity_curve", "elastic")
    chances = tuple(getattr(found, f"{name}_probability") for name in names)
    assert chances == ((0.5, 0.5, 0.3, 0.5) if strong else (0.2, 0.2, 0.0, 0.0))
    asked = TrainingConfig(augmentation=AugmentationConfig(rotation_probability=0.1), **given)
    assert asked.completed(configuration, cases=cases).augmentation.rotation_probability == 0.1
    ct = dataclasses.replace(configuration, normalization=("ct",))
    assert TrainingConfig(**given).completed(ct, cases=cases).augmentation.intensity_curve_probability == 0.0
    for backbone in ("vit_mini", "vit_t"):  # which were not tried
        other = dataclasses.replace(configuration, network=preset(backbone, classes=2))
        completed = TrainingConfig(**given).completed(other, cases=cases)
        assert completed.augmentation.elastic_probability == 0.0
