"""The sub-command `plot`."""

from __future__ import annotations

import argparse
from pathlib import Path

from balrsam_pipeline.command import Command


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


def _plot(arguments: argparse.Namespace) -> int:
    from evaluation.plot.plot import PlotRequest, plot_cases

    request = PlotRequest(
        predictions=arguments.predictions,
        images=arguments.images,
        references=arguments.references,
        output=arguments.output,
        cases=tuple(arguments.cases),
        worst=max(1, arguments.worst),
        slices=max(1, arguments.slices),
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
    ),
}
