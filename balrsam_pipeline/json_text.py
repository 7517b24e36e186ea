"""The one reader of JSON: text from files, archives and logs, with limits on size, depth and digits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

LARGEST_BYTES = 2**30  # a fingerprint of 100,000 cases is a tenth of it
DEEPEST = 100  # levels; ours have six
MOST_DIGITS = 25  # a whole number of 64 bits has 20; Python itself refuses more than 4,300
OPENING = re.compile(rb"[\[{]")


class JsonTextError(ValueError):
    """Text that is no JSON, or JSON beyond the limits; the message says what is wrong and where."""


def parse_json(content: bytes | str, taken_for: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The value of JSON text; bytes may be UTF-8 (with or without a byte-order mark), UTF-16 or UTF-32.

    Args:
        taken_for: makes of each object, as soon as it is read, what stands in its place.

    Raises:
        JsonTextError: no JSON, larger than LARGEST_BYTES, deeper than DEEPEST, or a number of more than
            MOST_DIGITS digits.
    """
    if len(content) > LARGEST_BYTES:
        raise JsonTextError(f"{len(content) / 2**30:.1f} GiB of text, more than any file of ours has")
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    openings = sum(1 for _ in OPENING.finditer(raw))
    try:
        if isinstance(content, bytes):  # as `loads` does, which would keep the bytes beside the text
            content = content.decode(json.detect_encoding(content), "surrogatepass")
        del raw
        value = json.loads(content, parse_int=_whole_number, object_hook=taken_for)
    except RecursionError:
        raise JsonTextError(f"lists or objects nested more than {DEEPEST} deep") from None
    except ValueError as problem:  # no JSON, no known encoding, or too many digits
        raise JsonTextError(str(problem)) from None
    if openings > DEEPEST:
        _refuse_depth(value)
    return value


def parse_table(content: bytes | str) -> Any:
    """The same of a large table of ours, whose reader looks at every value itself: without counting digits
    and levels, which would take most of the time. Python refuses 4,300 digits and 1,000 levels.

    Raises:
        JsonTextError: no JSON, or beyond Python's limits.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise JsonTextError("lists or objects nested too deep") from None
    except ValueError as problem:
        raise JsonTextError(str(problem)) from None


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise JsonTextError(f"a number of {len(digits)} digits ({digits[:8]}…)")
    return int(digits)


def _refuse_depth(value: Any) -> None:
    """Walk level by level, for the functions that come after do so recursively."""
    level = [value]
    for _ in range(DEEPEST):
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise JsonTextError(f"lists or objects nested more than {DEEPEST} deep")


def _children(item: Any) -> list[Any]:
    inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return [child for child in inner if isinstance(child, dict | list)]
