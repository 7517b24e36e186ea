"""How a plan refuses a value that makes no sense."""

from __future__ import annotations

import re

from balrsam_pipeline.errors import PlanError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def require(name: str, holds: bool, value: object, expected: str) -> None:
    """Check one value of a plan.

    Raises:
        PlanError: `holds` is false; the message names the value.
    """
    if not holds:
        raise PlanError(
            f"plan value '{name}'",
            found=str(value),
            expected=expected,
            fix=f"correct '{name}' in the plan or the option that sets it",
        )


def is_folder_name(name: str) -> bool:
    """Whether a name out of a file may become the name of a folder, or part of one: no path, nothing hidden.

    Example:
        >>> is_folder_name("2.5d"), is_folder_name("../2d"), is_folder_name("a/b"), is_folder_name("..")
        (True, False, False, False)
    """
    return _NAME.fullmatch(name) is not None
