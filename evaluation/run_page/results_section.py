"""What the page says of results: curves of the folds, best and worst cases, the ranking, predictions."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from balrsam_pipeline.dataset import CaseFiles, RawDataset
from balrsam_pipeline.dataset.cases import prediction_name
from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.files import read_text
from balrsam_pipeline.inference.best_configuration import BestConfiguration
from balrsam_pipeline.json_text import JsonTextError, parse_json
from balrsam_pipeline.layout import FoldFolder, ModelFolder, ResultsFolder
from evaluation.reports.html.markup import Cell, Row, Table, number, p_value
from evaluation.reports.summary_json import read_summary
from evaluation.run_page.curves import line_chart
from evaluation.run_page.thumbnails import Thumbnail, label_colours, thumbnails
from evaluation.summary import Summary, case_means, pool

SHOWN_CASES = 3  # best, and worst
SHOWN_PREDICTIONS = 24


@dataclass(frozen=True, slots=True)
class ModelSection:
    """One configuration: its folds, and the cases in which it did best and worst."""

    name: str
    loss: Markup
    dice: Markup
    folds: Table | None
    worst: list[list[Thumbnail]]
    best: list[list[Thumbnail]]
    report: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Predictions of test images: how many there are, pictures of some, and where their report is."""

    made: int
    asked: int
    pictures: list[Thumbnail]
    report: str


def model_sections(results: ResultsFolder, raw: RawDataset) -> list[ModelSection]:
    """Every configuration that was begun."""
    return [_model(model, results, raw) for model in results.models() if model.all_folds()]


def ranking(best: BestConfiguration) -> Table:
    """The candidates, best first."""
    rows = []
    for one in best.candidates:
        interval = f"{one.dice_low:.4f} to {one.dice_high:.4f}"
        texts = (f"{one.dice:.4f}", interval, p_value(one.p_value), f"{one.cost:.1f}")
        chosen = one.configurations == best.configurations
        name = Cell(" + ".join(one.configurations), kind="better" if chosen else "")
        rows.append(Row((name, *map(Cell, texts))))
    return Table(("candidate", "Dice", "95 % interval", "p", "cost"), tuple(rows))


def gallery(results: ResultsFolder, raw: RawDataset) -> Gallery | None:
    """Predictions of the dataset's test images, as far as they are there."""
    try:
        cases = raw.test_cases()
    except BalrsamError:
        return None
    folder, colours = results.predictions.path, label_colours(raw.description.labels)
    there = [(case, path) for case in cases.values() if (path := folder / prediction_name(case)).is_file()]
    if not there:
        return None
    pictures = [
        picture
        for case, path in there[:SHOWN_PREDICTIONS]
        for picture in thumbnails(case, ((path, case.case),), colours)
    ]
    return Gallery(len(there), len(cases), pictures, link(results.predictions.evaluation.report, results))


def link(path: Path, results: ResultsFolder) -> str:
    """A file's address on the page, "" where there is none."""
    return quote(Path(os.path.relpath(path, results.path)).as_posix()) if path.is_file() else ""


def _model(model: ModelFolder, results: ResultsFolder, raw: RawDataset) -> ModelSection:
    logs = {f"fold {fold}": _epochs(model.fold(fold)) for fold in model.all_folds()}
    curves = {
        key: {
            name: [(one["elapsed_s"] / 60, one[key]) for one in epochs if key in one]
            for name, epochs in logs.items()
            if any(key in one for one in epochs)
        }
        for key in ("loss", "quick_dice")
    }
    summary = _summary(model)
    ordered = sorted(case_means(summary, "dice").items(), key=lambda item: item[1]) if summary else []
    half, files = min(SHOWN_CASES, (len(ordered) + 1) // 2), raw.training_cases() if ordered else {}
    shown = partial(_case, files=files, raw=raw)
    return ModelSection(
        name=model.name,
        loss=line_chart(curves["loss"], "training loss", "minutes"),
        dice=line_chart(curves["quick_dice"], "quick validation Dice", "minutes", (0.0, 1.0)),
        folds=_folds(model, results),
        worst=[shown(case, dice, summary) for case, dice in ordered[:half] if summary],
        best=[shown(case, dice, summary) for case, dice in ordered[half:][-half:][::-1] if summary],
        report=link(model.crossval.report, results),
    )


def _epochs(fold: FoldFolder) -> list[dict[str, float]]:
    """The figures of every epoch in a fold's log; a line cut short by a kill is left out."""
    found: list[dict[str, float]] = []
    text = ""
    with contextlib.suppress(BalrsamError):
        text = read_text(fold.log)
    for line in text.splitlines():
        try:
            value = parse_json(line)
        except JsonTextError:
            continue
        if isinstance(value, dict) and value.get("event") == "epoch":
            figures = {key: float(one) for key, one in value.items() if _is_number(one)}
            if "elapsed_s" in figures:
                found.append(figures)
    return found


def _summary(model: ModelFolder) -> Summary | None:
    """The scores of all folds that were validated, pooled."""
    paths = [model.fold(fold).validation.summary for fold in model.folds()]
    try:
        summaries = [read_summary(path) for path in paths if path.is_file()]
        return pool(summaries) if summaries else None
    except BalrsamError:
        return None


def _folds(model: ModelFolder, results: ResultsFolder) -> Table | None:
    rows = []
    for fold in model.folds():
        path = model.fold(fold).validation.summary
        try:
            summary = read_summary(path) if path.is_file() else None
        except BalrsamError:
            summary = None
        if summary is not None:
            means = (summary.foreground_mean.get(key) for key in ("dice", "hd95"))
            texts = (str(len(summary.cases)), *map(number, means))
            rows.append(Row((Cell(f"fold {fold}"), *map(Cell, texts))))
    return Table(("fold", "cases", "Dice", "HD95"), tuple(rows)) if rows else None


def _case(
    case: str, dice: float, summary: Summary, files: Mapping[str, CaseFiles], raw: RawDataset
) -> list[Thumbnail]:
    """Reference and prediction of a case beside each other."""
    scored = summary.files[case]
    if case not in files or scored.prediction is None:
        return []
    maps = ((Path(scored.reference), f"{case}: reference"), (Path(scored.prediction), f"Dice {number(dice)}"))
    return thumbnails(files[case], maps, label_colours(raw.description.labels))


def _is_number(value: object) -> bool:
    """Whether a value of a log can be drawn."""
    return isinstance(value, (int, float)) and math.isfinite(value)
