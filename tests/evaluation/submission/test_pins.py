"""What containers install; the oracle is what pip has installed here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution, version

import pytest

from evaluation.submission import pins as pins_module
from evaluation.submission.pins import pinned_requirements


def test_enhanced_dicom_is_read_by_what_is_installed_for_it_alone() -> None:
    expected = {f"{name}=={version(name)}" for name in ("highdicom", "pydicom")}
    assert expected <= set(pinned_requirements(dicom=True))
    assert not expected & set(pinned_requirements())


def test_an_extra_that_is_not_installed_is_told_and_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def without(name: str) -> object:
        if name == "pydicom":
            raise PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(pins_module, "distribution", without)
    assert pinned_requirements(dicom=True) == pinned_requirements()
    assert "pydicom is not installed here" in caplog.text and "enhanced" in caplog.text
