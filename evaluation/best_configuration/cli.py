"""The sub-command `find_best_configuration`."""

from __future__ import annotations

import argparse
from pathlib import Path

from balrsam_pipeline.command import Command, CommandFiles, add_roots, roots_of
from balrsam_pipeline.layout import RawFolder, ResultsFolder
from balrsam_pipeline.paths import find_dataset
from balrsam_pipeline.terminal import painted


def _add_find(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", help="a dataset: folder name, number, or path")
    parser.add_argument(
        "--configurations", nargs="+", metavar="NAME", help="compare these (default: all that are trained)"
    )
    parser.add_argument(
        "--folds",
        nargs="+",
        type=int,
        metavar="N",
        help="on these folds (default: all that every configuration has)",
    )
    parser.add_argument("--no-ensembles", action="store_true", help="compare single configurations alone")
    parser.add_argument(
        "--prefer",
        choices=("accuracy", "speed"),
        default="speed",
        help="of candidates within noise of each other: the best, or the cheapest (default)",
    )
    parser.add_argument(
        "--device", help="for predicting ensembles: cuda, cpu, … (default: the best there is)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="cases scored at once (default: all cores)")
    add_roots(parser)


def _find(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.execution import default_workers
    from evaluation.best_configuration.find import BestRequest, command_lines, find_best_configuration

    roots = roots_of(arguments)
    request = BestRequest(
        dataset=find_dataset(arguments.dataset, roots),
        roots=roots,
        configurations=tuple(arguments.configurations) if arguments.configurations else None,
        folds=tuple(arguments.folds) if arguments.folds else None,
        ensembles=not arguments.no_ensembles,
        device=arguments.device,
        workers=arguments.workers or default_workers(),
        prefer=arguments.prefer,
    )
    best, path = find_best_configuration(request)
    width = max(len("candidate"), *(len(" + ".join(score.configurations)) for score in best.candidates))
    lines = [f"{'candidate':<{width}}  {'Dice':>6}  {'95 % interval':>16}  {'p':>7}  {'cost':>9}"]
    for score in best.candidates:
        p_text = "" if score.p_value is None else f"{score.p_value:.3f}"
        interval = f"{score.dice_low:.4f}-{score.dice_high:.4f}"
        lines.append(
            f"{' + '.join(score.configurations):<{width}}  {score.dice:6.4f}  {interval:>16}  {p_text:>7}  "
            f"{score.cost:9.1f}"
        )
    print(painted("\n".join(lines)))
    print(f"\nbest: {best.reason}.")
    print("postprocessing:")
    print("\n".join(f"  {reason}" for reason in best.postprocessing.reasons))
    print(f"wrote {path}\n\nto predict with it, and to submit:")
    print("\n".join(f"  {line}" for line in command_lines(best, request)))
    if not RawFolder(request.dataset).images_ts.is_dir():
        print("(the dataset has no imagesTs: name the folder of your images instead)")
    return 0


def _files(arguments: argparse.Namespace) -> CommandFiles:
    results = ResultsFolder(roots_of(arguments).results / Path(arguments.dataset).name)
    models = [results.model(name) for name in arguments.configurations or ()] or results.models()
    rules = (model.crossval.postprocessing for model in models)
    return CommandFiles(
        outputs=(results.best_configuration, *rules, results.ensembles / "*/*/*"),
        outdated=(results.ensembles,),
    )


COMMANDS: dict[str, Command] = {
    "find_best_configuration": Command(
        summary="Choose on cross-validation what to predict with: a configuration or an ensemble, and its "
        "postprocessing.",
        example="balrsam find_best_configuration Dataset004_Hippocampus\n"
        "balrsam find_best_configuration 4 --configurations 2d 2.5d --folds 0 --no-ensembles",
        add_arguments=_add_find,
        run=_find,
        files=_files,
        long=True,
    ),
}
