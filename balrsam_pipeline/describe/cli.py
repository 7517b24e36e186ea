"""The sub-command `describe`: a planned dataset, or a network."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from balrsam_pipeline.command import Command, add_roots, roots_of
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.paths import find_dataset

if TYPE_CHECKING:
    from balrsam_pipeline.plan import NetworkPlan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam describe`."""
    parser.add_argument("dataset", nargs="?", help="a planned dataset: folder name, number, or path")
    parser.add_argument("--configuration", metavar="NAME", help="with a dataset: also the network of this configuration")
    parser.add_argument("--backbone", choices=("vit_t", "vit_b", "vit_l", "vit_h"), help="instead of a dataset: a network as published")
    parser.add_argument("--input-size", type=int, metavar="PIXELS", help="with --backbone: side of the input (default: 1024; vit_t: 224)")
    parser.add_argument("--classes", type=int, default=4, metavar="K", help="with --backbone: logit channels (default: 4)")
    parser.add_argument("--decoder-attention", choices=("low_rank", "exact"), help="with --backbone (default: low_rank)")
    add_roots(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `balrsam describe`."""
    from balrsam_pipeline.network.accounting import describe_network

    if (arguments.dataset is None) == (arguments.backbone is None):
        raise UsageError(
            "balrsam describe",
            found="neither a dataset nor --backbone" if arguments.dataset is None else "both a dataset and --backbone",
            expected="one of them",
            mend="balrsam describe DATASET, or balrsam describe --backbone vit_h",
        )
    if arguments.backbone is not None:
        print(describe_network(_chosen_network(arguments)))
        return 0
    return _describe_dataset(arguments)


def _chosen_network(arguments: argparse.Namespace) -> NetworkPlan:
    from balrsam_pipeline.network.presets import preset

    network = preset(arguments.backbone, classes=arguments.classes)
    if arguments.input_size is not None:
        network = dataclasses.replace(network, input_size=(arguments.input_size, arguments.input_size))
    if arguments.decoder_attention is not None:
        network = dataclasses.replace(network, decoder_attention=arguments.decoder_attention)
    return network


def _describe_dataset(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.dataset import read_description
    from balrsam_pipeline.network.accounting import describe_network
    from balrsam_pipeline.plan import read_fingerprint, read_plan
    from balrsam_pipeline.plan_page import plan_page

    roots = roots_of(arguments)
    dataset = find_dataset(arguments.dataset, roots)
    folder = roots.preprocessed / dataset.name
    if not (folder / "plan.json").is_file():
        raise UsageError(
            folder / "plan.json",
            found="no such file",
            expected=f"the plan of {dataset.name}",
            mend=f"make it: balrsam plan_and_preprocess {arguments.dataset} (with the same --raw and --preprocessed)",
        )
    plan = read_plan(folder / "plan.json")
    fingerprint = read_fingerprint(folder / "fingerprint.json") if (folder / "fingerprint.json").is_file() else None
    print(plan_page(plan, fingerprint, read_description(dataset / "dataset.json")))
    if arguments.configuration is not None:
        print(f"\nThe network of '{arguments.configuration}':\n")
        print(describe_network(plan.configuration(arguments.configuration).network))
    return 0


COMMANDS = {
    "describe": Command(
        summary="What was planned for a dataset and why, in plain words; or a network: its parts, parameters, memory and FLOPs.",
        example="balrsam describe Dataset004_Hippocampus --configuration 2d\nbalrsam describe --backbone vit_h",
        add_arguments=add_arguments,
        run=run,
    )
}
