"""What the parts of the report show: the numbers and sentences that its template puts in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from balrsam_pipeline.printable import plural
from evaluation.metrics.registry import metric_of
from evaluation.metrics.score_case import LabelScore
from evaluation.reports.html.charts import box_plots, group_boxes
from evaluation.reports.html.markup import Cell, Row, Table, interval, number
from evaluation.reports.strata import Strata, by_stratum
from evaluation.statistics import Interval
from evaluation.summary import Summary, case_means, lesions_of, status_counts

TABLE_KEYS = ("dice", "precision", "recall", "volume_difference", "hd95", "assd")
GOOD_DICE = 0.9
HD95_SENTENCE = "HD95 is the larger of the two directed 95th percentiles of distances between border voxels. "


@dataclass(frozen=True, slots=True)
class Card:
    """One number of the headline, what it is, and what it rests on."""

    value: str
    caption: str
    detail: str
    alert: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The best and the worst label by mean Dice, and how many of all are good."""

    best: str
    best_dice: float
    worst: str
    worst_dice: float
    good: int
    labels: int


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing and the title of its button."""

    title: str
    drawing: Markup


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of cases beside each other, as a section of the page."""

    identifier: str
    title: str
    lead: str
    table: Table
    drawing: Markup


def titled(key: str, unit: str) -> str:
    """A metric's title with its unit."""
    short = {"volume_difference": "Volume diff."}.get(key, metric_of(key).title)
    return f"{short} ({unit})" if metric_of(key).unit == "length" else short


def headline(summary: Summary) -> list[Card]:
    """The numbers that a reader wants first, and what they rest on."""
    counts = status_counts(summary.rows)
    keys = [key for key in summary.metrics if key in ("dice", "hd95") or key.startswith("nsd_")]
    cards = [
        Card(
            number(summary.foreground_mean[key]),
            f"mean {titled(key, summary.unit)}",
            interval(summary.foreground_interval[key]),
        )
        for key in keys
    ]
    cases, failures = len(summary.cases), counts["missed"] + counts["spurious"]
    cards.append(Card(str(cases), "case" if cases == 1 else "cases", plural(len(summary.labels), "label")))
    which = f"{counts['missed']} missed, {counts['spurious']} spurious"
    cards.append(Card(str(failures), "failure" if failures == 1 else "failures", which, bool(failures)))
    return cards


def verdict(summary: Summary) -> Verdict | None:
    """The best and the worst label; None where fewer than two have a mean Dice."""
    means = {label: values["dice"].mean for label, values in summary.per_label.items()}
    there = {label: mean for label, mean in means.items() if mean is not None}
    if len(there) < 2:
        return None
    best, worst = max(there, key=lambda label: there[label]), min(there, key=lambda label: there[label])
    good = sum(mean >= GOOD_DICE for mean in there.values())
    return Verdict(best, there[best], worst, there[worst], good, len(there))


def charts(summary: Summary) -> list[Chart]:
    """One box plot per metric, with one row per label."""
    keys = [key for key in summary.metrics if metric_of(key).family in ("overlap", "distance")]
    first = [key for key in ("dice", "hd95") if key in keys]
    return [Chart(titled(key, summary.unit), box_plots(summary, key)) for key in dict.fromkeys(first + keys)]


def means(summary: Summary) -> Table:
    """Means per label with intervals, and how often a label is absent, missed or spurious."""
    keys = _shown_keys(summary)
    rows = []
    for label, aggregates in summary.per_label.items():
        cells = [_mean(aggregates[key].mean, aggregates[key].interval) for key in keys]
        own = [row for row in summary.rows if row.label == label]
        rows.append(Row((Cell(label), *cells, *_counts(own, ("absent", "missed", "spurious")))))
    cells = [_mean(summary.foreground_mean[key], summary.foreground_interval[key]) for key in keys]
    counts = _counts(summary.rows, ("absent", "missed", "spurious"))
    rows.append(Row((Cell("mean over labels"), *cells, *counts), is_total=True))
    titles = (titled(key, summary.unit) for key in keys)
    return Table(("label", *titles, "absent", "missed", "spurious"), tuple(rows))


def groups(summary: Summary, strata: Strata | None) -> list[Groups]:
    """The folds of a cross-validation, and the groups by a property of the case; each where there are any."""
    found = []
    if summary.groups:
        parts = Strata(name="part", groups=summary.groups)
        lead = "Each part's mean over labels, and every case's mean Dice over its labels."
        found.append(_groups("folds", "Cross-validation", lead, summary, parts))
    if strata is not None:
        lead = "Means over labels for the cases of each group, and every case's mean Dice over its labels."
        found.append(_groups("strata", f"By {strata.name}", lead, summary, strata))
    return found


def lesions(summary: Summary) -> Table | None:
    """Components found and real, by volume, of all cases together; None where they were not counted."""
    if "detection" not in summary.options.metrics:
        return None
    rows = []
    for label in summary.labels:
        total = lesions_of(summary, label)
        numbers = zip(
            total.bin_names, total.references, total.found, total.predictions, total.real, strict=True
        )
        for name, wanted, found, predicted, real in numbers:
            texts = (wanted, found, _share(found, wanted), predicted, real, _share(real, predicted))
            rows.append(Row((Cell(f"{label}, {name}"), *(Cell(str(value)) for value in texts))))
    header = ("label and volume", "in reference", "found", "recall", "predicted", "real", "precision")
    return Table(header, tuple(rows))


def method(summary: Summary) -> str:
    """A paragraph for a paper."""
    unit = {"mm": "millimetres", "px": "pixels"}.get(summary.unit, summary.unit)
    folds = f" of {len(set(summary.groups.values()))} cross-validation folds" if summary.groups else ""
    names = ", ".join(metric_of(key).title for key in summary.metrics)
    rules = summary.options.rules
    return (
        f"Segmentations of {plural(len(summary.cases), 'case')}{folds} were compared with the reference in "
        f"the original image space for {plural(len(summary.labels), 'label')} ({names}). "
        f"Distances are in {unit}. {'' if rules.pooled_hd95 else HD95_SENTENCE}"
        "Scores are averaged over cases for each label, then over labels; intervals are 95 % percentile "
        f"bootstrap intervals over cases (2000 resamples). {rules.text} (balrsam-pipeline, protocol "
        f"{rules.identifier})."
    )


def _shown_keys(summary: Summary) -> list[str]:
    """The metrics that tables have columns for."""
    surface = [key for key in summary.metrics if key.startswith(("nsd_", "lesion_"))]
    return [key for key in (*TABLE_KEYS, *surface) if key in summary.metrics]


def _groups(identifier: str, title: str, lead: str, summary: Summary, strata: Strata) -> Groups:
    keys, parts = _shown_keys(summary), by_stratum(summary, strata)
    rows = []
    for name, part in parts.items():
        cells = [_mean(part.foreground_mean[key], part.foreground_interval[key]) for key in keys]
        counts = _counts(part.rows, ("missed", "spurious"))
        rows.append(Row((Cell(name), Cell(str(len(part.cases))), *cells, *counts)))
    titles = (titled(key, summary.unit) for key in keys)
    table = Table((strata.name, "cases", *titles, "missed", "spurious"), tuple(rows))
    dice = {name: list(case_means(part, "dice").items()) for name, part in parts.items()}
    return Groups(identifier, title, lead, table, group_boxes(dice, "mean Dice of a case"))


def _mean(value: float | None, bounds: Interval | None) -> Cell:
    return Cell(number(value), small=interval(bounds))


def _counts(rows: Sequence[LabelScore], names: Sequence[str]) -> list[Cell]:
    counts = status_counts(rows)
    return [Cell(str(counts[name])) for name in names]


def _share(part: int, whole: int) -> str:
    return number(part / whole) if whole else "–"
