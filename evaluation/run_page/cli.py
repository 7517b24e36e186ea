"""The sub-command `page`."""

from __future__ import annotations

import argparse

from balrsam_pipeline.command import Command, add_roots, roots_of
from balrsam_pipeline.paths import find_dataset, shown


def _add_page(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", help="a dataset: folder name, number, or path")
    parser.add_argument("--quiet", action="store_true", help="do not print where the page lies")
    add_roots(parser)


def _page(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.run.report import remembered
    from balrsam_pipeline.run.request import RunRequest
    from evaluation.run_page import write_run_page

    roots = roots_of(arguments)
    path = write_run_page(remembered(RunRequest(dataset=find_dataset(arguments.dataset, roots), roots=roots)))
    if not arguments.quiet:
        print(shown(path))
    return 0


COMMANDS: dict[str, Command] = {
    "page": Command(
        summary="One page about all that there is of a dataset: data, plan, curves, scores, pictures.\n"
        "`balrsam run` writes it as it goes.",
        example="balrsam page Dataset004_Hippocampus",
        add_arguments=_add_page,
        run=_page,
    ),
}
