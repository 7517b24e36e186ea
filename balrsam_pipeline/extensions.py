"""Code of a user's own package, named `package.module:name` in settings: found when it is called, never by
looking around.

A name is code. Settings are their user's own; a plan that names a part of its network may be somebody else's,
so models that travel as archives must not name any (`refuse_in_archive`).
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from balrsam_pipeline.errors import BalrsamError, PredictionError

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
FORM = "package.module:name"


def is_extension_name(name: str) -> bool:
    """Whether a text has the form of the name of an extension.

    Example:
        >>> is_extension_name("my_lab.losses:tversky"), is_extension_name("losses.py")
        (True, False)
    """
    return _NAME.fullmatch(name) is not None


def load_extension(name: str, what: str, error: type[BalrsamError]) -> Callable[..., Any]:
    """Import the function or class that a name stands for.

    Args:
        what: it is to be, for messages: "loss".
        error: raised where it cannot be had.

    Raises:
        BalrsamError: of the kind `error`: no such module, nothing of that name in it, or nothing to call.

    Example:
        >>> load_extension("math:sqrt", "loss", BalrsamError)(9.0)
        3.0
    """
    module_name, _, attribute = name.partition(":")
    if not is_extension_name(name):
        raise error(f"{what} '{name}'", found="another form", expected=FORM, fix="correct it in the settings")
    try:
        module = importlib.import_module(module_name)
    except ImportError as problem:
        raise error(
            f"{what} '{name}'",
            found=f"'{module_name}' cannot be imported: {problem}",
            expected="a package that is installed beside balrsam-pipeline",
            fix="install the package that has it (pip install …), or name its folder in PYTHONPATH",
        ) from problem
    found = getattr(module, attribute, None)
    if not callable(found):
        raise error(
            f"{what} '{name}'",
            found=f"nothing to call of that name in {module.__name__}",
            expected="a function or a class",
            fix="correct the part after the colon",
        )
    loaded: Callable[..., Any] = found
    return loaded


loaded_once = functools.cache(load_extension)


def refuse_in_archive(where: Path, extension: str) -> None:
    """Refuse a model whose network has a part of a user's package where it is, or is to be, an archive:
    whoever installs it would run code that the archive names.

    Raises:
        PredictionError: it names one.
    """
    if extension:
        raise PredictionError(
            where,
            found=f"a network with a part of one's own, '{extension}'",
            expected="a model that this program can run alone: archives must not name code",
            fix="hand on the model's folder together with the package that has the part, to people who trust "
            "you; a model trained without 'network_extension' can be exported",
        )
