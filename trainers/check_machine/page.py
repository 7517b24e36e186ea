"""All checks, and one page of them in plain words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from balrsam_pipeline import __version__
from balrsam_pipeline.errors import BalrsamError, UsageError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.processor import usable_cores
from balrsam_pipeline.progress import phase
from trainers.check_machine.findings import (
    Finding,
    check_loader,
    check_precision,
    check_prediction,
    check_resume,
    check_step,
    find_hardware,
)
from trainers.check_machine.subject import Subject
from trainers.data import workers_beside_gpu

WIDTH, NAME = 80, 18
CHECKED_WITH = "checked_with"  # by this key a file of figures is known as ours


def findings(subject: Subject, device: torch.device, short: bool = False) -> Iterator[Finding]:
    """Try one thing after the other, each told when it is done.

    Args:
        short: only what costs a second or two: hardware, precision, a few steps.
    """
    with phase("checking this machine") as going:
        yield find_hardware(device)
        precision = check_precision(device)
        yield precision
        if not precision.good:
            return
        step, rate = check_step(subject, device, going, short)
        yield step
        if short or rate == 0:
            return
        workers = workers_beside_gpu(usable_cores()) if device.type == "cuda" else 0
        yield check_loader(subject, device, workers, rate)
        yield check_resume(subject, device, going)
        yield check_prediction(subject, device, going)


def lines_of(finding: Finding) -> list[str]:
    """A finding for people, in 80 columns."""
    mark = "good" if finding.good else "SHORT"
    said = textwrap.wrap(finding.said, WIDTH - NAME - 6)
    lines = [f"{mark:<6}{finding.name:<{NAME}}{said[0]}", *(" " * (NAME + 6) + line for line in said[1:])]
    if not finding.good:
        lines += textwrap.wrap(
            f"fix: {finding.fix}", WIDTH, initial_indent=" " * (NAME + 6), subsequent_indent=" " * (NAME + 11)
        )
    return lines


def as_json(subject: Subject, found: Sequence[Finding]) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "balrsam_pipeline": __version__,
        CHECKED_WITH: subject.what,
        "good": all(finding.good for finding in found),
        "findings": [asdict(finding) for finding in found],
    }


def require_own_figures(path: Path) -> None:
    """Refuse a place for the figures where something else lies.

    Raises:
        UsageError: a folder, or a file that holds no such figures; nothing was touched.
    """
    if path.exists() and not _holds_figures(path):
        raise UsageError(
            path,
            found="a folder" if path.is_dir() else "a file that 'balrsam check_machine --json' did not write",
            expected="a free place, or figures to be written anew",
            fix="give --json another name",
        )


def _holds_figures(path: Path) -> bool:
    try:
        content = read_json(path)
    except (BalrsamError, OSError):
        return False
    return isinstance(content, dict) and CHECKED_WITH in content
