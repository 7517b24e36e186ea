"""The page of a run, written anew while the run goes on: at the start, once a minute, and at the end; and
which page to look at first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from balrsam_pipeline.command import load_command, parser_of
from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.layout import ResultsFolder
from balrsam_pipeline.run.request import RunRequest

LOG = logging.getLogger(__name__)
EVERY_S = 60.0


def write_page(request: RunRequest) -> bool:
    """Write `results/DATASET/index.html` by the command `page`; a page that cannot be written stops nothing.

    Returns:
        Whether it was written.
    """
    roots = request.roots
    folders = (("--raw", roots.raw), ("--preprocessed", roots.preprocessed), ("--results", roots.results))
    words = [str(request.dataset), "--quiet", *(word for name, path in folders for word in (name, str(path)))]
    try:
        command = load_command("page")
        return command.run(parser_of("page", command).parse_args(words)) == 0
    except (BalrsamError, OSError) as problem:
        LOG.debug("no page of the run: %s", problem)
    except Exception:  # the page is a convenience; the run must not end with it
        LOG.warning("the page of the run could not be written", exc_info=True)
    return False


@contextmanager
def page_kept(request: RunRequest, every_s: float = EVERY_S) -> Iterator[None]:
    """Write the page now and then while the body runs."""
    over = threading.Event()

    def keep() -> None:
        write_page(request)
        while not over.wait(every_s):
            write_page(request)

    writer = threading.Thread(target=keep, name="page", daemon=True)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


def first_page(results: ResultsFolder) -> Path | None:
    """The page to look at first, of those that are there: the whole run, predictions, cross-validation, a
    fold's validation."""
    models = results.models()
    pages = (
        results.index,
        results.predictions.evaluation.report,
        *(model.crossval.report for model in models),
        *(model.fold(number).validation.report for model in models for number in model.folds()),
    )
    return next((page for page in pages if page.is_file()), None)
