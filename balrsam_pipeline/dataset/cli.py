"""The sub-command `convert`; heavy imports happen inside the functions that run."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from balrsam_pipeline.command import Command, add_roots, roots_of
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.paths import Roots

SOURCES = {
    "decathlon": "Medical Segmentation Decathlon (Task01_BrainTumour)",
    "nnunet_v1": "nnU-Net v1 raw data (Task004_Hippocampus)",
    "pairs": "a folder of images and one of masks, paired by name",
    "dicom": "a folder of DICOM series per case, labels as NIfTI or DICOM-SEG",
}


def add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam convert`."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the folder to convert; it is only read")
    parser.add_argument(
        "target", metavar="TARGET", help="the new dataset: Dataset007_Pancreas (in the raw folder), or a path"
    )
    kinds = "; ".join(f"{name}: {what}" for name, what in SOURCES.items())
    parser.add_argument("--from", dest="kind", required=True, choices=tuple(SOURCES), help=kinds)
    parser.add_argument(
        "--channels",
        nargs="+",
        metavar="NAME",
        default=[],
        help="channel names in order; CT chooses its normalisation",
    )
    parser.add_argument(
        "--labels", nargs="+", metavar="NAME=VALUE", default=[], help="label names, such as liver=1 tumour=2"
    )
    parser.add_argument(
        "--value-map",
        default="",
        metavar="MAP",
        help="mask colours to label values: 255=1, 128-255=1 (a threshold), or '#ff0000=1,0/255/0=2'",
    )
    parser.add_argument(
        "--images", default="images", metavar="FOLDER", help="of images, inside the source (pairs, dicom)"
    )
    parser.add_argument(
        "--masks", default="masks", metavar="FOLDER", help="of masks, inside the source (pairs, dicom)"
    )
    parser.add_argument(
        "--test",
        default="test",
        metavar="FOLDER",
        help="of images without masks, inside the source (pairs, dicom)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core)")
    add_roots(parser)


def run_convert(arguments: argparse.Namespace) -> int:
    """Run `balrsam convert`."""
    from balrsam_pipeline.dataset.converters import CONVERTERS, Conversion, parse_value_map
    from balrsam_pipeline.execution import default_workers

    if not arguments.source.is_dir():
        raise UsageError(
            arguments.source, found="no such folder", expected="the folder to convert", fix="check the path"
        )
    conversion = Conversion(
        source=arguments.source,
        target=_target(arguments.target, roots_of(arguments)),
        channel_names=tuple(arguments.channels),
        labels=_labels(arguments.labels),
        value_map=parse_value_map(arguments.value_map),
        images=arguments.images,
        masks=arguments.masks,
        test=arguments.test,
        workers=arguments.workers or default_workers(),
    )
    converted = CONVERTERS[arguments.kind](conversion)
    print(f"{converted.target}: {converted.training_cases} training and {converted.test_cases} test cases")
    print(f"check it: balrsam verify {converted.target}")
    return 0


def _target(text: str, roots: Roots) -> Path:
    path = Path(text)
    if not re.fullmatch(r"Dataset\d{3,}_.+", path.name):
        raise UsageError(
            f"target '{text}'",
            found=path.name,
            expected="a name like Dataset007_Pancreas",
            fix="give it a number that no dataset has yet",
        )
    return path if path.parent != Path() else roots.raw / path.name


def _labels(items: Sequence[str]) -> dict[str, int]:
    labels = {}
    for item in items:
        name, _, value = item.rpartition("=")
        if not name or not value.isdigit():
            raise UsageError(
                "--labels",
                found=f"'{item}'",
                expected="NAME=VALUE",
                fix="for example: --labels liver=1 tumour=2",
            )
        if name != "background":
            labels[name] = int(value)
    return labels


COMMANDS = {
    "convert": Command(
        summary="Make a raw dataset from a Decathlon, nnU-Net v1, image-and-mask or DICOM folder, which is "
        "only read.",
        example="balrsam convert Task04_Hippocampus Dataset004_Hippocampus --from decathlon\n"
        "balrsam convert polyps Dataset030_Polyps --from pairs --images images --masks masks --labels "
        "polyp=1\n"
        "balrsam convert cts Dataset031_Liver --from dicom --channels CT --labels liver=1",
        add_arguments=add_convert_arguments,
        run=run_convert,
        long=True,
    ),
}
