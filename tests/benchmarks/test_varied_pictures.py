"""The generated dataset of varied pictures: the label lies on what is drawn, and a seed draws the same."""

from __future__ import annotations

import numpy as np

from benchmarks.accuracy.varied_pictures import SHARE, picture


def test_pictures_show_the_labelled_part_turned_enlarged_and_coloured() -> None:
    organ = np.zeros((3, 120, 120), bool)
    organ[1, 50:75, 50:75] = True
    image = np.where(organ, 100.0, 10.0)
    for seed in range(4):
        drawn, mask = picture(np.random.default_rng(seed), image, organ)
        again, _ = picture(np.random.default_rng(seed), image, organ)
        assert np.array_equal(drawn, again)
        assert drawn.shape == (*mask.shape, 3)
        assert drawn.min() >= 0 and drawn.max() <= 1
        assert SHARE[0] < mask.mean() < SHARE[1]
        inside, outside = drawn[mask].mean(0), drawn[~mask].mean(0)
        assert np.abs(inside - outside).max() > 0.1, "the organ has another colour"
