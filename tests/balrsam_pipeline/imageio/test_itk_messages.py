"""ITK's warnings: with the file's name, and not once for each of hundreds of files."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from balrsam_pipeline.imageio import itk_messages
from balrsam_pipeline.imageio.itk_messages import itk_messages_of


def test_a_message_of_many_files_is_shown_of_two(caplog: pytest.LogCaptureFixture) -> None:
    itk_messages._SEEN.clear()
    caplog.set_level(logging.INFO)
    for number in range(5):
        path = Path(f"/data/case_{number}.nii.gz")
        with itk_messages_of(path):
            for _ in range(2):
                itk_messages._COLLECTOR.DisplayWarningText(
                    f"WARNING: In itkNiftiImageIO.cxx, line 1\nNiftiImageIO (0x1): {path} is unexpected"
                )
    shown = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text.split(":")[0] for text in shown] == ["/data/case_0.nii.gz", "/data/case_1.nii.gz"]
    assert "not shown" in shown[1]
    assert len(caplog.records) == 5


def test_different_messages_are_all_shown(caplog: pytest.LogCaptureFixture) -> None:
    itk_messages._SEEN.clear()
    with itk_messages_of(Path("/data/case.nii.gz")):
        for text in ("one thing", "another thing", "a third"):
            itk_messages._COLLECTOR.DisplayWarningText(text)
    assert len(caplog.records) == 3
