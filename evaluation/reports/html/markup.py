"""Small pieces of HTML. Every text that comes from data goes through `text`, so that a file name can never
become markup."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from balrsam_pipeline import __version__

TOTAL = "class='total' data-total='1'"  # attributes of a row that sums up the others


def text(value: object) -> str:
    """A value as HTML text, safe also inside a quoted attribute."""
    return html.escape(str(value), quote=True)


def number(value: float | None, signed: bool = False) -> str:
    """A score as people print it: three decimals below 10, one above; an en dash where there is none."""
    if value is None:
        return "–"
    digits = 3 if abs(value) < 10 else 1
    value = round(value, digits) + 0.0  # no minus before a zero
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def plural(count: int, noun: str) -> str:
    """A number and its noun: '1 case', '12 cases'."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def p_value(value: float | None) -> str:
    """A p value as papers print it."""
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(bounds: tuple[float, float] | None) -> str:
    """A 95 % interval in brackets; empty where there is none."""
    return f"[{number(bounds[0])}, {number(bounds[1])}]" if bounds else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]], attributes: Sequence[str] = ()) -> str:
    """A table of cells that are markup already; the first column is text, the others numbers. A click on a
    title sorts (tables.js).

    Args:
        attributes: of each row, such as `TOTAL` for one that stays at the end.
    """
    head = "".join(f"<th scope='col'>{cell}</th>" for cell in header)
    body = "".join(
        f"<tr {attribute}><th scope='row'>{row[0]}</th>"
        + "".join(f"<td>{cell}</td>" for cell in row[1:])
        + "</tr>"
        for row, attribute in zip(rows, attributes or [""] * len(rows), strict=True)
    )
    return (
        "<div class='scroll'><table class='sortable "
        f"static'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def section(identifier: str, title: str, body: str, lead: str = "") -> str:
    """A titled part of the page; nothing where there is no body."""
    if not body:
        return ""
    return (
        "<section "
        f"id='{identifier}'><h2>{text(title)}</h2>{f'<p class=lead>{text(lead)}</p>' if lead else ''}"
        f"{body}</section>"
    )


def embedded(identifier: str, value: Any) -> str:
    """JSON data for the page's script; '<' is escaped, so that no text can end the element."""
    data = (
        json.dumps(value, allow_nan=False, separators=(",", ":"))
        .replace("<", "\\u003c")
        .replace("\u2028", "\\u2028")
    )
    return f"<script type='application/json' id='{identifier}'>{data}</script>"


def page(
    title: str, body: str, data: Sequence[str] = (), scripts: Sequence[str] = ("report.js", "tables.js")
) -> str:
    """A whole page with its style and scripts inside; the content policy forbids every request."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<meta http-equiv='Content-Security-Policy' content=\"{policy}\">"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{text(title)}</title><style>{_asset('report.css')}</style></head>\n<body><main>{body}</main>"
        f"<footer>Made by balrsam-pipeline {text(__version__)}. Keep this file: it needs no other.</footer>\n"
        + "\n".join(data)
        + "".join(f"<script>{_asset(name)}</script>" for name in scripts)
        + "</body></html>\n"
    )


def _asset(name: str) -> str:
    return resources.files("evaluation.reports.html").joinpath(name).read_text(encoding="utf-8")
