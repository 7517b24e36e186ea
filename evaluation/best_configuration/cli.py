"""The sub-commands `find_best_configuration` and `postprocess`."""

from __future__ import annotations

import argparse
from pathlib import Path

from balrsam_pipeline.command import BEGINS_ANEW, Command, CommandFiles, add_roots, roots_of
from balrsam_pipeline.folds import fold_number
from balrsam_pipeline.layout import RawFolder, ResultsFolder
from balrsam_pipeline.paths import find_dataset
from balrsam_pipeline.protect import require_file_place
from balrsam_pipeline.terminal import painted


def _add_find(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", help="a dataset: folder name, number, or path")
    parser.add_argument(
        "--configurations",
        nargs="+",
        metavar="NAME",
        help="compare these, such as 2d, or 2d__wide of the plan wide (default: all that are trained)",
    )
    parser.add_argument(
        "--folds",
        nargs="+",
        type=fold_number,
        metavar="N",
        help="compare on these folds, and predict with them (default: compare on all that every "
        "configuration has, predict with all that the chosen one has)",
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
    from evaluation.best_configuration.find import (
        BestRequest,
        command_lines,
        find_best_configuration,
        is_trained_on_all,
    )

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
    if is_trained_on_all(best, request):
        print("(it is trained on all cases too: --folds all predicts with that model)")
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


def _add_postprocess(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-i", "--input", type=Path, required=True, metavar="FOLDER", help="predicted label maps"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="PATH",
        help="with --references the JSON file of rules; with --rules the folder of cleaned label maps",
    )
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument(
        "--references",
        type=Path,
        metavar="FOLDER",
        help="choose rules: where the references of these predictions are",
    )
    task.add_argument("--rules", type=Path, metavar="JSON", help="apply these rules")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="DATASET_JSON",
        help="a dataset.json (default: the one beside the predictions)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="cases scored at once (default: all cores)")


def _postprocess(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.execution import default_workers
    from evaluation.best_configuration.postprocess import apply_to_folder, determine_postprocessing

    if arguments.references is None:
        done = apply_to_folder(arguments.input, arguments.output, arguments.rules, arguments.labels)
        print(f"{len(done.written)} label maps into {arguments.output}, {len(done.changed)} of them changed")
        return 0
    require_file_place(arguments.output, (".json",))
    workers = arguments.workers or default_workers()
    chosen = determine_postprocessing(
        arguments.input, arguments.references, arguments.labels, arguments.output, workers
    )
    print("\n".join(chosen.reasons))
    print(f"{len(chosen.steps)} rule(s) in {arguments.output}")
    return 0


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
    "postprocess": Command(
        summary="Choose rules that clean label maps (largest component, smallest size) on predictions with "
        "known\nreferences, or apply rules to a folder of label maps.",
        example="balrsam postprocess -i fold_0/validation --references labelsTr -o rules.json\n"
        "balrsam postprocess -i predictions --rules rules.json -o cleaned",
        add_arguments=_add_postprocess,
        run=_postprocess,
        long=True,
        again=BEGINS_ANEW,
    ),
}
