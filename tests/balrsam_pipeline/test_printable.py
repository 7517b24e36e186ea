"""Names out of data act on nothing: not on a terminal, not on a log."""

from __future__ import annotations

import logging

import pytest

from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.printable import PrintableFormatter, listed, one_line, printable

ACTING = "\x1b]0;title\x07\x1b[2J\r\x9b31m\x7f\u202e\u2066\udcff"


def test_control_characters_are_shown_escaped() -> None:
    assert printable("a\x1b[2Jb\r\x07") == "a\\x1b[2Jb\\r\\x07"
    assert printable("rows\nand\tcolumns, ü × 5 µm") == "rows\nand\tcolumns, ü × 5 µm"
    assert printable(ACTING).isascii()
    assert printable(ACTING).isprintable()


def test_a_name_stays_in_its_line() -> None:
    assert one_line("case\nfix: delete everything") == "case\\nfix: delete everything"


def test_of_many_names_the_first_are_listed_and_the_others_counted() -> None:
    assert listed([]) == "" and listed("a") == "a"
    assert listed("abcdefghij") == "a, b, c, d, e, f, g, h, i, j"
    assert listed("abcdefghijkl") == "a, b, c, d, e, f, g, h, i, j and 2 more"
    assert listed("abc", 2) == "a, b and 1 more"


@pytest.mark.parametrize("part", ["where", "found", "expected", "fix"])
def test_no_part_of_a_message_acts_on_the_terminal(part: str) -> None:
    parts = {"where": "w", "found": "f", "expected": "e", "fix": "x"} | {part: ACTING}
    error = DatasetError(parts.pop("where"), **parts)
    assert str(error).replace("\n", "").isprintable()


def test_no_log_line_acts_on_the_terminal() -> None:
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, "case %s", (ACTING,), None)
    assert PrintableFormatter("%(message)s").format(record).isprintable()
