"""What an evaluation is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from balrsam_pipeline.errors import EvaluationError
from evaluation.protocols import PROTOCOLS, Protocol

Group = Literal["overlap", "surface", "nsd", "detection"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """How to score.

    Attributes:
        protocol: a name of `evaluation.protocols.PROTOCOLS`: what empty masks count as.
        metrics: which groups of metrics to compute; overlap is always computed.
        tolerances_mm: the tolerances of NSD, in mm (pixels for images without a physical size).
        workers: how many cases are scored at once.
        missing_as_empty: score a case without a prediction as if the prediction were empty, instead of
            refusing.

    Raises:
        EvaluationError: a value is out of range or unknown.
    """

    protocol: str = "default"
    metrics: tuple[Group, ...] = ("overlap", "surface", "nsd")
    tolerances_mm: tuple[float, ...] = (1.0,)
    workers: int = 1
    missing_as_empty: bool = False

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise _wrong("protocol", repr(self.protocol), f"one of {', '.join(PROTOCOLS)}")
        unknown = sorted(set(self.metrics) - set(GROUPS))
        if unknown:
            raise _wrong("metrics", ", ".join(unknown), f"any of {', '.join(GROUPS)}")
        if not all(math.isfinite(tolerance) and tolerance >= 0 for tolerance in self.tolerances_mm):
            raise _wrong("tolerance", str(self.tolerances_mm), "finite values of 0 or more")
        if self.workers < 1:
            raise _wrong("workers", str(self.workers), "1 or more")

    @property
    def rules(self) -> Protocol:
        """The protocol that `protocol` names."""
        return PROTOCOLS[self.protocol]


def _wrong(option: str, found: str, expected: str) -> EvaluationError:
    return EvaluationError(
        f"evaluation option '{option}'", found=found, expected=expected, fix=f"correct --{option}"
    )
