"""Starting processes from a script that has no `if __name__ == "__main__"`.

A new process usually runs the user's script again, to know what is defined there. Our workers call functions
of this package alone, which they import by name; so the script is hidden from them while they start.
"""

from __future__ import annotations

import functools
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SWAPPING = threading.Lock()


@contextmanager
def hidden_main(function: Callable[..., Any] | None = None) -> Iterator[None]:
    """Let processes that start in the body begin without the script that runs here.

    Args:
        function: the first that the process will call; where it is the script's own, nothing is hidden.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if getattr(function, "__module__", None) == "__main__":
        yield
        return
    with _SWAPPING:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
