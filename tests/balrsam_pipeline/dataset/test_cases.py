"""Which files of a folder are images, which belong to them, and which are strays."""

from __future__ import annotations

import time
from pathlib import Path

from balrsam_pipeline.dataset.cases import scan_images

LONGEST_CPU_S = 3.0


def test_spacing_files_of_tiff_stacks_are_no_strays(tmp_path: Path) -> None:
    for name in ("a_0000.tif", "a_0000.json", "b_0000.TIFF", "b_0000.json", "c_0000.json", "notes.txt"):
        (tmp_path / name).touch()
    scan = scan_images(tmp_path, ".tif")
    assert list(scan.channels) == ["a", "b"]
    assert [path.name for path in scan.strays] == ["c_0000.json", "notes.txt"]


def test_spacing_files_of_thousands_of_stacks_are_looked_up_not_searched(tmp_path: Path) -> None:
    for number in range(4000):  # searched, 16 million comparisons would take ten seconds
        (tmp_path / f"{number}_0000.tif").touch()
        (tmp_path / f"{number}_0000.json").touch()
    began = time.process_time()
    assert len(scan_images(tmp_path, ".tif").channels) == 4000
    assert time.process_time() - began < LONGEST_CPU_S
