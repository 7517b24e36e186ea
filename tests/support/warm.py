"""`balrsam` in processes of its own that begin with everything imported: importing takes several seconds of a
processor, most commands of a test less than one.

Each process is forked from one that computes nothing (`warm_server`), has a session of its own, ends as an
interpreter does, and can be killed as any other.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
LONGEST_S = 600.0


class WarmProcess:
    """A command that was started, with what tests need of `subprocess.Popen`."""

    def __init__(self, words: tuple[str, ...], pid: int, ended: Path) -> None:
        self.args, self.pid, self._ended = words, pid, ended
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code (negative: by which signal), None while it runs."""
        if self.returncode is None and self._ended.exists():
            self.returncode = int(self._ended.read_text())
        return self.returncode

    def wait(self, timeout: float = LONGEST_S) -> int:
        """The exit code, when it has ended.

        Raises:
            subprocess.TimeoutExpired: it runs for so many seconds more.
        """
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(list(self.args), timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class WarmPython:
    """Where such processes come from; the first one waits for the imports."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="balrsam-warm-")
        self._count = 0

    def begin(self) -> subprocess.Popen[str]:
        """Wait until everything is imported; returns the server."""
        if self._server is None:
            paths = {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
            threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
            self._server = subprocess.Popen(
                [sys.executable, "-m", "support.warm_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | paths | threads,
            )
            assert self._server.stdout is not None
            assert self._server.stdout.readline() == "ready\n", "the server of warm processes did not start"
        return self._server

    def start(
        self,
        words: tuple[object, ...],
        output: Path,
        errors: Path | None = None,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> WarmProcess:
        """Start `balrsam WORDS…`.

        Args:
            output: a file that what it says is added to.
            errors: the same for standard error; None for the same file.
        """
        server = self.begin()
        self._count += 1
        ended = Path(self._folder.name) / f"{self._count}.code"
        command = tuple(map(str, words))
        request = {
            "words": command,
            "folder": str(cwd or Path.cwd()),
            "stdout": str(output.resolve()),
            "stderr": str((errors or output).resolve()),
            "environment": {**os.environ, **(environment or {})},
            "ended": str(ended),
        }
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        return WarmProcess(("balrsam", *command), int(server.stdout.readline()), ended)

    def run(self, *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run `balrsam WORDS…` to its end."""
        output, errors = (Path(self._folder.name) / f"{self._count + 1}.{name}" for name in ("out", "err"))
        process = self.start(words, output, errors, cwd)
        try:
            code = process.wait()
        finally:
            process.send_signal(signal.SIGKILL)
        said, told = (path.read_text(encoding="utf-8") for path in (output, errors))
        return subprocess.CompletedProcess(list(process.args), code, said, told)

    def close(self) -> None:
        """End the server; processes that still run are those of whoever started them."""
        if self._server is not None:
            assert self._server.stdin is not None
            self._server.stdin.close()
            self._server.wait(timeout=60)
        self._folder.cleanup()
