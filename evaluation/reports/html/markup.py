"""The pages' templates, and how numbers are printed on them. Jinja2 escapes every text that comes from data,
so that a file name can never become markup."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from balrsam_pipeline import __version__
from balrsam_pipeline.printable import plural

PACKAGE = "evaluation.reports.html"


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a cell of a table.

    Attributes:
        small: what follows in small letters; '' for nothing.
        kind: the class of the style sheet; '' for none.
    """

    text: str
    small: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        case: the number of the case that a click opens; None where there is none.
        is_total: it sums up the others, and stays at the end when the table is sorted.
    """

    cells: tuple[Cell, ...]
    case: int | None = None
    is_total: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page; the first column is text, the others are numbers."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]


def page(template: str, scripts: tuple[str, ...], **values: Any) -> str:
    """A whole page from a template of this package, with its style and scripts inside."""
    return _environment().get_template(template).render(scripts=scripts, **values)


def text(value: object) -> str:
    """A value as HTML text, safe also inside a quoted attribute; for drawings, which no template makes."""
    return html.escape(str(value), quote=True)


def number(value: float | None, signed: bool = False) -> str:
    """A score as people print it: three decimals below 10, one above; an en dash where there is none.

    >>> number(0.87654), number(123.45), number(None), number(0.1, signed=True)
    ('0.877', '123.5', '–', '+0.100')
    """
    if value is None:
        return "–"
    digits = 3 if abs(value) < 10 else 1
    value = round(value, digits) + 0.0  # no minus before a zero
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def p_value(value: float | None) -> str:
    """A p value as papers print it."""
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(bounds: tuple[float, float] | None) -> str:
    """A 95 % interval in brackets; empty where there is none."""
    return f"[{number(bounds[0])}, {number(bounds[1])}]" if bounds else ""


def embedded(identifier: str, value: Any) -> Markup:
    """JSON data for the page's script; '<' is escaped, so that no text can end the element."""
    data = (
        json.dumps(value, allow_nan=False, separators=(",", ":"))
        .replace("<", "\\u003c")
        .replace("\u2028", "\\u2028")
    )
    return Markup("<script type='application/json' id='{}'>").format(identifier) + Markup(data + "</script>")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(PACKAGE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "signed": lambda value: number(value, signed=True),
        "interval": interval,
    }
    environment.globals |= {
        "plural": plural,
        "embedded": embedded,
        "version": __version__,
        "asset": lambda name: Markup(resources.files(PACKAGE).joinpath(name).read_text(encoding="utf-8")),
    }
    return environment
