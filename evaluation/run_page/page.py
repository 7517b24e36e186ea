"""index.html of a dataset's results: where the run stands, and all that there is so far."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from balrsam_pipeline.dataset import open_dataset
from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.files import write_text
from balrsam_pipeline.inference.best_configuration import read_best
from balrsam_pipeline.layout import PreprocessedFolder, ResultsFolder
from balrsam_pipeline.plan import read_fingerprint, read_plan
from balrsam_pipeline.progress import in_words
from balrsam_pipeline.run.execute import records_folder
from balrsam_pipeline.run.records import read_record
from balrsam_pipeline.run.report import recorded_lines
from balrsam_pipeline.run.request import RunRequest
from evaluation.reports.html.markup import page
from evaluation.run_page.data_section import DataSection, PlannedSection, data_section, planned_sections
from evaluation.run_page.results_section import gallery, link, model_sections, ranking

REFRESH_S = 20  # seconds after which a browser shows the page anew, while something runs


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step of the run: where it stands in a word, what it is, what there is to say, how long it took."""

    status: str
    name: str
    note: str
    took: str


def write_run_page(request: RunRequest) -> Path:
    """Write the page of a dataset, atomically; what is not there yet is left out.

    Raises:
        DatasetError: the raw dataset cannot be opened.
    """
    raw, results = open_dataset(request.dataset), ResultsFolder(request.results)
    steps = _steps(request)
    running = [step for step in steps if step.status == "running"]
    data, plan = _planned(request)
    best = None
    if results.best_configuration.is_file():
        best = read_best(results.path)
    write_text(
        results.index,
        page(
            "run.html",
            ("tables.js",),
            title=raw.name,
            written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            refresh_s=REFRESH_S if running else 0,
            running=running,
            left=[step for step in steps if step.status not in ("done", "running")],
            steps=steps,
            data=data,
            plan=plan,
            models=model_sections(results, raw),
            best=best,
            ranking=ranking(best) if best else None,
            gallery=gallery(results, raw),
            log=link(results.run_log, results),
        ),
    )
    return results.index


def _steps(request: RunRequest) -> list[StepRow]:
    rows = []
    for line in recorded_lines(request):
        record = read_record(records_folder(request), line.name)
        took = in_words(record.seconds) if record is not None and record.seconds is not None else ""
        rows.append(StepRow(line.status, line.name.replace("_", " "), line.note, took))
    return rows


def _planned(request: RunRequest) -> tuple[DataSection | None, list[PlannedSection]]:
    """The dataset and its plan, as far as they are there and can be read."""
    files = PreprocessedFolder(request.preprocessed)
    try:
        data = data_section(open_dataset(request.dataset), read_fingerprint(files.fingerprint))
    except BalrsamError:
        data = None
    try:
        return data, planned_sections(read_plan(files.planned(request.plan).plan))
    except BalrsamError:
        return data, []
