"""Cells of CSV files that spreadsheets take for the text that they are, whatever names are in them."""

from __future__ import annotations

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")  # what makes a cell a formula; source: OWASP, CSV injection
AS_TEXT = "'"


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
