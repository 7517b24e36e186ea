from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.config import TrainingConfig
from trainers.data.sampling import Sampler, SamplingCase, centred_corner, fixed_samples


def make_sampler(store, configuration, **settings):
    cases = tuple(SamplingCase(case=case, shape_zyx=store.shape(case)) for case in store.cases)
    return Sampler(cases, store.foreground, configuration, TrainingConfig(**settings))


def test_a_sample_depends_on_seed_epoch_and_index_alone(make_store, make_configuration):
    store = make_store()
    forwards = make_sampler(store, make_configuration())
    backwards = make_sampler(store, make_configuration())
    drawn = {(epoch, index): forwards.draw(epoch, index) for epoch in range(3) for index in range(20)}
    for (epoch, index), sample in reversed(drawn.items()):
        assert backwards.draw(epoch, index) == sample
    assert len({sample.intensity_seed for sample in drawn.values()}) == len(drawn)
    other_seed = make_sampler(store, make_configuration(), seed=1)
    assert other_seed.draw(0, 0) != drawn[0, 0]


def test_a_third_of_samples_is_centred_on_foreground_and_the_rest_is_anywhere(make_store, make_configuration):
    store = make_store()
    sampler = make_sampler(store, make_configuration(patch_size=(5, 5)), foreground_fraction=1.0)
    for index in range(50):
        sample = sampler.draw(0, index)
        label = store.read_label_slice(sample.case, sample.slice_index)
        y, x = sample.corner_yx
        assert label[y : y + 5, x : x + 5].any()
    anywhere = make_sampler(store, make_configuration(), foreground_fraction=0.0)
    slices = {(s.case, s.slice_index) for s in (anywhere.draw(0, index) for index in range(400))}
    assert len(slices) == 9 + 7


def test_triplanar_samples_come_from_all_three_axes(make_store, make_configuration):
    sampler = make_sampler(make_store(), make_configuration(slicing_axes=(0, 1, 2)))
    samples = [sampler.draw(0, index) for index in range(90)]
    assert {sample.axis for sample in samples} == {0, 1, 2}
    for sample in samples:
        assert (
            0 <= sample.slice_index < {"case_a": (9, 20, 14), "case_b": (7, 10, 30)}[sample.case][sample.axis]
        )


def test_only_allowed_axes_are_mirrored(make_store, make_configuration):
    sampler = make_sampler(make_store(), make_configuration(mirror_axes=(2,)))
    mirrors = np.array([sampler.draw(0, index).geometry.mirror for index in range(200)])
    assert not mirrors[:, :2].any()
    assert 60 < mirrors[:, 2].sum() < 140


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_a_patch_lies_inside_where_it_fits_and_else_leaves_equal_margins(length, size, data):
    centre = data.draw(st.integers(0, length - 1))
    corner = centred_corner(length, size, centre)
    if size <= length:
        assert 0 <= corner <= length - size
        assert corner <= centre < corner + size
    else:
        before, after = -corner, size - length + corner
        assert 0 <= after - before <= 1


def test_quick_validation_samples_are_fixed_and_show_foreground(make_store, make_configuration):
    store, configuration = make_store(), make_configuration()
    cases = make_sampler(store, configuration).cases
    samples = fixed_samples(cases, store.foreground, configuration, 8)
    assert samples == fixed_samples(cases, store.foreground, configuration, 8)
    assert {sample.case for sample in samples} == set(store.cases)
    for sample in samples:
        assert store.read_label_slice(sample.case, sample.slice_index).any()
        assert sample.intensity_seed is None


def test_quick_validation_with_one_patch_a_case_covers_foreground_and_axes_all_the_same(make_configuration):
    rows = np.argwhere(np.ones((20, 4, 4), dtype=bool)).astype(
        np.int32
    )  # twenty slices of foreground in every case
    cases = [SamplingCase(case=f"case_{number:02}", shape_zyx=(20, 4, 4)) for number in range(30)]
    one_axis = fixed_samples(cases, lambda case: {"organ": rows}, make_configuration(), 40)
    assert len(one_axis) == 30
    counts = np.histogram([sample.slice_index for sample in one_axis], bins=4, range=(0, 20))[0]
    assert counts.min() >= 5  # of 7.5 expected in each quarter
    three_axes = fixed_samples(
        cases, lambda case: {"organ": rows}, make_configuration(slicing_axes=(0, 1, 2)), 40
    )
    assert np.bincount([sample.axis for sample in three_axes]).tolist() == [10, 10, 10]


def test_quick_validation_sees_a_slice_that_is_seen_whole_once(make_configuration):
    rows = np.argwhere(np.ones((1, 4, 4), dtype=bool)).astype(np.int32)
    pictures = [SamplingCase(case=f"case_{number}", shape_zyx=(1, 4, 4)) for number in range(3)]
    whole = make_configuration(patch_size=(4, 4))
    assert len(fixed_samples(pictures, lambda case: {"organ": rows}, whole, 40)) == 3
    parts = make_configuration(patch_size=(2, 2))
    assert len(fixed_samples(pictures, lambda case: {"organ": rows}, parts, 40)) > 3


def test_quick_validation_looks_at_annotated_voxels_where_there_is_no_foreground(make_configuration):
    cases = [SamplingCase(case=name, shape_zyx=(40, 8, 8)) for name in ("scribble", "ignored", "whole")]
    rows = {"scribble": np.array([[37, 3, 4], [37, 5, 6]], np.int32), "ignored": np.zeros((0, 3), np.int32)}
    samples = fixed_samples(cases, lambda case: {}, make_configuration(patch_size=(8, 8)), 6, rows.get)
    assert {(sample.case, sample.slice_index) for sample in samples} == {("scribble", 37), ("whole", 20)}


def test_a_case_without_foreground_is_sampled_anywhere(make_store, make_configuration):
    sampler = make_sampler(make_store(), make_configuration(), foreground_fraction=1.0)
    sample = dataclasses.replace(sampler, foreground=lambda case: {"outer": np.zeros((0, 3), np.int32)}).draw(
        0, 0
    )
    assert sample.case in {"case_a", "case_b"}


@pytest.mark.parametrize("share", [0.0, 1 / 3])
def test_with_an_ignore_label_every_sample_shows_annotated_voxels(make_store, make_configuration, share):
    store = make_store()
    sampler = make_sampler(store, make_configuration(patch_size=(5, 5)), foreground_fraction=share)
    depth = sampler.cases[0].shape_zyx[0]
    annotated = np.array([[depth - 1, 3, 4], [depth - 1, 5, 6]], np.int32)
    sampler = dataclasses.replace(sampler, foreground=lambda case: {}, annotated=lambda case: annotated)
    samples = [sampler.draw(0, index) for index in range(50)]
    if sampler.configuration.slicing_axes == (0,):
        assert {sample.slice_index for sample in samples} == {depth - 1}
    everywhere = dataclasses.replace(sampler, annotated=lambda case: None)
    assert len({everywhere.draw(0, index).slice_index for index in range(50)}) > 1
