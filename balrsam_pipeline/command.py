"""What a sub-command is: each package's `cli.py` offers its own, and `balrsam_pipeline/cli.py` lists them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.paths import Roots, resolve_roots


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A sub-command of `balrsam`.

    Attributes:
        summary: one line for `balrsam --help`.
        example: one or more command lines that work, shown by `balrsam NAME --help`.
        add_arguments: adds options to the parser; must import nothing heavy.
        run: does the work and returns the exit code.
    """

    summary: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def add_roots(parser: argparse.ArgumentParser) -> None:
    """Add `--raw`, `--preprocessed`, `--results`."""
    group = parser.add_argument_group("folders")
    group.add_argument(
        "--raw",
        type=Path,
        metavar="FOLDER",
        help="raw datasets (else balrsam_raw, nnUNet_raw, ./balrsam_data/raw)",
    )
    group.add_argument(
        "--preprocessed",
        type=Path,
        metavar="FOLDER",
        help="preprocessed data (else balrsam_preprocessed, ./balrsam_data/…)",
    )
    group.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="trained models (else balrsam_results, ./balrsam_data/results)",
    )


def roots_of(arguments: argparse.Namespace) -> Roots:
    """The roots that the options of `add_roots` name."""
    return resolve_roots(arguments.raw, arguments.preprocessed, arguments.results)
