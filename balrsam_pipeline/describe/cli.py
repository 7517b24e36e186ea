"""The command `balrsam describe`."""

from __future__ import annotations

import argparse
import dataclasses
from typing import get_args

from balrsam_pipeline.command import Command, add_roots, roots_of
from balrsam_pipeline.describe.page import plan_page, trained_words
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.layout import PreprocessedFolder, RawFolder, ResultsFolder
from balrsam_pipeline.network.presets import preset
from balrsam_pipeline.paths import find_dataset
from balrsam_pipeline.plan import Backbone, DecoderAttention, NetworkPlan, read_fingerprint, read_plan
from balrsam_pipeline.plan_names import UNNAMED, plan_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam describe`."""
    parser.add_argument("dataset", nargs="?", help="a planned dataset: folder name, number, or path")
    parser.add_argument(
        "--configuration", metavar="NAME", help="with a dataset: also the network of this configuration"
    )
    parser.add_argument(
        "--plan",
        type=plan_name,
        default=UNNAMED,
        metavar="NAME",
        help="with a dataset: the plan of that name",
    )
    parser.add_argument(
        "--backbone",
        choices=get_args(Backbone),
        help="instead of a dataset: a network as published",
    )
    parser.add_argument(
        "--input-size",
        type=int,
        metavar="PIXELS",
        help="with --backbone: side of the input (default: 1024; vit_t: 256; cnn and vit_mini: 224)",
    )
    parser.add_argument(
        "--classes", type=int, default=4, metavar="K", help="with --backbone: logit channels (default: 4)"
    )
    parser.add_argument(
        "--decoder-attention", choices=get_args(DecoderAttention), help="with --backbone (default: low_rank)"
    )
    add_roots(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `balrsam describe`."""
    if (arguments.dataset is None) == (arguments.backbone is None):
        raise UsageError(
            "balrsam describe",
            found="neither a dataset nor --backbone"
            if arguments.dataset is None
            else "both a dataset and --backbone",
            expected="one of them",
            fix="balrsam describe DATASET, or balrsam describe --backbone vit_h",
        )
    if arguments.backbone is not None:
        from balrsam_pipeline.network import describe_network  # loads torch

        print(describe_network(_chosen_network(arguments)))
        return 0
    return _describe_dataset(arguments)


def _chosen_network(arguments: argparse.Namespace) -> NetworkPlan:
    network = preset(arguments.backbone, classes=arguments.classes)
    if arguments.input_size is not None:
        network = dataclasses.replace(network, input_size=(arguments.input_size, arguments.input_size))
    if arguments.decoder_attention is not None:
        network = dataclasses.replace(network, decoder_attention=arguments.decoder_attention)
    return network


def _describe_dataset(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.dataset import read_description  # loads libraries of image formats

    roots = roots_of(arguments)
    dataset = find_dataset(arguments.dataset, roots)
    folder = PreprocessedFolder(roots.preprocessed / dataset.name)
    planned = folder.planned(arguments.plan).plan
    if not planned.is_file():
        others = ", ".join(name or "the unnamed one" for name in folder.plans())
        named = f" --plan {arguments.plan}" if arguments.plan else ""
        raise UsageError(
            planned,
            found=f"no such file; plans: {others}" if others else "no such file",
            expected=f"the plan of {dataset.name}",
            fix=f"make it: balrsam plan_and_preprocess DATASET{named}",
        )
    plan = read_plan(planned)
    fingerprint = read_fingerprint(folder.fingerprint) if folder.fingerprint.is_file() else None
    print(plan_page(plan, fingerprint, read_description(RawFolder(dataset).description)))
    print(trained_words(ResultsFolder(roots.results / dataset.name)))
    if arguments.configuration is not None:
        from balrsam_pipeline.network import describe_network  # loads torch

        print(f"\nThe network of '{arguments.configuration}':\n")
        print(describe_network(plan.configuration(arguments.configuration).network))
    return 0


COMMANDS = {
    "describe": Command(
        summary="What was planned for a dataset and why, in plain words; or a network: its parts, "
        "parameters, memory and FLOPs.",
        example="balrsam describe Dataset004_Hippocampus --configuration 2d\nbalrsam describe --backbone "
        "vit_h",
        add_arguments=add_arguments,
        run=run,
    )
}
