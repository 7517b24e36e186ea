"""Killing a random process of a run, and comparing what two runs left."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import SimpleITK as sitk
from safetensors import safe_open
from support.runs import roots
from support.warm import WarmProcess, WarmPython

ORPHANS_END_S = 60.0  # on a busy machine


@dataclass(frozen=True)
class Job:
    """A run on a small dataset: what starts it, where it reads, and the words of its command."""

    python: WarmPython
    raw: Path
    words: tuple[str, ...]

    def start(self, folder: Path) -> WarmProcess:
        """Start the run with everything but the raw dataset below `folder`, in a session of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        where = (f"--raw={self.raw}", *roots(folder)[1:])
        return self.python.start(("run", "999", *where, *self.words), folder / "output.txt")

    def finish(self, folder: Path) -> int:
        """Run to the end; returns the exit code."""
        return self.start(folder).wait()

    def with_words(self, *more: str) -> Job:
        """The same with more words."""
        return replace(self, words=(*self.words, *more))


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing happened to: its folder, what it made, the names of all it left, and the seconds it
    took."""

    folder: Path
    outcome: dict[str, object]
    names: set[str]
    seconds: float


def processes_of_session(session: int) -> list[int]:
    """The living processes of a session, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def kill_one(run: WarmProcess, longest_s: float, chance: random.Random) -> str | None:
    """Kill -9 the main process of a run, or another one when there is one, at a random moment; returns which,
    or None if it ended before.

    Processes left behind must end by themselves.
    """
    kind = chance.choice(("main", "other"))
    try:
        run.wait(
            chance.uniform(0.0, longest_s if kind == "main" else longest_s / 3)
        )  # workers are there early: when cases are prepared
        return None
    except subprocess.TimeoutExpired:
        victims = [run.pid] if kind == "main" else _others(run)
    if not victims:
        return None
    try:
        os.kill(chance.choice(victims), signal.SIGKILL)
    except ProcessLookupError:
        return None
    run.wait(timeout=600)
    deadline = time.monotonic() + ORPHANS_END_S
    while (orphans := processes_of_session(run.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for orphan in orphans:
        os.kill(orphan, signal.SIGKILL)
    assert orphans == [], f"processes outlived the run: {orphans}"
    return kind


def _others(run: WarmProcess) -> list[int]:
    """The other processes of a run, as soon as there are any; none where it ends before."""
    while run.poll() is None:
        others = [process for process in processes_of_session(run.pid) if process != run.pid]
        if others:
            return sorted(others)
        time.sleep(0.03)
    return []


def outcome(folder: Path, moved_from: Path | None = None) -> dict[str, object]:
    """What a run made: masks by voxels, checkpoints by tensors, everything else that must be reproducible by
    bytes but for the paths and for the hashes of checkpoints, whose headers tell seconds."""
    found: dict[str, object] = {}
    hashes = {
        hashlib.sha256(path.read_bytes()).hexdigest().encode(): path.relative_to(folder).as_posix().encode()
        for path in folder.rglob("checkpoint_final.safetensors")
    }
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "run"):
        name = path.relative_to(folder).as_posix()
        if path.name.endswith(".nii.gz"):
            image = sitk.ReadImage(str(path))
            found[name] = (
                hashlib.sha256(sitk.GetArrayFromImage(image).tobytes()).hexdigest(),
                image.GetSpacing(),
                image.GetOrigin(),
            )
        elif path.name == "checkpoint_final.safetensors":
            with safe_open(path, framework="np") as file:
                found |= {
                    f"{name}:{key}": hashlib.sha256(file.get_tensor(key).tobytes()).hexdigest()
                    for key in file.keys()  # noqa: SIM118
                }
        elif path.suffix in (".b2nd", ".csv") or path.name in REPRODUCIBLE or path.parent.name == "2d":
            content = (
                path.read_bytes()
                .replace(str(folder).encode(), b"FOLDER")
                .replace(str(moved_from or folder).encode(), b"FOLDER")
            )
            for weights, file in hashes.items():
                content = content.replace(weights, file)
            found[name] = hashlib.sha256(content).hexdigest()
    return found


REPRODUCIBLE = (
    "plan.json",
    "splits.json",
    "fingerprint.json",
    "dataset.json",
    "summary.json",
    "best_configuration.json",
    "postprocessing.json",
)


def names(folder: Path) -> set[str]:
    """Every file and folder that is there, whatever it holds."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")} - {"output.txt"}
