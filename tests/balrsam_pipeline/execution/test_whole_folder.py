"""Folders that are whole or not there, and what killed processes left of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from balrsam_pipeline.execution.whole_folder import is_made, scratch_folder, whole_folder
from balrsam_pipeline.files import final_name, temporary_sibling


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_folder_appears_whole_with_what_it_was_made_of(tmp_path: Path) -> None:
    target = tmp_path / "there"
    with whole_folder(target, "a and b") as new:
        (new / "x").write_text("1")
        assert not target.exists()
    assert is_made(target, "a and b") and not is_made(target, "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


def test_nothing_is_left_of_a_folder_that_failed(tmp_path: Path) -> None:
    with pytest.raises(OSError), whole_folder(tmp_path / "there", "a"):
        raise OSError("disk full")
    assert list(tmp_path.iterdir()) == []


def test_what_dead_processes_left_of_the_same_folder_goes_and_the_rest_stays(tmp_path: Path) -> None:
    dead, alive, host = dead_process(), os.getppid(), temporary_sibling(Path("x")).name.split("-")[2][8:]
    names = [f".tmp-{dead}-0123abcd{host}-there", f".tmp-{alive}-0123abcd{host}-there"]
    names += [f".tmp-{dead}-0123abcd{host}-other", f".tmp-{dead}-0123abcd{'0000'}-there", ".tmp-mine"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "image").write_text("1")
    (tmp_path / "victim").mkdir()
    (tmp_path / f".tmp-{dead}-ffffffff{host}-there").symlink_to(tmp_path / "victim")
    with whole_folder(tmp_path / "there", "a"):
        pass
    left = {path.name for path in tmp_path.iterdir()} - {"there", "victim"}
    assert left == {*names[1:], f".tmp-{dead}-ffffffff{host}-there"}


def test_a_scratch_folder_beside_a_temporary_file_is_known_by_the_final_name(tmp_path: Path) -> None:
    """The temporary file is called otherwise next time."""
    sent = tmp_path / "sent.zip"
    with scratch_folder(temporary_sibling(sent)) as one, scratch_folder(temporary_sibling(sent)) as other:
        assert final_name(one) == final_name(other) == "sent.zip.scratch"


def test_a_scratch_folder_goes_in_any_case_and_with_it_what_a_killed_one_left(tmp_path: Path) -> None:
    name = temporary_sibling(tmp_path / "sent.zip.scratch").name.split("-", 2)[2]
    left = tmp_path / f".tmp-{dead_process()}-{name}"
    left.mkdir()
    with scratch_folder(tmp_path / "sent.zip") as folder:
        (folder / "mask").write_text("1")
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
