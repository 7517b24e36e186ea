"""The sub-commands `evaluate` and `compare`, and those of the rooms inside: `find_best_configuration`, `plot`, `submit`."""

from __future__ import annotations

import argparse
from pathlib import Path

from balrsam_pipeline.command import Command
from balrsam_pipeline.errors import EvaluationError


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predictions", type=Path, help="folder of predicted label maps, or one file")
    parser.add_argument("references", type=Path, help="folder of reference label maps with the same names, or one file")
    parser.add_argument(
        "--labels", type=Path, metavar="DATASET_JSON", help="a dataset.json (default: one beside the predictions, or the values found)"
    )
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="score these cases alone (default: all of both folders)")
    parser.add_argument("--protocol", default="default", help="what empty masks count as: default, transunet, brats, exclude")
    parser.add_argument(
        "--metrics", nargs="+", metavar="GROUP", help="groups to compute: overlap, surface, nsd, detection (default: the first three)"
    )
    parser.add_argument("--tolerance", nargs="+", type=float, default=[1.0], metavar="MM", help="tolerances of NSD in mm (default: 1)")
    parser.add_argument("--missing-as-empty", action="store_true", help="score a case without a prediction as empty, instead of refusing")
    parser.add_argument("--workers", type=int, help="cases scored at once (default: one a core)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the reports go (default: PREDICTIONS/evaluation)")


def _evaluate(arguments: argparse.Namespace) -> int:
    from evaluation.folders import evaluate_pairs
    from evaluation.options import EvaluationOptions
    from evaluation.reports.table import summary_table
    from evaluation.reports.write import write_reports
    from evaluation.request import resolve

    chosen = {"metrics": tuple(arguments.metrics)} if arguments.metrics else {}
    options = EvaluationOptions(
        protocol=arguments.protocol,
        tolerances_mm=tuple(arguments.tolerance),
        workers=_workers(arguments.workers),
        missing_as_empty=arguments.missing_as_empty,
        **chosen,
    )
    request = resolve(arguments.predictions, arguments.references, arguments.labels, arguments.cases, options.missing_as_empty)
    summary = evaluate_pairs(request.pairs, request.labels, options)
    folder = arguments.output or (arguments.predictions if arguments.predictions.is_dir() else arguments.predictions.parent) / "evaluation"
    paths = write_reports(summary, folder)
    print(summary_table(summary))
    print("\n".join(f"wrote {path}" for path in paths.values()))
    return 0


def _workers(wanted: int | None) -> int:
    from balrsam_pipeline.execution import default_workers

    if wanted is not None and wanted < 1:
        raise EvaluationError("--workers", found=str(wanted), expected="1 or more", mend="leave it out for one a core")
    return wanted or default_workers()


COMMANDS: dict[str, Command] = {
    "evaluate": Command(
        summary="Score predictions against references: Dice, HD95 and more, per case and label.",
        example="balrsam evaluate predictions/ raw/Dataset004_Hippocampus/labelsTr --labels raw/Dataset004_Hippocampus/dataset.json\n"
        "balrsam evaluate mine.nii.gz truth.nii.gz --tolerance 1 2 --output report/",
        add_arguments=_add_evaluate,
        run=_evaluate,
    ),
}
