"""The rules of planning: pure functions from fingerprint and hardware to one decision and its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Decision(Generic[Value]):
    """A planned value and the reason for it in plain words, a sentence that reads on its own."""

    value: Value
    reason: str


def numbers(values: tuple[float, ...] | tuple[int, ...], unit: str = "") -> str:
    """Numbers for a sentence: "1 × 0.5 × 0.5 mm"."""
    return " × ".join(f"{value:.4g}" for value in values) + (f" {unit}" if unit else "")
