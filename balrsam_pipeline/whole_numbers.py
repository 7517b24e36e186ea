"""Whole numbers that people write as text: of datasets, labels, channels, ports."""

from __future__ import annotations

MOST_DIGITS = 10  # as 32 bits have; Python itself raises above 4,300


def whole_number(text: str) -> int | None:
    """The number that decimal digits stand for; None for any other text, and for more than MOST_DIGITS.

    Example:
        >>> whole_number("007"), whole_number("-1"), whole_number("²"), whole_number("9" * 5000)
        (7, None, None, None)
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None
