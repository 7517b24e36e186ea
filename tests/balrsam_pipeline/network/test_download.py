"""Downloading from a server of our own: whole, resumed, without ranges, damaged, unreachable."""

from __future__ import annotations

import base64
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.errors import CheckpointError
from balrsam_pipeline.network.download import fetch
from balrsam_pipeline.network.official_checkpoints import OFFICIAL, Official, find_checkpoint

CONTENT = bytes(range(256)) * 20_000  # 5 MB, several chunks
PAGE = b"<html>please log in</html>"
FILE = Official("sam_test.pth", hashlib.sha256(CONTENT).hexdigest())


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT at /ranges (with Range), /plain (without) and /short (breaks off half-way)."""

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
    assert [file.name for file in path.parent.iterdir()] == [FILE.name]


def test_a_broken_download_is_continued_where_it_stopped(server: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="run the same command again"):
        fetch(FILE, tmp_path, f"{server}/short")
    have = (tmp_path / "sam_test.pth.part").stat().st_size
    assert 0 < have < len(CONTENT)
    assert not (tmp_path / FILE.name).exists()
    assert fetch(FILE, tmp_path, f"{server}/ranges").read_bytes() == CONTENT
    assert Handler.ranges[-1] == f"bytes={have}-"


def test_a_server_without_ranges_starts_again(server: str, tmp_path: Path) -> None:
    (tmp_path / "sam_test.pth.part").write_bytes(CONTENT[:1000])
    assert fetch(FILE, tmp_path, f"{server}/plain").read_bytes() == CONTENT


def test_a_complete_part_is_verified_and_taken(server: str, tmp_path: Path) -> None:
    (tmp_path / "sam_test.pth.part").write_bytes(CONTENT)
    assert fetch(FILE, tmp_path, f"{server}/ranges").read_bytes() == CONTENT


def test_a_wrong_file_is_refused_with_its_hash(server: str, tmp_path: Path) -> None:
    other = Official("sam_test.pth", "0" * 64)
    with pytest.raises(CheckpointError, match=FILE.sha256):
        fetch(other, tmp_path, f"{server}/ranges")
    assert not (tmp_path / "sam_test.pth").exists()


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


def test_official_files_are_found_where_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("balrsam_checkpoints", str(tmp_path))
    assert find_checkpoint("vit_b") is None
    (tmp_path / OFFICIAL["vit_b"].name).write_bytes(b"")
    assert find_checkpoint("vit_b") == tmp_path / "sam_vit_b_01ec64.pth"
    assert find_checkpoint("vit_mini") is None


def test_official_addresses_are_metas() -> None:
    assert OFFICIAL["vit_h"].url == "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth"
    assert all(len(official.sha256) == 64 for official in OFFICIAL.values())


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
    other = Official(FILE.name, hashlib.sha256(b"another file").hexdigest())
    with pytest.raises(CheckpointError, match="web page" if first == "/login" else "SHA-256"):
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
