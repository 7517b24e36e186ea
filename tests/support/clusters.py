"""A Dask cluster on loopback for tests: a scheduler and workers in processes of their own, as on a real
one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
STARTS_WITHIN_S = 60


@contextmanager
def dask_cluster(
    folder: Path,
    workers: int = 2,
    scheduler: Sequence[str] = (),
    worker: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> Iterator[Path]:
    """Run a scheduler and workers (one process, one thread each); yields the scheduler file."""
    file = folder / "scheduler.json"
    every = {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests'}"}
    with ExitStack() as stack:
        words = [
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(file),
            *scheduler,
        ]
        stack.enter_context(_running(words, folder / "scheduler.log", every | (environment or {})))
        _wait_for(file)
        for number in range(workers):
            words = [
                "worker",
                "--scheduler-file",
                str(file),
                "--nthreads",
                "1",
                "--no-dashboard",
                "--name",
                str(number),
                *worker,
            ]
            words += ["--local-directory", str(folder / f"worker-{number}")]
            stack.enter_context(_running(words, folder / f"worker-{number}.log", every | (environment or {})))
        yield file


@contextmanager
def _running(words: Sequence[str], log: Path, environment: dict[str, str]) -> Iterator[None]:
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
        )
        log.with_suffix(".pid").write_text(str(process.pid))
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(file: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN_S
    while not (file.is_file() and file.stat().st_size):
        if time.monotonic() > until:
            pytest.fail(f"no scheduler: {(file.parent / 'scheduler.log').read_text()}")
        time.sleep(0.1)


def wait_for_workers(file: Path, workers: int) -> None:
    """Wait until so many workers have joined."""
    import distributed

    with distributed.Client(json.loads(file.read_text())["address"], set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=STARTS_WITHIN_S)


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """A certificate authority of our own, and one certificate with its key that it has signed: (ca,
    certificate, key)."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make certificates with")
    ca, ca_key, request, certificate, key = (
        folder / name for name in ("ca.pem", "ca-key.pem", "request.pem", "cert.pem", "key.pem")
    )
    new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj"]
    sign = [
        "openssl",
        "x509",
        "-req",
        "-in",
        request,
        "-CA",
        ca,
        "-CAkey",
        ca_key,
        "-CAcreateserial",
        "-days",
        "1",
        "-out",
        certificate,
    ]
    for command in (
        [*new, "/CN=balrsam test CA", "-x509", "-days", "1", "-keyout", ca_key, "-out", ca],
        [*new, "/CN=balrsam test", "-keyout", key, "-out", request],
        sign,
    ):
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return ca, certificate, key
