"""What a sub-command is: each package's `cli.py` offers its own, and `COMMANDS` here lists them."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from balrsam_pipeline.habits import in_our_words
from balrsam_pipeline.paths import Roots, resolve_roots
from balrsam_pipeline.printable import printable

# name -> (module that offers it, one line); the module is imported only when the sub-command is used, so that
# help is quick
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("balrsam_pipeline.run.cli", "everything for a dataset: plan, train, choose, predict, score"),
    "status": ("balrsam_pipeline.run.cli", "what of a run is done, running, failed, to do"),
    "page": ("evaluation.run_page.cli", "one page about a whole run, as far as it is"),
    "open": ("balrsam_pipeline.run.cli", "the page about a dataset's results, in a browser"),
    "demo": ("balrsam_pipeline.demo.cli", "the main job on a small generated dataset"),
    "verify": ("planners.cli", "check a raw dataset; every problem with its fix"),
    "convert": ("balrsam_pipeline.dataset.cli", "make a raw dataset from other formats"),
    "plan_and_preprocess": ("planners.cli", "measure a dataset, plan, preprocess"),
    "check_machine": ("trainers.check_machine.cli", "what this machine can do, before hours are spent on it"),
    "train": ("trainers.cli", "train one fold"),
    "crossval": ("trainers.cli", "train and validate all folds, pool the scores"),
    "find_best_configuration": (
        "evaluation.best_configuration.cli",
        "choose the best model or ensemble and its postprocessing",
    ),
    "postprocess": ("evaluation.best_configuration.cli", "choose rules that clean label maps, or apply them"),
    "predict": ("balrsam_pipeline.inference.cli", "segment new images"),
    "ensemble": ("balrsam_pipeline.inference.cli", "average predictions of several models"),
    "evaluate": ("evaluation.cli", "score predictions: Dice, HD95 and more, per case and label"),
    "compare": ("evaluation.cli", "compare two scored sets of predictions"),
    "plot": ("evaluation.plot.cli", "overlay pictures of predictions and references"),
    "submit": ("evaluation.submission.cli", "check and pack a leaderboard submission"),
    "describe": ("balrsam_pipeline.describe.cli", "a plan or a network in plain words"),
    "download_checkpoint": ("balrsam_pipeline.network.cli", "fetch an official SAM checkpoint"),
    "export_model": ("balrsam_pipeline.inference.cli", "pack a trained model into one file to share"),
    "install_model": ("balrsam_pipeline.inference.cli", "unpack a shared model"),
    "completion": ("balrsam_pipeline.completion", "a script with which the shell completes"),
    "export_onnx": ("balrsam_pipeline.inference.cli", "the merged network as ONNX"),
}

CONTINUES = "run the same command again: it continues"
BEGINS_ANEW = "run the same command again: it begins anew"


def _nothing(_: Path) -> tuple[Path, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFiles:
    """What a command writes with given arguments, for those that keep track of it (`balrsam run`).

    Attributes:
        outputs: files, or patterns with `*`.
        finished: an output -> the files whose presence tells the command that it is complete; where they are
            gone, the command makes it again.
        outdated: files, patterns or folders that the command would go on from although they were made of
            other inputs.
    """

    outputs: tuple[Path, ...]
    finished: Callable[[Path], tuple[Path, ...]] = _nothing
    outdated: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A sub-command of `balrsam`.

    Attributes:
        summary: one line for `balrsam --help`.
        example: one or more command lines that work, shown by `balrsam NAME --help`.
        add_arguments: adds options to the parser; must import nothing heavy.
        run: does the work and returns the exit code.
        files: what it writes with these arguments, in which the dataset and its configurations are named in
            full; None where nobody keeps track of it.
        how: options that say how it works, not what it makes: with another value its outputs are the same.
        long: it may take long enough to say at once that it has begun.
        again: what to do where it was stopped, and what becomes of its work then.
    """

    summary: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    files: Callable[[argparse.Namespace], CommandFiles] | None = None
    how: frozenset[str] = frozenset()
    long: bool = False
    again: str = CONTINUES


def load_command(name: str) -> Command:
    """Import the module that offers the sub-command `name` and return it."""
    module = importlib.import_module(COMMANDS[name][0])
    commands: dict[str, Command] = module.COMMANDS
    return commands[name]


class _Parser(argparse.ArgumentParser):
    """Knows what users of nnU-Net mean."""

    words: Sequence[str] = ()

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, with the words remembered for `error`."""
        self.words = tuple(args or ())
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and what nnU-Net's words are called here; exits with 2."""
        meant = in_our_words(self.prog.removeprefix("balrsam "), self.words)
        if meant is None:
            super().error(printable(message))
        told = (
            f"error: {printable(message)}\nin the words of nnU-Net; here it is called:\n  {printable(meant)}"
        )
        self.exit(2, f"{self.prog}: {told}\n")


def parser_of(name: str, command: Command) -> argparse.ArgumentParser:
    """The parser of a sub-command."""
    parser = _Parser(
        prog=f"balrsam {name}",
        description=command.summary,
        epilog="example:\n" + "\n".join(f"  {line}" for line in command.example.splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return parser


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
