"""The sub-command `demo`: the main job on a small generated dataset, which checks its own result."""

from __future__ import annotations

import argparse
from pathlib import Path

from balrsam_pipeline.command import Command
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.hardware import chosen_devices
from balrsam_pipeline.layout import ResultsFolder
from balrsam_pipeline.paths import Roots, compute_with_threads, find_dataset, shown
from balrsam_pipeline.run.cli import run_all
from balrsam_pipeline.run.page_keeper import first_page
from balrsam_pipeline.run.request import RunRequest

CONFIGURATIONS = ("2d", "2.5d")  # two, so that there is something to ensemble
FOLDS, STEPS, BATCH = 2, 256, 4  # small batches: on so little data steps are worth more than samples
THREADS = 1  # sums in another order differ in the last digits, and on a busy machine one is fastest
EXPECTED_DICE = 0.93  # of the test cases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam demo`."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo_data"),
        metavar="FOLDER",
        help="where all goes (default: ./demo_data)",
    )
    parser.add_argument(
        "--dataset",
        type=Path,
        metavar="FOLDER",
        help="run on this raw dataset folder instead of the generated one",
    )
    parser.add_argument(
        "--max-steps", type=int, metavar="N", help=f"training steps per fold (default: {STEPS})"
    )
    parser.add_argument(
        "--max-minutes", type=float, metavar="M", help="training minutes per fold, instead of steps"
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="only make a folder of generated images and masks, to try 'balrsam convert' on",
    )
    parser.add_argument("--device", help="cuda, cpu, … (default: the best there is)")


def run(arguments: argparse.Namespace) -> int:
    """Run `balrsam demo`."""
    from balrsam_pipeline.demo.generate import generate_dataset
    from balrsam_pipeline.demo.pictures import generate_pictures

    if arguments.pictures:
        count = generate_pictures(arguments.pictures)
        print(f"{shown(arguments.pictures)}: {count} images and {count} masks")
        return 0
    output = arguments.output.resolve()
    roots = Roots(raw=output / "raw", preprocessed=output / "preprocessed", results=output / "results")
    configurations: tuple[str, ...] | None = CONFIGURATIONS
    if arguments.dataset:
        dataset, configurations = find_dataset(str(arguments.dataset), roots), None
        roots = Roots(raw=dataset.parent, preprocessed=roots.preprocessed, results=roots.results)
    else:
        dataset = generate_dataset(roots.raw, folds=FOLDS)
        print(f"The demo dataset: {shown(dataset)}")
        compute_with_threads(THREADS)
    steps = arguments.max_steps or (None if arguments.max_minutes else STEPS)
    request = RunRequest(
        dataset=dataset,
        roots=roots,
        configurations=configurations,
        max_minutes=arguments.max_minutes,
        device=arguments.device,
        devices=() if arguments.device else chosen_devices(("auto",)),
        options={"train": {"--max-steps": (str(steps),), "--batch-size": (str(BATCH),)}} if steps else {},
    )
    code = run_all(request)
    if code == 0:
        if not arguments.dataset:
            print(f"\n{checked(ResultsFolder(request.results), full=steps == STEPS)}")
        page = first_page(ResultsFolder(request.results))
        print(f"Look first: {page.resolve().as_uri()}" if page is not None else "")
    return code


def checked(results: ResultsFolder, full: bool) -> str:
    """What the predictions of the test cases score, in words.

    Args:
        full: trained as long as the demo does by itself, which is long enough for `EXPECTED_DICE`.

    Raises:
        PredictionError: the score is lower than that, so something is wrong here.
    """
    summary = results.predictions.evaluation.summary
    dice = float(read_json(summary)["foreground_mean"]["Dice"])
    if not full:
        return f"Test Dice {dice:.4f}; with the demo's own number of steps it is at least {EXPECTED_DICE}."
    if dice < EXPECTED_DICE:
        raise PredictionError(
            shown(summary),
            found=f"test Dice {dice:.4f}",
            expected=f"at least {EXPECTED_DICE}, as on every machine that this was tried on",
            fix="delete the demo's folder and run it again; if it stays, report it with "
            f"{shown(results.run_log)}",
        )
    return f"Checked: test Dice {dice:.4f}, at least {EXPECTED_DICE} was expected. Everything works."


COMMANDS = {
    "demo": Command(
        summary="The main job, end to end, on a small generated dataset (two MR-like channels, two labels): "
        "minutes on a CPU.\n"
        "Steps, seeds and threads are fixed, so machines of a kind give the same numbers.",
        example="balrsam demo\nbalrsam demo --dataset FOLDER/Dataset004_Hippocampus --max-minutes 2\n"
        "balrsam demo --pictures organs",
        add_arguments=add_arguments,
        run=run,
        long=True,
    )
}
