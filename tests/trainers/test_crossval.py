from __future__ import annotations

import numpy as np
import pytest

from evaluation import read_summary
from trainers.crossval import CrossvalRequest, bootstrap_interval, cross_validate


def test_folds_are_trained_pooled_and_then_left_alone(make_request):
    request = CrossvalRequest(train=make_request(epochs=1), folds=(0, 2))
    result = cross_validate(request)
    assert not result.already_done
    assert set(result.summary.groups.values()) == {"fold 0", "fold 2"}
    assert read_summary(result.folder / "summary.json").groups == result.summary.groups
    assert "95 % interval" in result.intervals
    assert cross_validate(request).already_done


def test_folds_train_at_the_same_time_on_several_devices(make_request):
    result = cross_validate(CrossvalRequest(train=make_request(epochs=1), folds=(0, 1), parallel_devices=("cpu", "cpu")))
    assert set(result.summary.groups.values()) == {"fold 0", "fold 1"}


def test_the_bootstrap_interval_covers_the_mean_of_a_normal_sample_as_theory_says():
    values = np.random.default_rng(1).normal(0.8, 0.1, 400)
    low, high = bootstrap_interval(values.tolist())
    half = 1.96 * values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - half, abs=0.002)
    assert high == pytest.approx(values.mean() + half, abs=0.002)
