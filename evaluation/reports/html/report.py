"""report.html: headline, labels, worst cases with pictures, every case, cross-validation, strata, method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from balrsam_pipeline.files import write_text
from evaluation.metrics.registry import metric_of
from evaluation.reports.html import sections
from evaluation.reports.html.further_cases import divided, write_further
from evaluation.reports.html.markup import page
from evaluation.reports.html.pictures import pictures_of
from evaluation.reports.strata import Strata
from evaluation.summary import Summary, counted_metric, counted_value
from evaluation.view import PRESETS, colours_of
from evaluation.view.brightness import ct_values

MOST_CHIPS = 12  # cases offered above the pictures
LARGEST_INDEX = 255  # pictures keep a label in a byte
LEGEND = (  # the colours of report.js
    ("#46beff", "both agree"),
    ("#ff46c8", "in the reference: missed, or labelled otherwise"),
    ("#ffc828", "predicted, not in the reference"),
)
CASE_KEYS = ("dice", "hd95", "assd", "precision", "recall")


def write_html(
    summary: Summary, path: Path, title: str, strata: Strata | None = None, images: Path | None = None
) -> None:
    """Write the report to `path`, atomically.

    Args:
        title: of the page.
        strata: groups of cases to show separately.
        images: folder of images for the pictures (default: 'imagesTr' beside a folder of references called
            'labelsTr').
    """
    pictures = _pictures(summary, images)
    here, others = divided(summary)
    further = write_further(summary, others, _keys(summary), path, title)
    page_text = page(
        "report.html",
        ("report.js", "tables.js"),
        title=title,
        summary=summary,
        cards=sections.headline(summary),
        verdict=sections.verdict(summary),
        pictures=pictures,
        most_chips=MOST_CHIPS,
        legend=LEGEND,
        charts=sections.charts(summary),
        means=sections.means(summary),
        groups=sections.groups(summary, strata),
        lesions=sections.lesions(summary),
        lesion_text=metric_of("lesion_recall").text,
        method=sections.method(summary),
        definitions=[
            (metric_of(key).title, counted_metric(key, summary.options.rules)) for key in summary.metrics
        ],
        data=_data(summary, here),
        here=len(here),
        further=further,
    )
    write_text(path, page_text)


def _pictures(summary: Summary, images: Path | None) -> list[dict[str, Any]]:
    indices = _indices(summary)
    if not indices or max(indices.values()) > LARGEST_INDEX:
        return []
    return pictures_of(summary, indices, images)


def _values(summary: Summary) -> list[list[int]]:
    """The label values behind each label or region."""
    return [
        [int(value) for value in key.strip("()").split(",") if value.strip()]
        for key in summary.labels.values()
    ]


def _indices(summary: Summary) -> dict[int, int]:
    """Label value -> its number on the page, from 1."""
    return {
        value: index
        for index, value in enumerate(sorted({value for values in _values(summary) for value in values}), 1)
    }


def _keys(summary: Summary) -> list[str]:
    """The metrics that are shown of every case."""
    more = [key for key in summary.metrics if key.startswith(("nsd_", "lesion_f1"))]
    return [key for key in (*CASE_KEYS, *more) if key in summary.metrics]


def _data(summary: Summary, cases: Sequence[str]) -> dict[str, Any]:
    """What the page's script needs: names, and the values of `cases` as the protocol counts them."""
    keys = _keys(summary)
    indices = _indices(summary)
    return {
        "cases": cases,
        "labels": list(summary.labels),
        "metrics": [{"title": sections.titled(key, summary.unit)} for key in keys],
        "colours": colours_of(len(indices)),
        "hounsfield": ct_values(),
        "windows": PRESETS,
        "values": [[indices[value] for value in values] for values in _values(summary)],
        "groups": [summary.groups[case] for case in cases] if summary.groups else None,
        "rows": _rows(summary, cases, keys),
    }


def _rows(summary: Summary, cases: Sequence[str], keys: Sequence[str]) -> list[list[Any]]:
    """Number of the case, number of the label, status, values of `keys`."""
    metrics = [metric_of(key) for key in keys]
    case_number = {case: number for number, case in enumerate(cases)}
    label_number = {label: number for number, label in enumerate(summary.labels)}
    rows = []
    for row in (row for row in summary.rows if row.case in case_number):
        values = [counted_value(row, metric, summary.options.rules) for metric in metrics]
        rounded = [None if value is None else float(f"{value:.5g}") for value in values]
        rows.append([case_number[row.case], label_number[row.label], row.status, *rounded])
    return rows
