"""The sub-command `plot`."""

from __future__ import annotations

import argparse
from pathlib import Path

from balrsam_pipeline.command import BEGINS_ANEW, Command
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.protect import require_folder_place


def _add_plot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predictions", type=Path, help="folder of predicted label maps")
    parser.add_argument(
        "references",
        type=Path,
        nargs="?",
        help="folder of reference label maps (without it: image and prediction alone)",
    )
    parser.add_argument(
        "--images", type=Path, required=True, metavar="FOLDER", help="folder of the images, CASE_0000.ending"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the PNG files go"
    )
    parser.add_argument(
        "--cases", nargs="+", default=[], metavar="CASE", help="draw these (default: the worst)"
    )
    parser.add_argument(
        "--worst", type=int, default=5, metavar="N", help="how many of the worst cases (default 5)"
    )
    parser.add_argument(
        "--slices",
        type=int,
        default=3,
        metavar="N",
        help="slices of a volume, those of most disagreement (default 3)",
    )
    parser.add_argument(
        "--planes",
        nargs="+",
        choices=("axial", "coronal", "sagittal"),
        default=["axial"],
        metavar="PLANE",
        help="of a volume: axial, coronal, sagittal (default axial)",
    )
    parser.add_argument(
        "--window",
        nargs="+",
        metavar="HU",
        help="black and white: two numbers, or soft-tissue, lung, bone, brain, liver (default: soft-tissue "
        "of CT, else by the image)",
    )


def _window(words: list[str] | None) -> tuple[float, float] | None:
    """What `--window` names.

    Raises:
        UsageError: neither a preset nor two ascending numbers.
    """
    from evaluation.view import PRESETS

    if words is None:
        return None
    if len(words) == 1 and words[0] in PRESETS:
        return PRESETS[words[0]]
    try:
        low, high = map(float, words)
    except ValueError:
        low, high = 0.0, 0.0
    if not low < high:
        raise UsageError(
            f"--window {' '.join(words)}",
            found="neither a preset nor two ascending numbers",
            expected=f"one of {', '.join(PRESETS)}, or LOW HIGH",
            fix="--window -160 240",
        )
    return low, high


def _plot(arguments: argparse.Namespace) -> int:
    from evaluation.plot.plot import PlotRequest, plot_cases

    require_folder_place(arguments.output)
    request = PlotRequest(
        predictions=arguments.predictions,
        images=arguments.images,
        references=arguments.references,
        output=arguments.output,
        cases=tuple(arguments.cases),
        worst=max(1, arguments.worst),
        slices=max(1, arguments.slices),
        planes=tuple(arguments.planes),
        window=_window(arguments.window),
    )
    for path in plot_cases(request):
        print(f"wrote {path}")
    return 0


COMMANDS: dict[str, Command] = {
    "plot": Command(
        summary="Overlay pictures: image, prediction, reference and disagreement, of chosen or of the worst "
        "cases.",
        example="balrsam plot predictions labelsTr --images raw/Dataset004_Hippocampus/imagesTr -o pictures "
        "--worst 3",
        add_arguments=_add_plot,
        run=_plot,
        again=BEGINS_ANEW,
    ),
}
