from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.elsewhere import site_of

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.execution.lock import LOCK_NAME, LockTiming, folder_lock, lock_holder
from balrsam_pipeline.execution.os_lock import LOCKED_BYTE, read_at_start, take_lock

HOLD = "import sys, time; from pathlib import Path; from balrsam_pipeline.execution.lock import folder_lock\n"
HOLD += "with folder_lock(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(float(sys.argv[2]))"
QUICK = LockTiming(heartbeat_s=0.1, stale_s=0.3, look_s=0.05)


def holding(folder: Path, seconds: float = 60) -> subprocess.Popen[str]:
    """Another process that holds `folder` for so many seconds."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def lock_of_another_host(folder: Path) -> Path:
    path = folder / LOCK_NAME
    path.write_text(
        json.dumps(
            {"pid": 4711, "host": "node17", "since": "2026-11-01T10:00:00+00:00", "command": "balrsam run"}
        )
    )
    return path


def test_a_second_process_is_refused_and_told_who_holds_it_where_and_since_when(tmp_path: Path) -> None:
    holder = holding(tmp_path)
    try:
        with pytest.raises(UsageError, match=str(holder.pid)) as refusal, folder_lock(tmp_path):
            pass
        assert f"since {time.strftime('%Y-', time.gmtime())}" in refusal.value.found
        assert os.uname().nodename in refusal.value.found
        assert f"kill {holder.pid}" in refusal.value.fix
        assert (seen := lock_holder(tmp_path)) is not None
        assert seen.pid == holder.pid
    finally:
        holder.kill()
        holder.wait()


def test_waiting_lasts_until_the_holder_ends(tmp_path: Path) -> None:
    holder = holding(tmp_path, 0.8)
    started = time.monotonic()
    with folder_lock(tmp_path, wait=True, timing=QUICK):
        assert time.monotonic() - started > 0.3
    assert holder.wait() == 0
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    holder = holding(tmp_path)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert lock_holder(tmp_path) is None
    with folder_lock(tmp_path):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_released_by_an_exception(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), folder_lock(tmp_path):
        raise RuntimeError
    with folder_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_holder_on_another_host_is_respected_while_its_heart_beats(tmp_path: Path) -> None:
    lock_of_another_host(tmp_path)
    with (
        pytest.raises(UsageError, match=r"pid 4711 on node17 since 2026-11-01") as refusal,
        folder_lock(tmp_path),
    ):
        pass
    assert "kill 4711 on node17" in refusal.value.fix


def test_a_holder_on_another_host_without_a_heartbeat_is_dead(tmp_path: Path) -> None:
    os.utime(lock_of_another_host(tmp_path), (1, 1))
    with folder_lock(tmp_path, timing=QUICK):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pid", ["1e999", "-Infinity", "NaN", "[]", '"x"'])
def test_a_lock_with_a_process_that_is_no_number_is_nobodys(tmp_path: Path, pid: str) -> None:
    path = lock_of_another_host(tmp_path)
    path.write_text(path.read_text().replace("4711", pid))
    assert lock_holder(tmp_path) is None


def test_a_clock_that_goes_wrong_kills_nobody(tmp_path: Path) -> None:
    """The heartbeat looks hours old, because the other host's clock is behind; but it moves."""
    path = lock_of_another_host(tmp_path)
    ended = threading.Event()

    def beat() -> None:
        count = 0
        while not ended.wait(0.03):
            count += 1
            os.utime(path, (count, count))

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        time.sleep(0.1)
        with pytest.raises(UsageError, match="node17"), folder_lock(tmp_path, timing=QUICK):
            pass
    finally:
        ended.set()
        beating.join()


def test_where_the_file_system_has_no_flock_the_lock_file_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = holding(tmp_path)

    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    try:
        with pytest.raises(UsageError, match=str(holder.pid)), folder_lock(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
    with folder_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_where_the_system_has_no_locks_the_lock_file_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without fcntl (which Windows lacks) and msvcrt (which it has), here and in the other process."""
    monkeypatch.setenv("PYTHONPATH", str(site_of(tmp_path / "site")), prepend=os.pathsep)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    folder = tmp_path / "folder"
    holder = holding(folder)
    try:
        with pytest.raises(UsageError, match=str(holder.pid)), folder_lock(folder):
            pass
    finally:
        holder.kill()
        holder.wait()
    with folder_lock(folder):
        pass
    assert list(folder.iterdir()) == []


def test_windows_bytes_are_locked_where_fcntl_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is msvcrt's contract: `locking` of one byte at the file's position, PermissionError where it
    is held."""
    asked: list[tuple[int, int]] = []

    def locking(descriptor: int, mode: int, count: int) -> None:
        asked.append((os.lseek(descriptor, 0, os.SEEK_CUR), count))
        if len(asked) > 1:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    path = tmp_path / "lock"
    path.write_text("holder")
    descriptor = os.open(path, os.O_RDWR)
    assert (take_lock(descriptor), take_lock(descriptor)) == (True, False)
    assert asked == [(LOCKED_BYTE, 1)] * 2 and read_at_start(descriptor, 100) == b"holder"
    os.close(descriptor)


def test_an_interrupted_lock_file_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text('{"pid": 12')
    with folder_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_parts_are_held_beside_each_other_but_not_beside_the_whole(tmp_path: Path) -> None:
    with folder_lock(tmp_path, part="1/2"), folder_lock(tmp_path, part="2/2"):
        with pytest.raises(UsageError), folder_lock(tmp_path, part="1/2"):
            pass
        with pytest.raises(UsageError), folder_lock(tmp_path):
            pass
    with folder_lock(tmp_path), pytest.raises(UsageError), folder_lock(tmp_path, part="1/2"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("plant", ["symbolic link", "second name", "directory", "pipe"])
@pytest.mark.parametrize("part", [None, "1/2"])
def test_what_was_planted_under_the_name_of_the_lock_is_refused_untouched(
    tmp_path: Path, plant: str, part: str | None
) -> None:
    thesis, lock = (
        tmp_path / "thesis.txt",
        tmp_path / (LOCK_NAME if part is None else ".balrsam-part-1-of-2.lock"),
    )
    thesis.write_text("three years of work")
    if plant == "symbolic link":
        lock.symlink_to(thesis)
    elif plant == "second name":
        lock.hardlink_to(thesis)
    elif plant == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    with pytest.raises(UsageError, match="lock"), folder_lock(tmp_path, part=part):
        pass
    assert lock_holder(tmp_path, name=lock.name) is None
    assert thesis.read_text() == "three years of work"
    assert lock.is_symlink() or lock.exists()


def test_a_holder_whose_number_is_no_process_is_nobody(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text('{"pid": 99999999999999999999, "host": "here", "command": "balrsam"}')
    assert lock_holder(tmp_path) is None
    with folder_lock(tmp_path):
        holder = lock_holder(tmp_path)
    assert holder is not None and holder.pid == os.getpid()
