"""A process as a container runs it, without an engine: mount and network namespaces of its own, a root put
together from this system's folders, all read-only but for what is named, an empty /tmp, no network, no rights
of root."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# $1: where the new root goes, $2: the folder to start in; "ro|rw SOURCE PLACE" up to "--"; then the command
SCRIPT = """
set -eu
new=$1 start=$2; shift 2
mount -t tmpfs none "$new"
for place in /*; do
    name=${place#/}
    case $name in tmp|opt|input|output|workspace|home|root) continue;; esac
    if [ -L "$place" ]; then cp -P "$place" "$new/$name"; continue; fi
    [ -d "$place" ] || continue
    mkdir "$new/$name"
    mount --rbind "$place" "$new/$name"
    case $name in dev|proc|sys) ;; *) mount -o remount,bind,ro "$new/$name" 2> /dev/null || true;; esac
done
mkdir -m 1777 "$new/tmp"
while [ "$1" != -- ]; do
    mkdir -p "$new$3"
    mount --bind "$2" "$new$3"
    [ "$1" = rw ] || mount -o remount,bind,ro "$new$3"
    shift 3
done
shift
mkdir "$new/.old"
cd "$new"
pivot_root . .old
cd "$start"
umount -l /.old
rmdir /.old
mount -o remount,ro /
mount -t tmpfs none /tmp
exec unshare --user --map-user=1000 --map-group=1000 -- "$@"
"""
UNSHARE = ("unshare", "--map-root-user", "--mount", "--net", "sh", "-c", SCRIPT, "sh")


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of this system, and where the process sees it."""

    source: Path
    place: str
    writable: bool = False


def run_in_container(
    scratch: Path, start: str, mounts: Sequence[Mount], command: Sequence[str], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command and wait for it.

    Args:
        scratch: an empty folder, on which the new root is mounted for as long as the process lives.
        start: the folder that the process starts in.
    """
    words: list[str] = []
    for mount in (*_python(), *mounts):
        words += ["rw" if mount.writable else "ro", str(mount.source), mount.place]
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    return subprocess.run(
        [*UNSHARE, str(scratch), start, *words, "--", *command],
        env={"PATH": path, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )


def _python() -> list[Mount]:
    """The interpreter and its packages, where the new root would lack them."""
    folders = {Path(sys.prefix), Path(sys.base_prefix), Path(os.path.realpath(sys.executable)).parents[1]}
    hidden = ("/tmp", "/opt", "/home", "/root")
    return [Mount(folder, str(folder)) for folder in sorted(folders) if str(folder).startswith(hidden)]


@cache
def why_not(scratch: Path) -> str:
    """Why such processes cannot be run here; "" where they can."""
    if sys.prefix.startswith("/tmp/"):
        return "Python itself is below /tmp, which a container finds empty"
    try:
        done = run_in_container(scratch, "/", [], ["true"], {})
    except (OSError, subprocess.SubprocessError) as problem:
        return str(problem)
    return "" if done.returncode == 0 else done.stderr.strip() or f"unshare ends with {done.returncode}"
