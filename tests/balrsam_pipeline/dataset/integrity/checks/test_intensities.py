"""Voxels that no image has are found however few they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from balrsam_pipeline.dataset import read_description
from balrsam_pipeline.dataset.integrity.checks.intensities import check_intensities


def kinds(folder: Path, image_zyx: np.ndarray, channel: str) -> list[tuple[str, str]]:
    text = {"channel_names": {"0": channel}, "labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps({**text, "numTraining": 1}))
    found = check_intensities("case", image_zyx[None], read_description(folder / "dataset.json"))
    return [(problem.kind, problem.severity) for problem in found]


@pytest.mark.parametrize("channel", ["T1", "rescale_to_0_1"])
@pytest.mark.parametrize("place", [0, 70_000, 150_000])
def test_one_mark_for_missing_data_is_an_error_wherever_it_lies(
    tmp_path: Path, channel: str, place: int
) -> None:
    image = np.random.default_rng(1).normal(500, 100, (48, 64, 64)).astype(np.float32)
    assert kinds(tmp_path, image, channel) == []
    image.flat[place] = -3.4e38
    assert kinds(tmp_path, image, channel) == [("missing_data_values", "error")]


@pytest.mark.parametrize(
    ("mark", "found"),
    [(9_000, []), (400_000, [("missing_data_values", "warning")]), (1e8, [("missing_data_values", "error")])],
)
def test_a_range_may_be_hundreds_of_times_wider_than_what_most_of_an_image_has(
    tmp_path: Path, mark: float, found: list[tuple[str, str]]
) -> None:
    image = np.random.default_rng(1).normal(500, 100, (8, 64, 64)).astype(np.float32)
    image[1, 2:5, 3:6] = mark
    assert kinds(tmp_path, image, "rescale_to_0_1") == found


@pytest.mark.parametrize(("mark", "found"), [(-10_240, []), (-32_768, [("missing_data_values", "warning")])])
def test_ct_below_what_any_scanner_writes_is_a_mark(
    tmp_path: Path, mark: int, found: list[tuple[str, str]]
) -> None:
    """-10240 is the least of extended scales."""
    image = np.random.default_rng(1).normal(50, 40, (4, 20, 20)).astype(np.int16)
    image[:, :4] = -1000
    image[1, 2, 3] = mark
    assert kinds(tmp_path, image, "CT") == found
