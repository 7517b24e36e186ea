"""Folders of small label maps, and label schemes, for the tests of scoring."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from balrsam_pipeline.dataset.labels import LabelScheme

Write = Callable[..., Path]
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--window-size=1280,900",
)


def scheme(names: Mapping[str, int | tuple[int, ...]], ignore_value: int | None = None) -> LabelScheme:
    """A label scheme from name -> value, or values for a region."""
    values = tuple(value if isinstance(value, tuple) else (value,) for value in names.values())
    return LabelScheme(
        names=tuple(names),
        values=values,
        has_regions=any(len(value) > 1 for value in values),
        region_order=tuple(value[-1] for value in values),
        ignore_value=ignore_value,
        largest=max(max(value) for value in values),
    )


@pytest.fixture
def make_scheme() -> Callable[..., LabelScheme]:
    return scheme


@pytest.fixture
def write_map() -> Write:
    """Write an array (z, y, x), or (y, x), to a file; spacing in (x, y, z)."""

    def write(
        path: Path,
        array: npt.NDArray[np.generic],
        spacing_xyz: tuple[float, ...] | None = None,
        **geometry: object,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = sitk.GetImageFromArray(array)
        if spacing_xyz:
            image.SetSpacing(spacing_xyz)
        if "origin" in geometry:
            image.SetOrigin(geometry["origin"])
        if "direction" in geometry:
            image.SetDirection(geometry["direction"])
        sitk.WriteImage(image, str(path))
        return path

    return write


def ball(
    shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float
) -> npt.NDArray[np.bool_]:
    """A filled ball in an array of `shape`."""
    grid = np.ogrid[tuple(slice(length) for length in shape)]
    return np.asarray(
        sum((axis - middle) ** 2 for axis, middle in zip(grid, centre, strict=True)) <= radius**2
    )


@pytest.fixture
def folder_pair(tmp_path: Path, write_map: Write) -> tuple[Path, Path]:
    """Predictions and references of four cases with two labels; case 2 misses label 2, case 3 has a spurious
    label 2."""
    for number in range(4):
        reference = ball((12, 20, 20), (6, 8, 8), 5).astype(np.uint8)
        prediction = ball((12, 20, 20), (6, 8 + number / 2, 8), 5).astype(np.uint8)
        if number != 3:
            reference[ball((12, 20, 20), (6, 15, 15), 2)] = 2
        if number != 2:
            prediction[ball((12, 20, 20), (6, 15, 14), 2)] = 2
        write_map(tmp_path / "references" / f"case_{number}.nii.gz", reference, (0.8, 0.8, 2.0))
        write_map(tmp_path / "predictions" / f"case_{number}.nii.gz", prediction, (0.8, 0.8, 2.0))
    return tmp_path / "predictions", tmp_path / "references"


@pytest.fixture
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed (pip install selenium)"
    )
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no Chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()
