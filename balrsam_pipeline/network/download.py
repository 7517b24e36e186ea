"""Fetching an official SAM checkpoint: resumable, verified, kept in the cache folder. Imports no torch."""

from __future__ import annotations

import base64
import hashlib
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from balrsam_pipeline.errors import CheckpointError
from balrsam_pipeline.network.official_checkpoints import Official
from balrsam_pipeline.progress import track

LOG = logging.getLogger(__name__)
CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0
RANGE_NOT_SATISFIABLE = 416


def fetch(official: Official, folder: Path, url: str | None = None) -> Path:
    """Download a checkpoint into `folder`, or verify the one that is there; returns its path.

    What an interrupted download left (`NAME.part`) is continued where the server allows it. The file gets its
    name only after its SHA-256 is right.

    Args:
        official: name and SHA-256 of the file.
        url: where from; default the official address (a mirror inside a hospital, say).
            `https://NAME:PASSWORD@HOST/…` logs in; name, password and what follows a `?` are never shown.

    Raises:
        CheckpointError: the address cannot be reached, or what came is not the file.
    """
    target, url = folder / official.name, url or official.url
    if target.is_file():
        _verify(target, official)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{official.name}.part")
    if part.is_symlink() or (part.is_file() and _begins_as_page(part)):
        part.unlink()  # a link is replaced, not what it leads to; and no download goes on from a page
    try:
        _download(url, part)
    except (urllib.error.URLError, HTTPException, OSError, ValueError) as problem:
        raise _unreachable(url, target, problem) from None
    try:
        _verify(part, official)
    except CheckpointError as problem:
        refused = _page_error(url) if _begins_as_page(part) else problem
        part.unlink()  # or the next run would go on from what is known to be wrong
        raise refused from None
    part.replace(target)
    LOG.info("%s: SHA-256 verified", target)
    return target


def _begins_as_page(part: Path) -> bool:
    with part.open("rb") as file:
        return file.read(64).lstrip().startswith(b"<")


def _page_error(url: str) -> CheckpointError:
    return CheckpointError(
        redacted(url),
        found="a web page",
        expected="the checkpoint",
        fix="a proxy or login page may stand between: open the address in a browser, or give another --url; "
        "nothing was kept",
    )


def _download(url: str, part: Path) -> None:
    have = part.stat().st_size if part.is_file() else 0
    request = _request(url, {"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as problem:
        if problem.code == RANGE_NOT_SATISFIABLE and have:
            return  # all of it is there; verification decides
        raise
    with response:
        resumed = response.status == 206  # a server without ranges answers 200 and sends all of it
        remaining = int(response.headers.get("Content-Length") or 0)
        chunks = -(-remaining // CHUNK_BYTES)
        with part.open("ab" if resumed else "wb") as file:
            for chunk in track(_chunks(response), chunks, f"{part.stem} (MiB)"):
                file.write(chunk)
    expected = remaining + (have if resumed else 0)
    if remaining and part.stat().st_size != expected:
        raise OSError(f"the connection ended after {part.stat().st_size} of {expected} bytes")


def redacted(url: str) -> str:
    """An address without what may be secret: name and password, and the values behind a question mark."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(an address that cannot be read)"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(
        (
            parts.scheme,
            f"***@{host}" if "@" in parts.netloc else host,
            parts.path,
            "***" if parts.query else "",
            "",
        )
    )


def _request(url: str, headers: dict[str, str]) -> urllib.request.Request:
    """A request that logs in where the address says so; a server elsewhere that we are sent on to does not
    see it."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)), headers=headers)
    if user:
        token = base64.b64encode(unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    while chunk := response.read(CHUNK_BYTES):
        yield chunk


def _verify(path: Path, official: Official) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != official.sha256:
        raise CheckpointError(
            path,
            found=f"SHA-256 {found}",
            expected=f"{official.sha256}, that of {official.name}",
            fix=f"delete {path} where it is still there, and fetch it again",
        )


def _unreachable(url: str, target: Path, problem: Exception) -> CheckpointError:
    said = str(problem).replace(url, redacted(url))
    return CheckpointError(
        redacted(url),
        found=f"no download: {said}",
        expected="an answer from the server",
        fix="run the same command again to go on where it stopped. With no connection to the internet: "
        f"fetch {target.name} on a machine that has one and copy it to {target}",
    )
