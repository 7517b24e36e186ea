"""Fixtures that every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data: `BALRSAM_TEST_DATA`, else ../shared/data beside the repository."""
    folder = Path(os.environ.get("BALRSAM_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "raw").is_dir():
        pytest.skip(f"no real data in {folder} (set BALRSAM_TEST_DATA)")
    return folder
