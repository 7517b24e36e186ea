"""report.html: headline, labels, worst cases with pictures, every case, cross-validation, strata, method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from balrsam_pipeline.files import write_text
from evaluation.metrics.registry import metric_of
from evaluation.reports.html import sections
from evaluation.reports.html.markup import embedded, page, plural, section, text
from evaluation.reports.html.pictures import pictures_of
from evaluation.reports.strata import Strata
from evaluation.summary import Summary, counted_value

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
    names = f"protocol {text(summary.options.rules.identifier)}, {plural(len(summary.cases), 'case')}"
    body = [
        f"<h1>{text(title)}</h1><p class='sub'>{names}</p>",
        sections.headline(summary),
        sections.warnings(summary),
        _worst(pictures),
        sections.charts(summary),
        _cases(),
        sections.label_table(summary),
        sections.parts(summary),
        sections.strata_table(summary, strata),
        sections.lesions(summary),
        sections.method(summary),
    ]
    data = [embedded("report-data", _data(summary)), embedded("picture-data", pictures)]
    write_text(path, page(title, "".join(body), data))


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


def _data(summary: Summary) -> dict[str, Any]:
    keys = [
        key
        for key in (*CASE_KEYS, *(key for key in summary.metrics if key.startswith(("nsd_", "lesion_f1"))))
        if key in summary.metrics
    ]
    metrics = [metric_of(key) for key in keys]
    case_number = {case: number for number, case in enumerate(summary.cases)}
    label_number = {label: number for number, label in enumerate(summary.labels)}
    indices = _indices(summary)
    rows = []
    for row in summary.rows:
        values = [counted_value(row, metric, summary.options.rules) for metric in metrics]
        rounded = [None if value is None else float(f"{value:.5g}") for value in values]
        rows.append([case_number[row.case], label_number[row.label], row.status, *rounded])
    return {
        "cases": summary.cases,
        "labels": list(summary.labels),
        "metrics": [{"title": sections.titled(key, summary.unit)} for key in keys],
        "values": [[indices[value] for value in values] for values in _values(summary)],
        "groups": [summary.groups[case] for case in summary.cases] if summary.groups else None,
        "rows": rows,
    }


def _worst(pictures: list[dict[str, Any]]) -> str:
    if not pictures:
        return ""
    chips = "".join(
        f"<button class='chip' type='button' data-picture='{index}' "
        f"aria-pressed='false'>{text(picture['case'])}</button>"
        for index, picture in enumerate(pictures[:MOST_CHIPS])
    )
    marks = "".join(f"<i class='{side}'></i>" for side in ("left", "right", "top", "bottom"))
    films = "".join(
        "<figure><div class='film'><canvas "
        f"id='film-{name.lower()}'></canvas>{marks}</div><figcaption>{name}</figcaption></figure>"
        for name in ("Reference", "Prediction", "Difference")
    )
    legend = "".join(
        f"<span><i style='background:{colour}'></i>{meaning}</span>" for colour, meaning in LEGEND
    )
    body = (
        f"<div class='controls'>{chips}<label>label <select id='picture-label'></select></label>"
        "<label>overlay <input id='fill' type='range' min='0' max='1' step='0.05' value='0.45'></label></div>"
        f"<h3 id='picture-name'></h3><div class='panels'>{films}</div>"
        "<div class='slider'><input id='slice' type='range' min='0' max='0' value='0' aria-label='slice'>"
        "<span id='slice-name' class='small'></span></div>"
        f"<div class='legend'>{legend}</div>"
    )
    return section(
        "worst",
        "Worst cases",
        body,
        "The cases with the lowest mean Dice, at the slice with the most wrong voxels. Others open from the "
        "table of every case.",
    )


def _cases() -> str:
    options = "".join(
        f"<option value='{status}'>{status}</option>" for status in ("scored", "absent", "missed", "spurious")
    )
    body = (
        "<div class='controls'><label>find <input id='filter-text' type='search' title='case or "
        "label'></label>"
        "<label>label <select id='filter-label'><option value=''>all</option></select></label>"
        f"<label>status <select id='filter-status'><option value=''>all</option>{options}</select></label>"
        "<label>a row for each <select id='view-by'><option value='case'>case</option>"
        "<option value='label'>case and label</option></select></label>"
        "<span id='case-count' class='small'></span></div>"
        "<div class='scroll'><table id='case-table' class='sortable'></table></div><div id='case-detail' "
        "hidden></div>"
    )
    return section("cases", "Every case", body, "Click a column to sort, a row to open the case.")
