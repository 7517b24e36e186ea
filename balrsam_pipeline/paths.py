"""Where things lie: the three roots, datasets by name, number or path, and the only reader of environment
variables."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.layout import DESCRIPTION, ResultsFolder
from balrsam_pipeline.whole_numbers import whole_number

# GNU's OpenMP reads the first, Intel's and LLVM's the second (milliseconds before a waiting thread sleeps)
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """The three folders of docs/architecture.md: raw datasets, preprocessed data, results."""

    raw: Path
    preprocessed: Path
    results: Path


def resolve_roots(
    raw: Path | None = None, preprocessed: Path | None = None, results: Path | None = None
) -> Roots:
    """Choose the roots: an argument, else `balrsam_*`, else (raw only) `nnUNet_raw`, else
    `./balrsam_data/*`."""
    here = Path("balrsam_data")
    raw_default = _from_environment("balrsam_raw") or _from_environment("nnUNet_raw") or here / "raw"
    return Roots(
        raw=raw or raw_default,
        preprocessed=preprocessed or _from_environment("balrsam_preprocessed") or here / "preprocessed",
        results=results or _from_environment("balrsam_results") or here / "results",
    )


def checkpoint_cache() -> Path:
    """The folder that downloaded SAM checkpoints live in: `balrsam_checkpoints`, else the user's cache
    folder."""
    cache = _from_environment("XDG_CACHE_HOME") or Path.home() / ".cache"
    return _from_environment("balrsam_checkpoints") or cache / "balrsam" / "checkpoints"


def look_for_checkpoints_in(folder: Path) -> None:
    """Have SAM checkpoints looked for in a folder, unless the user has named one."""
    os.environ.setdefault("balrsam_checkpoints", str(folder))


def is_offline() -> bool:
    """Whether `balrsam_offline` forbids to fetch anything (set to anything but 0 or nothing)."""
    return _from_environment("balrsam_offline") not in (None, Path("0"))


def gpus_are_hidden() -> bool:
    """Whether `CUDA_VISIBLE_DEVICES` hides all GPUs from this process: set to nothing, or to -1."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")


def wait_passively() -> None:
    """Have threads of OpenMP sleep while they wait for each other, unless the user has set how they wait.

    By default they spin, which on a machine with other work takes the core from the thread that is waited
    for: steps then take many times as long. Has to be called before torch is imported.
    """
    for name, value in PASSIVE.items():
        os.environ.setdefault(name, value)


def compute_with_threads(number: int) -> None:
    """Have OpenMP compute with so many threads, here and in processes that are started. Has to be called
    before torch is imported."""
    os.environ["OMP_NUM_THREADS"] = str(number)


def threads_are_given() -> bool:
    """Whether `OMP_NUM_THREADS` says how many threads compute."""
    return bool(os.environ.get("OMP_NUM_THREADS"))


def given_threads() -> int | None:
    """How many `OMP_NUM_THREADS` says, None where it says nothing or nothing that is understood here."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return whole_number(first)


def launcher_environment() -> dict[str, int]:
    """Rank, local rank, how many ranks there are in all and on this machine, as launchers set them, and how
    often torchrun has started all again; a single process is rank 0 of 1.

    Where a launcher does not say how many are on this machine, all of them are taken to be.

    Raises:
        UsageError: one of their variables is no number.
    """
    world_size = _launched_as("WORLD_SIZE", 1)
    here = _launched_as("LOCAL_WORLD_SIZE", world_size)
    return {
        "rank": _launched_as("RANK", 0),
        "local_rank": _launched_as("LOCAL_RANK", 0),
        "world_size": world_size,
        "local_world_size": max(1, min(here, world_size)),
        "attempt": _launched_as("TORCHELASTIC_RESTART_COUNT", 0),
    }


def _launched_as(name: str, alone: int) -> int:
    said = os.environ.get(name) or str(alone)
    number = whole_number(said)
    if number is None:
        raise UsageError(
            f"the environment variable {name}",
            found=said[:40],
            expected="a whole number, as launchers of several processes set it",
            fix=f"unset {name}",
        )
    return number


def is_first_rank() -> bool:
    """Whether this process speaks for all that a launcher started: alone, or with a RANK that is no number,
    it does."""
    return not whole_number(os.environ.get("RANK", "0"))


def meeting_place() -> str:
    """Where a launcher's processes meet, ADDRESS:PORT; a question mark for what is not said."""
    return ":".join(os.environ.get(name) or "?" for name in ("MASTER_ADDR", "MASTER_PORT"))


def rank_environment(rank: int, world_size: int, port: int) -> dict[str, str]:
    """The environment of a process among several on this machine, as torchrun sets it: on the CPU each
    computes with one thread, unless that was said."""
    values = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return {"OMP_NUM_THREADS": "1", **os.environ, **{name: str(n) for name, n in values.items()}, **meeting}


def find_dataset(dataset: str, roots: Roots) -> Path:
    """Find a raw dataset folder by path, by folder name (`Dataset004_Hippocampus`) or by number (`4`).

    Raises:
        UsageError: no such dataset, or the number fits several; the message lists what is there.
    """
    as_path = Path(dataset)
    if (as_path / DESCRIPTION).is_file():
        return absolute(as_path)
    present = (
        sorted(folder.name for folder in roots.raw.glob("Dataset*_*") if folder.is_dir())
        if roots.raw.is_dir()
        else []
    )
    if dataset in present:
        return absolute(roots.raw / dataset)
    number = whole_number(dataset)
    matches = [name for name in present if dataset_number(name) == number] if number is not None else []
    if len(matches) == 1:
        return absolute(roots.raw / matches[0])
    if as_path.is_dir():
        raise UsageError(
            as_path,
            found=f"a folder without {DESCRIPTION}",
            expected="a raw dataset folder: dataset.json, imagesTr/, labelsTr/",
            fix="point at the dataset folder itself, or make one: balrsam convert --help",
        )
    if not roots.raw.is_dir() and as_path.parent == Path():
        raise UsageError(
            f"dataset '{dataset}'",
            found=f"the folder of raw datasets, {shown(roots.raw)}, does not exist",
            expected="a folder that holds it, or the path of the dataset itself",
            fix="give the folder of raw datasets: --raw FOLDER (or set balrsam_raw)",
        )
    raise UsageError(
        f"dataset '{dataset}'",
        found=f"several with that number: {', '.join(matches)}"
        if matches
        else f"not among those in {roots.raw}: {', '.join(present) or 'none there'}",
        expected="a folder name, a number or a path of one dataset",
        fix="name one of those listed, or give the folder of raw datasets: --raw FOLDER (or set balrsam_raw)",
    )


def shown(path: Path) -> str:
    """The path as a user reads it best: from the working folder on, where it lies below that."""
    whole, here = absolute(path), Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(path)


def absolute(path: Path) -> Path:
    """The path from the root, links left as they are: a dataset is called as the user calls it."""
    return Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow links)


def is_there(path: Path) -> bool:
    """Whether a file is there under a name out of a file: one that is too long, or holds a zero byte, is
    nobody's."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def dataset_number(name: str) -> int | None:
    """The number in `Dataset004_Hippocampus` (4), or None where there is none."""
    match = re.fullmatch(r"Dataset(\d{3,})_.+", name)
    return int(match.group(1)) if match else None


def model_folder(roots: Roots, dataset: str, name: str) -> Path:
    """The results folder of a model: `results/DATASET/CONFIGURATION__balrsam`, or with the plan's name in
    it."""
    return ResultsFolder(roots.results / dataset).model(name).path


def _from_environment(name: str) -> Path | None:
    value = os.environ.get(name)
    return Path(value) if value else None
