"""Pictures are predicted as a dataset of them is converted: without transparency, grey ones as colours."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image as Pillow

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.inference import FileOptions, Predictor, PredictorOptions, predict, predict_files
from balrsam_pipeline.inference.case_image import read_case_image
from balrsam_pipeline.inference.inputs import find_cases
from balrsam_pipeline.inference.members import require_channels

RGB: npt.NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
RGBA = np.dstack([RGB, np.full((20, 24), 255, np.uint8)])


def model_of(fakes: SimpleNamespace, names: Sequence[str]) -> Predictor:
    """A model of pictures with channels of these names."""
    plan = fakes.make_plan(
        normalization=("z_score",) * len(names),
        normalize_inside_mask=(False,) * len(names),
        spacing_mm=(999.0, 1.0, 1.0),
    )
    network, labels = fakes.WeightedNetwork(len(names), 3), fakes.plain_labels(2)
    configuration, options = plan.configuration("2d"), PredictorOptions(device="cpu", amp=False)
    return Predictor([network], plan, configuration, labels, options, channel_names=names)


def written(folder: Path, name: str, pixels: npt.NDArray[np.uint8]) -> Path:
    path = folder / name
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    else:
        Pillow.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize(
    ("pixels", "expected", "told"),
    [(RGBA, RGB, "transparency"), (RGB[..., 0], RGB[..., [0, 0, 0]], "three equal channels"), (RGB, RGB, "")],
)
def test_a_model_of_colours_takes_transparent_and_grey_pictures(
    pixels: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.uint8],
    told: str,
    ending: str,
    fakes: SimpleNamespace,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="balrsam_pipeline")
    path = written(tmp_path, f"a{ending}", pixels)
    image = read_case_image("a", [path], model_of(fakes, "RGB"))
    np.testing.assert_array_equal(np.moveaxis(image.data[:, 0], 0, -1), expected)
    assert told in caplog.text and bool(told) == bool(caplog.text)


def test_the_grey_of_a_transparent_picture_is_predicted(fakes: SimpleNamespace, tmp_path: Path) -> None:
    paths = [written(tmp_path, "a.png", RGB), written(tmp_path, "b.png", RGBA)]
    plain, clear = (read_case_image("a", [path], model_of(fakes, ["X"]), grey=True) for path in paths)
    assert clear.data.shape == (1, 1, 20, 24)
    np.testing.assert_array_equal(clear.data, plain.data)


def test_a_grey_picture_does_not_stand_for_channels_that_are_no_colours(
    fakes: SimpleNamespace, tmp_path: Path
) -> None:
    model, path = model_of(fakes, ["T1", "T2", "FLAIR"]), written(tmp_path, "a.png", RGB[..., 0])
    assert len(read_case_image("a", [path], model).data) == 1
    with pytest.raises(PredictionError, match="one file per channel"):
        predict(path, model)


def test_one_file_of_too_many_channels_needs_no_more_files(fakes: SimpleNamespace) -> None:
    with pytest.raises(PredictionError, match="save a copy with none but the channels"):
        require_channels("a", 5, model_of(fakes, "RGB"))


def test_pictures_of_all_these_kinds_are_predicted(fakes: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, pixels in (("rgb.png", RGB), ("rgba.png", RGBA), ("grey.jpg", RGB[..., 0])):
        written(tmp_path / "in", name, pixels)
    model = model_of(fakes, "RGB")
    cases = find_cases([tmp_path / "in"], 3, ".png").cases
    report = predict_files(model, cases, tmp_path / "out", FileOptions())
    assert sorted(path.name for path in report.written) == ["grey.png", "rgb.png", "rgba.png"]
    np.testing.assert_array_equal(
        predict(tmp_path / "in" / "rgba.png", model), predict(tmp_path / "in" / "rgb.png", model)
    )
