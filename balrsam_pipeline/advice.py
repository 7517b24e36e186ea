"""Commands that a fix names, completed so that they can be typed as they stand: with the user's own folders
and dataset."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

from balrsam_pipeline.command import COMMANDS, load_command, parser_of
from balrsam_pipeline.paths import shown

NAMED = re.compile(
    rf"\bbalrsam (?P<command>{'|'.join(COMMANDS)})\b(?! --help)(?P<dataset> DATASET\b| Dataset\d+_\w+)?"
)
ROOTS = ("raw", "preprocessed", "results")


def completed(fix: str, arguments: argparse.Namespace) -> str:
    """The fix with the folders that the user gave behind every command that takes them, and the user's
    dataset in place of DATASET.

    Example:
        >>> given = argparse.Namespace(dataset="4", raw=Path("data"), preprocessed=None, results=None)
        >>> completed("look: balrsam verify DATASET, then go on", given)
        'look: balrsam verify 4 --raw data, then go on'
    """
    return NAMED.sub(lambda match: _with_folders(match, arguments), fix)


def _with_folders(match: re.Match[str], arguments: argparse.Namespace) -> str:
    command, dataset = match["command"], (match["dataset"] or "").strip()
    given = getattr(arguments, "dataset", None)
    if given and dataset in ("DATASET", Path(str(given)).name):
        dataset = shlex.quote(str(given))
    parser = parser_of(command, load_command(command))
    taken = {name for action in parser._actions for name in action.option_strings}
    folders = [
        f"--{root} {shlex.quote(shown(path))}"
        for root in ROOTS
        if f"--{root}" in taken and isinstance(path := getattr(arguments, root, None), Path)
    ]
    return " ".join(part for part in ("balrsam", command, dataset, *folders) if part)
