"""The sub-command `check_machine`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from balrsam_pipeline.command import Command, add_roots, roots_of
from balrsam_pipeline.paths import find_dataset
from balrsam_pipeline.plan_names import UNNAMED, plan_name

if TYPE_CHECKING:
    import torch

    from trainers.check_machine.subject import Subject


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam check_machine`."""
    parser.add_argument(
        "dataset", nargs="?", help="a planned and preprocessed dataset (default: one that is made up)"
    )
    parser.add_argument(
        "--configuration", metavar="NAME", help="2d, 2.5d, triplanar, 3d (default: the plan's)"
    )
    parser.add_argument(
        "--plan", type=plan_name, default=UNNAMED, metavar="NAME", help="the plan, where it has a name"
    )
    parser.add_argument("--device", help="cuda, cuda:1, cpu, mps (default: the best there is)")
    parser.add_argument("--short", action="store_true", help="hardware, precision and a few steps alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    add_roots(parser)


def check_machine(arguments: argparse.Namespace) -> int:
    """Run `balrsam check_machine`; 1 if anything falls short."""
    from balrsam_pipeline.allocator import keep_freed_memory
    from balrsam_pipeline.files import write_json
    from trainers.check_machine.page import as_json, findings, lines_of, require_own_figures
    from trainers.parallel import local_device

    if arguments.json:
        require_own_figures(arguments.json)
    keep_freed_memory()
    device = local_device(arguments.device)
    subject = _subject(arguments, device)
    print(f"Tried with {subject.what}.", flush=True)
    found = []
    for finding in findings(subject, device, arguments.short):
        found.append(finding)
        print("\n".join(lines_of(finding)), flush=True)
    short = [finding.name for finding in found if not finding.good]
    print(f"Falls short: {', '.join(short)}." if short else "This machine is ready.")
    if arguments.json:
        write_json(arguments.json, json.loads(json.dumps(as_json(subject, found))))
    return 1 if short else 0


def _subject(arguments: argparse.Namespace, device: torch.device) -> Subject:
    from balrsam_pipeline.hardware import find_accelerator
    from trainers.check_machine.subject import generated_subject, subject_of_dataset
    from trainers.request import TrainRequest

    if arguments.dataset is not None:
        roots = roots_of(arguments)
        request = TrainRequest(
            dataset=find_dataset(arguments.dataset, roots),
            roots=roots,
            configuration=arguments.configuration,
            plan=arguments.plan,
        )
        return subject_of_dataset(request, device)
    found = find_accelerator()
    memory = int(found.memory_gb * 2**30) if found is not None and device.type == "cuda" else None
    return generated_subject(device, memory)


COMMANDS = {
    "check_machine": Command(
        summary="What this machine can do, tried before hours are spent on it: hardware, precision, a "
        "planned step,\nthe loader, a checkpoint, a prediction. Exit code 1 if anything falls short.",
        example="balrsam check_machine\nbalrsam check_machine Dataset004_Hippocampus --json machine.json",
        add_arguments=add_arguments,
        run=check_machine,
    )
}
