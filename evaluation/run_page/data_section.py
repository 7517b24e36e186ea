"""What the page says of the dataset and its plan: measurements, pictures, label sizes, decisions and why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from markupsafe import Markup

from balrsam_pipeline.dataset import RawDataset
from balrsam_pipeline.describe.page import HEADINGS
from balrsam_pipeline.plan import CaseFingerprint, Configuration, Fingerprint, Plan
from evaluation.reports.html.charts import group_boxes
from evaluation.reports.html.markup import Cell, Row, Table, number
from evaluation.reports.html.sections import Card
from evaluation.run_page.thumbnails import Thumbnail, label_colours, thumbnails

SHOWN_CASES = 6


@dataclass(frozen=True, slots=True)
class DataSection:
    """The dataset in numbers and pictures."""

    cards: list[Card]
    pictures: list[Thumbnail]
    sizes: Markup
    labels: Table
    intensities: Table


@dataclass(frozen=True, slots=True)
class PlannedSection:
    """One configuration: what it is, and why."""

    name: str
    is_default: bool
    facts: str
    reasons: list[tuple[str, str]]


def data_section(raw: RawDataset, fingerprint: Fingerprint) -> DataSection:
    """The dataset as it was measured."""
    cases = fingerprint.cases
    flat = all(case.orientation == "2D" for case in cases)
    unit = "pixels" if flat else "ml"
    sizes = {name: _sizes(cases, name, flat) for name in raw.description.labels.names}
    return DataSection(
        cards=_cards(raw, cases, flat),
        pictures=_pictures(raw, [case.case for case in cases]),
        sizes=group_boxes(sizes, f"size of each label ({unit})", distance=True),
        labels=_label_table(sizes, len(cases), unit),
        intensities=_intensities(raw, fingerprint),
    )


def planned_sections(plan: Plan) -> list[PlannedSection]:
    """Every configuration of a plan, the default first."""
    ordered = sorted(plan.configurations.values(), key=lambda one: one.name != plan.default_configuration)
    return [
        PlannedSection(
            name=one.name,
            is_default=one.name == plan.default_configuration,
            facts=_facts(one),
            reasons=[(HEADINGS.get(name, name.replace("_", " ")), why) for name, why in one.reasons.items()],
        )
        for one in ordered
    ]


def _cards(raw: RawDataset, cases: tuple[CaseFingerprint, ...], flat: bool) -> list[Card]:
    shape = [round(median(case.shape_zyx[axis] for case in cases)) for axis in range(3)]
    spacing = [median(case.spacing_mm[axis] for case in cases) for axis in range(3)]
    axes = slice(1, 3) if flat else slice(0, 3)
    channels, labels = raw.description.channel_names, raw.description.labels.names
    cards = [
        Card(str(len(cases)), "training cases", ", ".join(sorted({case.orientation for case in cases}))),
        Card(str(len(channels)), "channel" if len(channels) == 1 else "channels", ", ".join(channels)[:80]),
        Card(str(len(labels)), "label" if len(labels) == 1 else "labels", ", ".join(labels)[:80]),
        Card(" × ".join(map(str, shape[axes])), "median size", "rows, columns" if flat else "z, y, x"),
    ]
    if not flat:
        cards.append(Card(" × ".join(f"{one:.3g}" for one in spacing), "median spacing in mm", "z, y, x"))
    return cards


def _sizes(cases: tuple[CaseFingerprint, ...], name: str, flat: bool) -> list[tuple[str, float]]:
    """(case, size) of the cases that show a label: pixels of pictures, else millilitres."""
    found = []
    for case in cases:
        voxels = case.label_voxels.get(name, 0)
        if voxels:
            found.append((case.case, voxels * (1.0 if flat else math.prod(case.spacing_mm) / 1000)))
    return found


def _label_table(sizes: dict[str, list[tuple[str, float]]], cases: int, unit: str) -> Table:
    rows = []
    for name, pairs in sizes.items():
        values = sorted(value for _, value in pairs)
        low, middle, high = (values[0], median(values), values[-1]) if values else (None, None, None)
        cells = (Cell(f"{len(values)} of {cases}"), *(Cell(number(value)) for value in (low, middle, high)))
        rows.append(Row((Cell(name), *cells)))
    return Table(("label", "in cases", f"smallest ({unit})", "median", "largest"), tuple(rows))


def _intensities(raw: RawDataset, fingerprint: Fingerprint) -> Table:
    rows = [
        Row((Cell(name), *(Cell(number(value)) for value in values)))
        for name, one in zip(raw.description.channel_names, fingerprint.channel_statistics, strict=False)
        for values in [(one.mean, one.std, one.percentile_00_5, one.median, one.percentile_99_5)]
    ]
    return Table(("channel", "mean", "std", "0.5 %", "median", "99.5 %"), tuple(rows))


def _pictures(raw: RawDataset, names: list[str]) -> list[Thumbnail]:
    files, colours = raw.training_cases(), label_colours(raw.description.labels)
    step = max(1, len(names) // SHOWN_CASES)
    chosen = [files[name] for name in names[::step] if name in files][:SHOWN_CASES]
    return [
        picture
        for case in chosen
        for picture in thumbnails(case, ((case.label, case.case),) if case.label else (), colours)
    ]


def _facts(one: Configuration) -> str:
    """What is cut and what the network sees, in a line."""
    network = one.network
    patch, size = (" × ".join(map(str, pair)) for pair in (one.patch_shape, network.input_shape))
    start = "trained from scratch" if network.from_scratch else f"adapting {network.base}"
    axes = ", ".join(map(str, one.slicing_axes))
    return (
        f"{network.backbone}, {start}; patches of {patch} seen at {size} pixels, {network.input_channels} "
        f"input channels, {one.batch_size} in a batch; slices along axes {axes}"
    )
