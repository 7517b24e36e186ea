"""Text that shows what it is and does nothing: control characters out of names and files, escaped, and cells
of CSV files that are no formulas; numbers with their nouns, and the first of many names."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

# C0 but tab and line feed, DEL and C1, line and paragraph separators, marks that turn the direction of text,
# and halves of characters (bytes of a file name that are no UTF-8)
ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
ONE_LINE = re.compile(f"\n|\t|{ACTING.pattern}")
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")  # what makes a cell a formula; source: OWASP, CSV injection
AS_TEXT = "'"


def printable(text: str) -> str:
    """`text` with control characters as escapes; line feeds and tabs stay."""
    return ACTING.sub(_escape, text)


def one_line(text: str) -> str:
    """`text` with every control character as an escape, line feeds too: for names."""
    return ONE_LINE.sub(_escape, text)


def as_text(cell: str) -> str:
    """The cell with an apostrophe in front where a spreadsheet would work it out.

    Example:
        >>> as_text("=1+1"), as_text("patient 1"), taken_back(as_text("=1+1"))
        ("'=1+1", 'patient 1', '=1+1')
    """
    return f"{AS_TEXT}{cell}" if cell.lstrip(AS_TEXT).startswith(FORMULA_SIGNS) else cell


def taken_back(cell: str) -> str:
    """What `as_text` made the cell of."""
    shielded = cell.startswith(AS_TEXT) and cell.lstrip(AS_TEXT).startswith(FORMULA_SIGNS)
    return cell.removeprefix(AS_TEXT) if shielded else cell


def plural(count: int, noun: str) -> str:
    """A number and its noun.

    Example:
        >>> plural(1, "case"), plural(12, "case")
        ('1 case', '12 cases')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[object], most: int = 10) -> str:
    """Names for a message; of many the first, and how many more there are.

    Example:
        >>> listed(["a.png", "b.png"]), listed(range(1, 8), 3)
        ('a.png, b.png', '1, 2, 3 and 4 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def is_utf8(name: object) -> bool:
    """Whether a name or path, as the system gave it, is UTF-8.

    Example:
        >>> is_utf8("größe"), is_utf8("gr\\udcf6\\udcdfe")
        (True, False)
    """
    try:
        str(name).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()


class PrintableFormatter(logging.Formatter):
    """A log formatter whose lines hold no control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """The formatted record, escaped."""
        return printable(super().format(record))
