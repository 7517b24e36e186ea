"""What a fold is called: its number in the cross-validation, or `all`: trained on every case, validated on
none."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Literal

ALL: Literal["all"] = "all"
FoldName = int | Literal["all"]


def fold_name(word: str | int) -> FoldName:
    """The fold that a word names.

    Raises:
        ArgumentTypeError: it is neither a number nor `all`.

    Example:
        >>> fold_name("0"), fold_name("all")
        (0, 'all')
    """
    if word == ALL:
        return ALL
    try:
        return int(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{word}' is neither the number of a fold nor all") from None


def fold_number(word: str) -> int:
    """The number of a fold of the cross-validation, for commands that need its validation.

    Raises:
        ArgumentTypeError: it is no number, or `all`, which has no validation.
    """
    name = fold_name(word)
    if name == ALL:
        raise argparse.ArgumentTypeError(
            "'all' is trained on every case, so that none is left to validate it on; it is trained with "
            "'balrsam train DATASET --fold all', and every fold of the cross-validation is taken where none "
            "is named"
        )
    return name


def numbered(folds: Iterable[FoldName]) -> tuple[int, ...]:
    """Those of the cross-validation among `folds`."""
    return tuple(fold for fold in folds if fold != ALL)
