"""Images that a wrong spacing would blow up are refused; real ones, however large, are not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.plans import example_plan

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.imageio import Geometry, Image, write_image
from balrsam_pipeline.inference import Predictor, PredictorOptions, predict_files
from balrsam_pipeline.inference.grown import require_sensible_growth

Sizes = tuple[float, float, float]


def check(
    shape: tuple[int, int, int], spacing_mm: Sizes, planned_mm: Sizes, whole_volumes: bool = False
) -> None:
    configuration = dataclasses.replace(
        example_plan().configuration("2d"),
        spacing_mm=planned_mm,
        slicing_axes=(0, 1, 2) if whole_volumes else (0,),
    )
    geometry = Geometry(dimension=3, shape_zyx=shape, spacing_mm=spacing_mm)
    require_sensible_growth("case a (a_0000.nii.gz)", geometry, configuration)


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "planned_mm", "whole_volumes"),
    [
        ((2000, 512, 512), (1.0, 0.98, 0.98), (1.0, 0.7, 0.7), True),  # whole body
        ((400, 512, 512), (5.0, 0.98, 0.98), (0.7, 0.7, 0.7), True),  # whole body of thick slices
        ((3000, 3000, 3000), (0.01, 0.01, 0.01), (0.01, 0.01, 0.01), True),  # micro-CT at its own spacing
        ((400, 200, 200), (4.0, 4.0, 4.0), (1.0, 1.0, 1.0), True),  # PET at the spacing of CT
        ((20, 50, 35), (10.0, 10.0, 10.0), (1.0, 1.0, 1.0), True),  # 1,000 times as large, and still small
    ],
)
def test_real_images_are_let_through(
    shape: tuple[int, int, int], spacing_mm: Sizes, planned_mm: Sizes, whole_volumes: bool
) -> None:
    assert check(shape, spacing_mm, planned_mm, whole_volumes) is None


@pytest.mark.parametrize("whole_volumes", [False, True])
def test_a_ct_whose_spacing_is_ten_times_too_large_is_refused(whole_volumes: bool) -> None:
    with pytest.raises(PredictionError) as refusal:
        check((100, 512, 512), (30.0, 8.0, 8.0), (3.0, 0.8, 0.8), whole_volumes)
    for said in (
        "case a (a_0000.nii.gz)",
        "100 × 512 × 512",
        "30 × 8 × 8 mm",
        "3 × 0.8 × 0.8 mm",
        "SetSpacing",
    ):
        assert said in str(refusal.value)


def test_the_case_fails_with_its_name_and_file_before_anything_is_resampled(
    fakes: SimpleNamespace, tmp_path: Path
) -> None:
    path = tmp_path / "a_0000.nii.gz"
    geometry = Geometry(dimension=3, shape_zyx=(2, 40, 40), spacing_mm=(3.0, 1000.0, 1000.0))
    write_image(path, Image(np.ones((1, 2, 40, 40), np.float32), geometry))
    plan = fakes.make_plan()
    options = PredictorOptions(device="cpu")
    predictor = Predictor(
        [fakes.PixelNetwork()], plan, plan.configuration("2d"), fakes.plain_labels(2), options
    )
    report = predict_files(predictor, {"a": CaseFiles("a", (path,))}, tmp_path / "out")
    assert report.failed["a"].where == f"case a ({path})"
