"""What a cross-validation's summary.json says of the folds that it pools."""

from __future__ import annotations

import re
from typing import Any

OURS = "balrsam"  # the key of what nnU-Net's summary.json does not have
FOLDS = "folds"  # in a summary that is shared, which names no cases


def part_of_fold(fold: int) -> str:
    """What a fold's cases are called among those that are pooled.

    Example:
        >>> part_of_fold(2)
        'fold 2'
    """
    return f"fold {fold}"


def pooled_folds(summary: Any) -> tuple[int, ...]:
    """The folds that the content of a summary.json is of, ascending; none where it does not say.

    Example:
        >>> pooled_folds({"balrsam": {"groups": {"a": "fold 2", "b": "fold 0"}}}), pooled_folds({})
        ((0, 2), ())
    """
    content = summary if isinstance(summary, dict) else {}
    if isinstance(content.get(FOLDS), list):
        return tuple(sorted(fold for fold in content[FOLDS] if isinstance(fold, int)))
    ours = content.get(OURS)
    groups = ours.get("groups") if isinstance(ours, dict) else None
    names = set(map(str, groups.values())) if isinstance(groups, dict) else set()
    matches = (re.fullmatch(r"fold (\d+)", name) for name in names)
    return tuple(sorted(int(match[1]) for match in matches if match))
