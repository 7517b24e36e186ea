"""A Python that has nothing that POSIX alone has: modules, calls, signals, ways to start processes.

`site_of(folder)` writes what makes it so; a process with that folder in PYTHONPATH is one, and so are the
processes that it starts.
"""

from __future__ import annotations

from pathlib import Path

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix_ipc")
# without those that NumPy, torch and shutil.disk_usage call where they see Linux (uname, sysconf, statvfs)
CALLS = ("pread", "pwrite", "killpg", "getuid", "geteuid", "sched_getaffinity", "O_NOFOLLOW")
CALLS += ("O_NONBLOCK", "getpgid", "setsid", "mkfifo", "getloadavg", "fchmod", "chown")
SITE = """
import os, sys
for name in {modules}:
    sys.modules[name] = None  # importing it is an ImportError
import signal
for name in ("SIGUSR1", "SIGUSR2", "SIGHUP"):
    delattr(signal, name)
import multiprocessing
multiprocessing.get_all_start_methods = lambda: ["spawn"]
import subprocess, tempfile, shutil, threading  # which were made for the system that they find
for name in {calls}:
    hasattr(os, name) and delattr(os, name)
os.supports_fd = set()
"""


def site_of(folder: Path) -> Path:
    """Write `sitecustomize.py` into a folder, which Python imports when it starts; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(SITE.format(modules=MODULES, calls=CALLS))
    return folder
