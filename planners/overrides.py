"""What the user decides instead of the rules."""

from __future__ import annotations

from dataclasses import dataclass

from balrsam_pipeline.errors import PlanError
from balrsam_pipeline.plan import Backbone
from planners.rules import numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the user decided instead of the rules; None leaves the decision to them. `spacing_mm` is (z, y, x)
    on raw axes."""

    backbone: Backbone | None = None
    input_size: int | None = None
    tiles: int | None = None
    batch_size: int | None = None
    spacing_mm: tuple[float, float, float] | None = None
    checkpoint: str | None = None

    def as_text(self) -> dict[str, str]:
        """The decisions made, for the plan to record."""
        values = {
            name: getattr(self, name)
            for name in ("backbone", "checkpoint", "input_size", "tiles", "batch_size", "spacing_mm")
        }
        return {
            name: numbers(value) if isinstance(value, tuple) else str(value)
            for name, value in values.items()
            if value is not None
        }


def require_sound(overrides: Overrides) -> None:
    """Check the values that a user gave.

    Raises:
        PlanError: one makes no sense.
    """
    batch = overrides.batch_size
    for option, side in (("--input-size", overrides.input_size), ("--tiles", overrides.tiles)):
        if side is not None and (side <= 0 or side % 16):
            raise _refused(option, str(side), "a multiple of 16, best 112, 224, 448, 672, 896 or SAM's 1024")
    if overrides.input_size is not None and overrides.tiles is not None:
        raise _refused("--tiles", "--input-size as well", "whole slices (--input-size) or tiles (--tiles)")
    if batch is not None and batch < 1:
        raise _refused("--batch-size", str(batch), "1 or more")
    if overrides.spacing_mm is not None and min(overrides.spacing_mm) <= 0:
        raise _refused("--spacing", numbers(overrides.spacing_mm), "three positive numbers in mm: z y x")


def _refused(option: str, found: str, expected: str) -> PlanError:
    return PlanError(
        option, found=found, expected=expected, fix="correct the option, or leave it out to have it planned"
    )
