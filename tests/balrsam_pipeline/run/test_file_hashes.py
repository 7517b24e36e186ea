from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from balrsam_pipeline.run import file_hashes
from balrsam_pipeline.run.file_hashes import ContentHashes, find_files


def settled(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    time.sleep(0.05)
    return path


@pytest.fixture(autouse=True)
def soon_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_hashes, "SETTLED_S", 0.02)


def test_hashes_are_sha256_and_are_remembered(tmp_path: Path) -> None:
    file = settled(tmp_path / "a", b"one")
    first = ContentHashes(tmp_path / "hashes.json")
    assert first.of([file]) == {file: hashlib.sha256(b"one").hexdigest()}
    first.save()
    file.chmod(0o000)  # reading it again would fail, were we not root
    assert str(file) in (tmp_path / "hashes.json").read_text()


def test_a_file_that_was_not_touched_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = settled(tmp_path / "a", b"one")
    hashes = ContentHashes(tmp_path / "hashes.json")
    hashes.of([file])
    hashes.save()
    again = ContentHashes(tmp_path / "hashes.json")
    monkeypatch.setattr(Path, "open", None)
    assert again.of([file]) == {file: hashlib.sha256(b"one").hexdigest()}


def test_a_change_of_the_same_size_with_the_time_put_back_is_noticed(tmp_path: Path) -> None:
    file = settled(tmp_path / "a", b"one")
    hashes, before = ContentHashes(tmp_path / "hashes.json"), file.stat()
    hashes.of([file])
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert hashes.of([file]) == {file: hashlib.sha256(b"two").hexdigest()}


def test_a_file_changed_a_moment_ago_is_not_trusted_to_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_hashes, "SETTLED_S", 60.0)
    file = settled(tmp_path / "a", b"one")
    hashes = ContentHashes(tmp_path / "hashes.json")
    hashes.of([file])
    hashes.save()
    assert not (tmp_path / "hashes.json").exists()


def test_patterns_name_files_below_their_base_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("fold_0/a.json", "fold_1/a.json", "fold_1/.tmp-1-a.json", "b.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    found = find_files(
        ("results/*/a.json", "results/*/*", "results/b.json", "results/gone.json"), {"results": tmp_path}
    )
    assert list(found) == ["results/b.json", "results/fold_0/a.json", "results/fold_1/a.json"]
