"""The sub-commands `evaluate` and `compare`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balrsam_pipeline.command import BEGINS_ANEW, Command, CommandFiles
from balrsam_pipeline.errors import PARTLY, EvaluationError, first_of
from balrsam_pipeline.execution.cli_options import add_execution_arguments, execution_of
from balrsam_pipeline.layout import EVALUATION, SUMMARY, PredictionFolder
from balrsam_pipeline.protect import require_apart, require_folder_place
from balrsam_pipeline.terminal import painted

if TYPE_CHECKING:
    from evaluation.metrics.options import EvaluationOptions


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predictions", type=Path, help="folder of predicted label maps, or one file")
    parser.add_argument(
        "references", type=Path, help="folder of reference label maps with the same names, or one file"
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="DATASET_JSON",
        help="a dataset.json (default: one beside the predictions, or the values found)",
    )
    parser.add_argument(
        "--cases", nargs="+", metavar="CASE", help="score these cases alone (default: all of both folders)"
    )
    parser.add_argument(
        "--protocol", default="default", help="what empty masks count as: default, transunet, brats, exclude"
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="GROUP",
        help="groups to compute: overlap, surface, nsd, detection (default: the first three)",
    )
    parser.add_argument(
        "--tolerance",
        nargs="+",
        type=float,
        metavar="MM",
        help="tolerances of NSD in mm (default: 1)",
    )
    parser.add_argument(
        "--missing-as-empty",
        action="store_true",
        help="score a case without a prediction as empty, instead of refusing",
    )
    parser.add_argument(
        "--stratify",
        type=Path,
        metavar="CSV",
        help="a table with a column 'case', to report groups of cases separately",
    )
    parser.add_argument(
        "--by",
        metavar="COLUMN",
        help="the column of --stratify that makes the groups: site, scanner, sex, size …",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="images behind the report's pictures (default: imagesTr beside labelsTr)",
    )
    parser.add_argument("--title", help="of the report (default: what is scored against what)")
    parser.add_argument("--workers", type=int, help="cases scored at once (default: one per core)")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where the reports go (default: PREDICTIONS/evaluation)"
    )
    add_execution_arguments(parser)


def _evaluate(arguments: argparse.Namespace) -> int:
    from evaluation.doubts import find_doubts
    from evaluation.reports.strata import read_strata
    from evaluation.reports.tables import summary_table
    from evaluation.reports.write import make_folder, require_own_reports, write_reports
    from evaluation.request import resolve
    from evaluation.scoring import score_pairs

    if arguments.output:
        require_folder_place(arguments.output, "--output")
    options = _options(arguments)
    _refuse_contradictions(arguments)
    request = resolve(
        arguments.predictions,
        arguments.references,
        arguments.labels,
        arguments.cases,
        options.missing_as_empty,
    )
    beside = arguments.predictions if arguments.predictions.is_dir() else arguments.predictions.parent
    strata = (
        read_strata(arguments.stratify, arguments.by, tuple(pair.case for pair in request.pairs))
        if arguments.stratify
        else None
    )
    folder = arguments.output or PredictionFolder(beside).evaluation.path
    require_own_reports(folder)
    make_folder(folder)
    execution = execution_of(arguments, options.workers)
    summary, problems = score_pairs(request.pairs, request.labels, options, execution)
    if not summary.rows:
        raise first_of(problems)
    doubts = find_doubts([pair for pair in request.pairs if pair.case not in problems], request.labels)
    summary = replace(summary, warnings=(*doubts, *summary.warnings))
    title = arguments.title or f"{_name(arguments.predictions)} against {_name(arguments.references)}"
    paths = write_reports(summary, folder, title, strata, arguments.images)
    print(painted(summary_table(summary)))
    print("\n".join(f"wrote {path}" for path in paths.values()))
    for doubt in doubts:
        print(f"THESE SCORES MEAN NOTHING: {doubt}", file=sys.stderr)
    if problems:  # told in the usual form, after the reports on the others are there
        raise first_of(problems, done=True)
    return PARTLY if doubts else 0


def _options(arguments: argparse.Namespace) -> EvaluationOptions:
    """How to score.

    Raises:
        EvaluationError: a value is out of range, or a tolerance is given to no NSD.
    """
    from evaluation.metrics.options import EvaluationOptions

    chosen: dict[str, Any] = {"metrics": tuple(arguments.metrics)} if arguments.metrics else {}
    if arguments.tolerance is not None:
        chosen["tolerances_mm"] = tuple(arguments.tolerance)
    options = EvaluationOptions(
        protocol=arguments.protocol,
        workers=_workers(arguments.workers),
        missing_as_empty=arguments.missing_as_empty,
        **chosen,
    )
    if arguments.tolerance is not None and "nsd" not in options.metrics:
        raise EvaluationError(
            "--tolerance",
            found=f"--metrics {' '.join(options.metrics)}",
            expected="nsd among them, which alone has a tolerance",
            fix="leave it out, or add nsd to --metrics",
        )
    return options


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    if (arguments.stratify is None) != (arguments.by is None):
        raise EvaluationError(
            "--stratify and --by", found="one of them", expected="both", fix="--stratify cases.csv --by site"
        )
    if arguments.images is not None and not arguments.images.exists():
        raise EvaluationError(
            arguments.images, found="no such folder", expected="a folder of images", fix="check --images"
        )


def _name(path: Path) -> str:
    parts = [part for part in path.resolve().parts if part not in (EVALUATION, SUMMARY)]
    return "/".join(parts[-2:]) if path.is_dir() or path.name == SUMMARY else path.name


def _files(arguments: argparse.Namespace) -> CommandFiles:
    folder = arguments.output or PredictionFolder(arguments.predictions).evaluation.path
    return CommandFiles(outputs=(folder / "*",))


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "first", type=Path, help="summary.json of model A (ours or nnU-Net's), or the folder that holds it"
    )
    parser.add_argument("second", type=Path, help="the same of model B, on the same cases")
    parser.add_argument(
        "--names", nargs=2, metavar=("A", "B"), help="what the models are called (default: their folders)"
    )
    parser.add_argument(
        "--metric",
        nargs="+",
        metavar="KEY",
        help="metrics to test: dice, hd95, nsd_1 … (default: all that both have)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="also write comparison.html, comparison.json and comparison.csv there",
    )


def _compare(arguments: argparse.Namespace) -> int:
    from evaluation.comparison import compare
    from evaluation.reports.summary_json import read_summary
    from evaluation.reports.tables import comparison_table
    from evaluation.reports.write import make_folder, require_own_comparison, write_comparison

    if arguments.output:
        require_folder_place(arguments.output, "--output")
        require_apart(arguments.output, [arguments.first, arguments.second])
        require_own_comparison(arguments.output)
    names = tuple(arguments.names) if arguments.names else (_name(arguments.first), _name(arguments.second))
    first, second = read_summary(arguments.first), read_summary(arguments.second)
    comparison = compare(first, second, (names[0], names[1]), arguments.metric)
    print(painted(comparison_table(comparison, tuple(arguments.metric or ("dice", "hd95")))))
    if arguments.output:
        paths = write_comparison(comparison, first, second, make_folder(arguments.output))
        print("\n".join(f"wrote {path}" for path in paths.values()))
    return 0


def _workers(wanted: int | None) -> int:
    from balrsam_pipeline.execution import default_workers

    if wanted is not None and wanted < 1:
        raise EvaluationError(
            "--workers", found=str(wanted), expected="1 or more", fix="leave it out for one per core"
        )
    return wanted or default_workers()


COMMANDS: dict[str, Command] = {
    "evaluate": Command(
        summary="Score predictions against references: Dice, HD95 and more, per case and label.",
        example="balrsam evaluate predictions/ raw/Dataset004_Hippocampus/labelsTr --labels "
        "raw/Dataset004_Hippocampus/dataset.json\n"
        "balrsam evaluate mine.nii.gz truth.nii.gz --tolerance 1 2 --output report/",
        add_arguments=_add_evaluate,
        run=_evaluate,
        files=_files,
        long=True,
        again=BEGINS_ANEW,
    ),
    "compare": Command(
        summary="Compare two scored sets of predictions of the same cases: paired tests per label, who wins "
        "where.",
        example="balrsam compare results_a/evaluation results_b/evaluation --names ours theirs --output "
        "comparison/",
        add_arguments=_add_compare,
        run=_compare,
        again=BEGINS_ANEW,
    ),
}
