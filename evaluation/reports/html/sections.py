"""The parts of the report that are plain text and tables."""

from __future__ import annotations

from evaluation.metrics.lesions import BIN_NAMES
from evaluation.metrics.registry import metric_of
from evaluation.reports.html.charts import box_plots, group_boxes
from evaluation.reports.html.markup import TOTAL, interval, number, plural, section, table, text
from evaluation.reports.strata import Strata, by_stratum
from evaluation.summary import Summary, case_means, lesions_of, status_counts

TABLE_KEYS = ("dice", "precision", "recall", "volume_difference", "hd95", "assd")


def shown_keys(summary: Summary) -> list[str]:
    """The metrics that tables have columns for."""
    surface = [key for key in summary.metrics if key.startswith(("nsd_", "lesion_"))]
    return [key for key in (*TABLE_KEYS, *surface) if key in summary.metrics]


def titled(key: str, unit: str) -> str:
    """A metric's title with its unit."""
    short = {"volume_difference": "Volume diff."}.get(key, metric_of(key).title)
    return f"{short} ({unit})" if metric_of(key).unit == "length" else short


def headline(summary: Summary) -> str:
    """The numbers that a reader wants first, and what they rest on."""
    counts = status_counts(summary.rows)
    keys = [key for key in ("dice", "hd95") if key in summary.metrics] + [
        key for key in summary.metrics if key.startswith("nsd_")
    ]
    cards = [
        _card(
            number(summary.foreground_mean[key]),
            f"mean {titled(key, summary.unit)}",
            interval(summary.foreground_interval[key]),
        )
        for key in keys
    ]
    cards.append(
        _card(
            str(len(summary.cases)),
            "case" if len(summary.cases) == 1 else "cases",
            plural(len(summary.labels), "label"),
        )
    )
    failures = counts["missed"] + counts["spurious"]
    cards.append(
        _card(
            str(failures),
            "failure" if failures == 1 else "failures",
            f"{counts['missed']} missed, {counts['spurious']} spurious",
            bool(failures),
        )
    )
    return f"<div class='cards'>{''.join(cards)}</div><p class='verdict'>{_verdict(summary)}</p>"


def charts(summary: Summary) -> str:
    """Box plots per label, one metric at a time."""
    keys = [
        key
        for key in ("dice", "hd95", *summary.metrics)
        if key in summary.metrics and metric_of(key).family in ("overlap", "distance")
    ]
    keys = list(dict.fromkeys(keys))
    buttons = "".join(
        f"<button class='chip' type='button' data-chart='chart-{index}' "
        f"aria-pressed='{'false' if index else 'true'}'>"
        f"{text(titled(key, summary.unit))}</button>"
        for index, key in enumerate(keys)
    )
    drawings = "".join(
        f"<div class='chart' id='chart-{index}'{' hidden' if index else ''}>{box_plots(summary, key)}</div>"
        for index, key in enumerate(keys)
    )
    lead = (
        "A dot is a case; from five cases on, the box spans the middle half, its line is the median, "
        "whiskers reach 1.5 box lengths. "
        "A red cross marks labels that were missed or are spurious."
    )
    return section(
        "labels", "How good is each label?", f"<div class='controls'>{buttons}</div>{drawings}", lead
    )


def label_table(summary: Summary) -> str:
    """Means per label with intervals, and how often a label is absent, missed or spurious."""
    keys = shown_keys(summary)
    rows = []
    for label in summary.labels:
        aggregates = summary.per_label[label]
        counts = status_counts([row for row in summary.rows if row.label == label])
        cells = [
            f"{number(aggregates[key].mean)} <small>{interval(aggregates[key].interval)}</small>"
            for key in keys
        ]
        rows.append(
            [text(label), *cells, *(str(counts[status]) for status in ("absent", "missed", "spurious"))]
        )
    total = status_counts(summary.rows)
    means = [
        f"{number(summary.foreground_mean[key])} <small>{interval(summary.foreground_interval[key])}</small>"
        for key in keys
    ]
    rows.append(
        ["mean over labels", *means, *(str(total[status]) for status in ("absent", "missed", "spurious"))]
    )
    attributes = [""] * len(summary.labels) + [TOTAL]
    header = ["label", *(text(titled(key, summary.unit)) for key in keys), "absent", "missed", "spurious"]
    lead = "Means over cases" + (
        ", with 95 % intervals from resampled cases." if len(summary.cases) > 2 else "."
    )
    return section("means", "Means per label", table(header, rows, attributes), lead)


def parts(summary: Summary) -> str:
    """The folds of a cross-validation beside each other."""
    if not summary.groups:
        return ""
    strata = Strata(name="part", groups=summary.groups)
    lead = "Each part's mean over labels, and every case's mean Dice over its labels."
    return section(
        "folds", "Cross-validation", _groups_table(summary, strata) + _groups_chart(summary, strata), lead
    )


def strata_table(summary: Summary, strata: Strata | None) -> str:
    """Means by a property of the case."""
    if strata is None:
        return ""
    lead = "Means over labels for the cases of each group, and every case's mean Dice over its labels."
    return section(
        "strata", f"By {strata.name}", _groups_table(summary, strata) + _groups_chart(summary, strata), lead
    )


def lesions(summary: Summary) -> str:
    """Components found and real, by volume, of all cases together."""
    if "detection" not in summary.options.metrics:
        return ""
    rows = []
    for label in summary.labels:
        total = lesions_of(summary, label)
        numbers = zip(BIN_NAMES, total.references, total.found, total.predictions, total.real, strict=True)
        rows += [
            [
                f"{text(label)}, {name}",
                str(wanted),
                str(found),
                _share(found, wanted),
                str(predicted),
                str(real),
                _share(real, predicted),
            ]
            for name, wanted, found, predicted, real in numbers
        ]
    header = ["label and volume", "in reference", "found", "recall", "predicted", "real", "precision"]
    return section("lesions", "Lesions found", table(header, rows), metric_of("lesion_recall").text)


def method(summary: Summary) -> str:
    """A paragraph for a paper, and the exact definitions."""
    unit = {"mm": "millimetres", "px": "pixels"}.get(summary.unit, summary.unit)
    folds = f" of {len(set(summary.groups.values()))} cross-validation folds" if summary.groups else ""
    names = [metric_of(key).title for key in summary.metrics]
    paragraph = (
        f"Segmentations of {plural(len(summary.cases), 'case')}{folds} were compared with the reference in "
        "the original image space for "
        f"{plural(len(summary.labels), 'label')} ({', '.join(names)}). Distances are in {unit}. "
        "HD95 is the larger of the two directed 95th percentiles of distances between border voxels. "
        "Scores are averaged over cases for each label, then over labels; intervals are 95 % percentile "
        "bootstrap intervals "
        f"over cases (2000 resamples). {summary.options.rules.text} (balrsam-pipeline, protocol "
        f"{summary.options.rules.identifier})."
    )
    if summary.options.rules.pooled_hd95:
        paragraph = paragraph.replace(
            "HD95 is the larger of the two directed 95th percentiles of distances between border voxels. ", ""
        )
    definitions = "".join(
        f"<li><b>{text(metric_of(key).title)}</b> <code>{text(metric_of(key).definition)}</code>: "
        f"{text(metric_of(key).text)}.</li>"
        for key in summary.metrics
    )
    return section(
        "method",
        "Method",
        f"<div class='method'><p>{text(paragraph)}</p><ul class='plain'>{definitions}</ul></div>",
    )


def warnings(summary: Summary) -> str:
    """What was odd about the files."""
    items = "".join(f"<li>{text(warning)}</li>" for warning in summary.warnings)
    return section("warnings", "Worth checking", f"<ul class='plain'>{items}</ul>" if items else "")


def _groups_table(summary: Summary, strata: Strata) -> str:
    keys = shown_keys(summary)
    rows = []
    for name, part in by_stratum(summary, strata).items():
        cells = [
            f"{number(part.foreground_mean[key])} <small>{interval(part.foreground_interval[key])}</small>"
            for key in keys
        ]
        counts = status_counts(part.rows)
        rows.append(
            [text(name), str(len(part.cases)), *cells, str(counts["missed"]), str(counts["spurious"])]
        )
    header = [
        text(strata.name),
        "cases",
        *(text(titled(key, summary.unit)) for key in keys),
        "missed",
        "spurious",
    ]
    return table(header, rows)


def _groups_chart(summary: Summary, strata: Strata) -> str:
    groups = {
        name: list(case_means(part, "dice").items()) for name, part in by_stratum(summary, strata).items()
    }
    return group_boxes(groups, "mean Dice of a case")


def _verdict(summary: Summary) -> str:
    """A sentence on the best and the worst label."""
    means = {label: values["dice"].mean for label, values in summary.per_label.items()}
    there = {label: mean for label, mean in means.items() if mean is not None}
    if len(there) < 2:
        return ""
    best, worst = max(there, key=lambda label: there[label]), min(there, key=lambda label: there[label])
    good = sum(mean >= 0.9 for mean in there.values())
    return (
        f"Best: <b>{text(best)}</b> (Dice {number(there[best])}). Worst: <b>{text(worst)}</b> (Dice "
        f"{number(there[worst])}). "
        f"{good} of {len(there)} labels have a mean Dice of 0.9 or more."
    )


def _card(value: str, caption: str, detail: str, alert: bool = False) -> str:
    kind = "card alert" if alert else "card"
    return (
        f"<div class='{kind}'><b>{text(value)}</b><span>{text(caption)}</span>"
        f"<small>{text(detail)}</small></div>"
    )


def _share(part: int, whole: int) -> str:
    return number(part / whole) if whole else "–"
