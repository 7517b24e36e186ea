from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from balrsam_pipeline.errors import DatasetError, PlanError
from balrsam_pipeline.files import (
    atomic_path,
    final_name,
    own_descriptor,
    read_json,
    read_text,
    write_json,
    write_text,
)


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "a.json", {"a": [1, 2.5, None]})
    assert read_json(tmp_path / "deep" / "a.json") == {"a": [1, 2.5, None]}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, 1)
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_nan_is_refused_because_it_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_broken_json_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(PlanError, match=r"a\.json"):
        read_json(tmp_path / "a.json", PlanError)


def test_a_write_replaces_a_link_and_never_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "thesis.json").write_text("three years of work")
    (tmp_path / "a.json").symlink_to(tmp_path / "thesis.json")
    write_json(tmp_path / "a.json", 1)
    assert (tmp_path / "thesis.json").read_text() == "three years of work"
    assert not (tmp_path / "a.json").is_symlink()


def test_nobody_can_guess_the_name_of_a_temporary_file(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        with atomic_path(tmp_path / "a.json") as temporary:
            temporary.write_text("1")
            names.add(temporary.name)
    assert len(names) == 3
    assert {final_name(Path(name)) for name in names} == {"a.json"}
    assert final_name(Path(".tmp-123-old-name.json")) == "old-name.json"  # as older versions named them
    assert final_name(Path("a.json")) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_in_the_encoding_that_its_byte_order_mark_says(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes("case,Zürich\n".encode(encoding))
    assert read_text(tmp_path / "a.csv") == "case,Zürich\n"


def test_text_in_latin_1_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("case,Zürich\n".encode("latin-1"))
    with pytest.raises(DatasetError, match="not UTF-8"):
        read_text(tmp_path / "a.csv")


def test_what_a_killed_process_left_goes_with_the_next_file_in_that_folder(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom balrsam_pipeline.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as path:\n    path.write_text('half')\n"
        "    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.json")], check=False)
    (left,) = tmp_path.iterdir()
    stays = tmp_path / left.name.replace(left.name.split("-")[1], str(os.getppid()), 1)  # it still runs
    stays.write_text("half")
    write_json(tmp_path / "b.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {"b.json", stays.name}


def test_a_file_name_that_is_no_utf8_can_be_written_about(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "caf\udce9 é")
    assert read_text(tmp_path / "a.csv") == "caf\\udce9 é"


@pytest.mark.parametrize("mode", [os.O_APPEND, os.O_TRUNC])
def test_a_link_planted_under_the_name_of_a_file_of_ours_is_not_written_through(
    tmp_path: Path, mode: int
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "cluster.log").symlink_to(victim)
    with os.fdopen(own_descriptor(tmp_path / "cluster.log", mode), "wb") as file:
        file.write(b"ours")
    assert (victim.read_text(), (tmp_path / "cluster.log").read_text()) == ("mine", "ours")


@pytest.mark.parametrize("mode", [os.O_APPEND, os.O_TRUNC])
def test_a_hard_link_is_not_written_through_and_what_was_logged_stays(tmp_path: Path, mode: int) -> None:
    other = tmp_path / "snapshot"
    other.write_text("epoch 1\n")
    (tmp_path / "log.jsonl").hardlink_to(other)
    with os.fdopen(own_descriptor(tmp_path / "log.jsonl", mode), "wb") as file:
        file.write(b"epoch 2\n")
    kept = "epoch 1\n" if mode == os.O_APPEND else ""
    assert (tmp_path / "log.jsonl").read_text() == f"{kept}epoch 2\n"
    assert other.read_text() == "epoch 1\n"
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "snapshot"}


@pytest.mark.parametrize("links", [0, 1])
def test_a_file_is_written_where_it_lies_where_links_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: int
) -> None:
    """Some network and FUSE file systems say 0 of every file."""
    log = tmp_path / "log.txt"
    log.write_text("epoch 1\n")
    state = list(log.lstat())
    state[3] = links  # st_nlink
    monkeypatch.setattr(Path, "lstat", lambda path: os.stat_result(state))
    with os.fdopen(own_descriptor(log, os.O_APPEND), "wb") as file:
        file.write(b"epoch 2\n")
        assert os.fstat(file.fileno()).st_ino == state[1]


@pytest.mark.parametrize("mode", [os.O_APPEND, os.O_TRUNC])
def test_a_pipe_planted_under_the_name_of_a_file_of_ours_keeps_nobody_waiting(
    tmp_path: Path, mode: int
) -> None:
    os.mkfifo(tmp_path / "log.txt")
    with os.fdopen(own_descriptor(tmp_path / "log.txt", mode), "wb") as file:
        file.write(b"ours")
    assert (tmp_path / "log.txt").read_text() == "ours"
