"""Fixtures that all tests share."""

from __future__ import annotations

import locale
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Tests and the commands that they start compute with one thread.

    Training chooses its threads by how busy the machine is, and weights are compared to the bit. Where many
    tests run at a time, threads of one step also wait for each other: small networks took ten times as long.
    """
    import torch

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data: `BALRSAM_TEST_DATA`, else ../shared/data beside the repository."""
    folder = Path(os.environ.get("BALRSAM_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "raw").is_dir():
        pytest.skip(f"no real data in {folder} (set BALRSAM_TEST_DATA)")
    return folder


@pytest.fixture(autouse=True)
def locale_is_kept() -> Iterator[None]:
    """Libraries that write DICOM set the C locale and leave it so; later tests would read pipes and files as
    ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)
