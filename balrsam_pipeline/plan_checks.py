"""How a plan refuses a value that makes no sense."""

from __future__ import annotations

from balrsam_pipeline.errors import PlanError


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
