"""Training several folds at the same time on the devices of one machine, each in a process of its own that
ends when this one does."""

from __future__ import annotations

import dataclasses
import logging
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.files import write_json
from balrsam_pipeline.layout import FoldFolder, ModelFolder
from balrsam_pipeline.paths import given_threads, shown
from balrsam_pipeline.processor import usable_cores
from balrsam_pipeline.progress import Phase, how_it_stands, phase
from balrsam_pipeline.serialise import to_json
from trainers.data import workers_beside_gpu
from trainers.parallel.cluster_worker import wait_for_former
from trainers.request import TrainRequest
from trainers.stopping import TrainingStopped

LOG = logging.getLogger(__name__)
LAST_LINES = 4  # of a training that failed: what, where, and how to mend it
MOST_FAILURES = 2  # of a device, in a row
STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ")  # before what another process logs


def train_over_devices(wanted: Sequence[TrainRequest], devices: Sequence[str]) -> None:
    """Train folds at the same time, one on each device; whoever asks for one of them then finds it done.

    Args:
        wanted: each with its configuration and fold.
        devices: one may be named several times; trainings on a CPU share its cores.

    Raises:
        TrainingError: folds could not be trained.
        TrainingStopped: asked to stop; the same call goes on.
    """
    places = shares(devices[: len(wanted)])
    running, codes = _Trainings(), dict[str, int]()
    waiting, former = _Waiting(wanted, [place.device for place in places]), _written(wanted)

    def train_here(place: Share) -> None:
        """Folds that wait, one after the other, until none does or the device is given no other."""
        while (request := waiting.take(place.device)) is not None:
            codes[_name(request)] = code = running.train(place.given_to(request))
            waiting.note(place.device, request, code)

    with running.told(), ThreadPoolExecutor(len(places)) as threads:
        ends = [threads.submit(train_here, place) for place in places]
        try:
            for end in ends:
                end.result()
        except BaseException:
            waiting.clear()
            running.stop()
            raise
    failed = [each for each in wanted if codes.get(_name(each))]
    if failed:
        ended_with = {_name(each): codes[_name(each)] for each in failed}
        raise _not_all_trained(ended_with, running.last_words(), _logs_since(failed, former))


class _Waiting:
    """Folds that wait, and which devices are given more of them; several threads take from it.

    What fails may be the device's fault, and would then be that of all that wait, or the fold's, or that of
    its configuration. So a device that failed one is given one of another configuration next, where one
    waits; and none any more after MOST_FAILURES in a row, unless another device failed the same
    configuration too, or it is the last.
    """

    def __init__(self, wanted: Sequence[TrainRequest], devices: Sequence[str]) -> None:
        self._folds, self._lock = list(wanted), Lock()
        self._left = set(devices)
        self._in_a_row: dict[str, list[str | None]] = {device: [] for device in devices}
        self._failed_on: dict[str | None, set[str]] = {}

    def take(self, device: str) -> TrainRequest | None:
        """The next fold for the device; None where none waits, or it is given no other."""
        with self._lock:
            if not self._folds or device not in self._left:
                return None
            failed = self._in_a_row[device]
            others = (at for at, fold in enumerate(self._folds) if fold.configuration not in failed)
            return self._folds.pop(next(others, 0))

    def note(self, device: str, request: TrainRequest, code: int) -> None:
        """A training there ended with this exit code."""
        with self._lock:
            if code == 0:
                self._in_a_row[device].clear()
            if code in (0, TrainingStopped.exit_code) or device == "cpu":
                return
            devices = self._failed_on.setdefault(request.configuration, set())
            devices.add(device)
            if devices != {device}:
                return
            self._in_a_row[device].append(request.configuration)
            if len(self._in_a_row[device]) >= MOST_FAILURES and self._left > {device}:
                self._left.remove(device)
                LOG.warning(
                    "%s failed on %s, as did what was trained there before: it is given no other fold",
                    _name(request),
                    device,
                )

    def clear(self) -> None:
        """Have none wait any more."""
        with self._lock:
            self._folds.clear()


def _written(wanted: Sequence[TrainRequest]) -> dict[Path, int]:
    """When each of the logs that are there was last written (ns)."""
    logs = [_folder(request).text_log for request in wanted]
    return {log: log.stat().st_mtime_ns for log in logs if log.is_file()}


def _logs_since(requests: Sequence[TrainRequest], former: Mapping[Path, int]) -> list[Path]:
    """The logs of trainings that have been written since `former`."""
    return [log for log, written_ns in _written(requests).items() if former.get(log) != written_ns]


def _not_all_trained(failed: Mapping[str, int], last_words: str, logs: Sequence[Path]) -> TrainingError:
    """What is raised where folds failed (name -> exit code), or were stopped."""
    kind = TrainingStopped if set(failed.values()) == {TrainingStopped.exit_code} else TrainingError
    there = ", ".join(map(shown, logs))
    return kind(
        "; ".join(failed),
        found=f"ended with exit codes {', '.join(map(str, failed.values()))}: {last_words}",
        expected="every fold trained",
        fix=f"fix what they name{f' (logs: {there})' if there else ''}, then run the same command "
        "again: it goes on",
    )


@dataclass(frozen=True, slots=True)
class Share:
    """A device, and the part of the machine's cores that goes with it: processes that make batches beside a
    GPU, threads that compute on the CPU, of which there are as many processes that score; None leaves them to
    the training."""

    device: str
    workers: int | None = None
    threads: int | None = None

    def given_to(self, request: TrainRequest) -> TrainRequest:
        """The training here; what it says itself goes before."""
        workers = self.workers if request.workers is None else request.workers
        threads = self.threads if request.threads is None else request.threads
        return dataclasses.replace(request, device=self.device, workers=workers, threads=threads)


def shares(devices: Sequence[str]) -> list[Share]:
    """The cores of this machine shared among devices, of which one may be named several times.

    Where `OMP_NUM_THREADS` says how many threads compute, it says so for each on a CPU.
    """
    cores, cpus, given = usable_cores(), devices.count("cpu"), given_threads()
    places: list[Share] = []
    for device in devices:
        if device == "cpu":
            place = sum(share.device == "cpu" for share in places)
            shared = max(1, cores // cpus + (place < cores % cpus))
            places.append(Share(device, threads=min(given, cores) if given else shared))
        elif device.startswith("cuda"):
            workers = workers_beside_gpu(cores, len(devices))
            places.append(Share(device, workers=workers, threads=max(1, cores // len(devices))))
        else:
            places.append(Share(device))
    return places


def _name(request: TrainRequest) -> str:
    return f"{request.configuration}, fold {request.fold}"


def _folder(request: TrainRequest) -> FoldFolder:
    return ModelFolder(request.model_folder(str(request.configuration))).fold(request.fold)


def _named(line: str, name: str) -> str:
    """A line that a training says, with its name before it unless that is in it.

    Example:
        >>> _named("fold 0: trained 60 steps", "2d, fold 0"), _named("device cpu", "2d, fold 0")
        ('2d, fold 0: trained 60 steps', '2d, fold 0: device cpu')
    """
    rest = line.removeprefix(f"{name.partition(', ')[2]}: ")
    return line if name in line or not line.strip() else f"{name}: {rest}"


class _Trainings:
    """The processes that train, and how far each is."""

    def __init__(self) -> None:
        self._processes: set[subprocess.Popen[str]] = set()
        self._stands: dict[str, str] = {}
        self._lock, self._stopped = Lock(), False
        self._going: Phase | None = None
        self._last: dict[str, str] = {}

    def train(self, request: TrainRequest) -> int:
        """Train a fold in a process of its own; its exit code."""
        folder = _folder(request)
        wait_for_former(folder.path)  # of a run that was killed
        settings = folder.settings
        write_json(settings, to_json(request.config))
        attached = (sys.executable, "-m", "balrsam_pipeline.execution.supervise")
        words = (*attached, sys.executable, "-m", "balrsam_pipeline", *request.to_argv(settings))
        with self._lock:
            if self._stopped:
                return TrainingStopped.exit_code
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
            self._processes.add(process)
        try:
            return self._follow(process, _name(request))
        finally:
            settings.unlink(missing_ok=True)

    def stop(self) -> None:
        """Have all of them save and end, and begin no other."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                if process.stdin is not None:
                    process.stdin.close()

    def last_words(self) -> str:
        """The end of what those said that failed."""
        return "; ".join(self._last.values())

    @contextmanager
    def told(self) -> Iterator[None]:
        """While they train, one line says how far they are; what else they say stands in lines of its own."""
        with phase("training") as going:
            self._going = going
            yield

    def _tell(self, name: str, stands: str) -> None:
        with self._lock:
            self._stands[name] = stands
            if self._going is not None:
                self._going.advance(0, "; ".join(self._stands.values()))

    def _follow(self, process: subprocess.Popen[str], name: str) -> int:
        """Say what the process says until it ends."""
        last: deque[str] = deque(maxlen=LAST_LINES)
        with process:
            for line in process.stderr or ():
                said = _named(STAMP.sub("", line.rstrip("\n")), name)
                stands = how_it_stands(said)
                if stands is not None:
                    self._tell(name, stands)
                    continue
                LOG.info("%s", said)
                if said.strip():
                    last.append(said.strip())
            code = process.wait()
        with self._lock:
            self._processes.discard(process)
            self._stands.pop(name, None)
            if code:
                self._last[name] = " ".join(last)
        return code
