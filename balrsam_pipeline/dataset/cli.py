"""The sub-command `convert`; heavy imports happen inside the functions that run."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from balrsam_pipeline.command import BEGINS_ANEW, Command, add_roots, roots_of
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.paths import Roots, shown
from balrsam_pipeline.whole_numbers import whole_number

SOURCES = {
    "decathlon": "Medical Segmentation Decathlon (Task01_BrainTumour)",
    "nnunet_v1": "nnU-Net v1 raw data (Task004_Hippocampus)",
    "pairs": "a folder of images and one of masks, paired by name",
    "dicom": "a folder of DICOM series per case, labels as NIfTI or DICOM-SEG",
    "npz": "files CASE.npz with imgs and gts, as CVPR's challenges hand them out",
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
        help="mask colours to label values: 255=1, 128-255=1 (a threshold), all=1 (all but black), or "
        "'#ff0000=1,0/255/0=2'",
    )
    parser.add_argument(
        "--fill-outlines", action="store_true", help="masks are lines around what they mean (pairs)"
    )
    _add_folders(parser)
    _add_test_cases(parser)
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core)")
    add_roots(parser)


def _add_folders(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("folders and names, inside the source (pairs, dicom, npz)")
    group.add_argument("--images", default="images", metavar="FOLDER", help="of images")
    group.add_argument(
        "--masks",
        nargs="+",
        default=["masks"],
        metavar="FOLDER",
        help="of masks; may be that of images; of several each is a label, in their order (pairs)",
    )
    group.add_argument(
        "--test", default="test", metavar="FOLDER", help="of images to predict; '' for none (default: test)"
    )
    group.add_argument(
        "--test-masks",
        default="",
        metavar="FOLDER",
        help="of the masks of those, to score predictions (pairs)",
    )
    group.add_argument(
        "--pattern",
        nargs=2,
        metavar=("IMAGE", "MASK"),
        help="how files are named, where it is not found out: '{case}_test' '{case}_manual1' (pairs)",
    )


def _add_test_cases(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cases kept for testing, with their labels in labelsTs")
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        "--test-fraction",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="this share of the cases, such as 0.2; the same ones each time",
    )
    either.add_argument("--test-list", type=Path, metavar="FILE", help="those that a file names, one a line")
    group.add_argument(
        "--groups",
        type=Path,
        metavar="FILE",
        help="CSV of case,patient: patients stay together, in folds too (default: groups.csv of the source, "
        "else names such as patient012_frame01)",
    )


def run_convert(arguments: argparse.Namespace) -> int:
    """Run `balrsam convert`."""
    from balrsam_pipeline.dataset.converters import (
        CONVERTERS,
        Conversion,
        HoldOut,
        parse_value_map,
        read_names,
    )
    from balrsam_pipeline.execution import default_workers
    from balrsam_pipeline.execution.whole_folder import is_made

    if not arguments.source.is_dir():
        raise UsageError(
            arguments.source, found="no such folder", expected="the folder to convert", fix="check the path"
        )
    _require_one_label_map(arguments)
    conversion = Conversion(
        source=arguments.source,
        target=_target(arguments.target, roots_of(arguments)),
        channel_names=tuple(arguments.channels),
        labels=_labels(arguments.labels),
        value_map=parse_value_map(arguments.value_map),
        images=arguments.images,
        masks=arguments.masks[0],
        more_masks=tuple(arguments.masks[1:]),
        test=arguments.test,
        test_masks=arguments.test_masks,
        fill_outlines=arguments.fill_outlines,
        pattern=tuple(arguments.pattern) if arguments.pattern else None,
        hold_out=HoldOut(
            fraction=arguments.test_fraction,
            names=read_names(arguments.test_list) if arguments.test_list else (),
        ),
        groups=arguments.groups,
        workers=arguments.workers or default_workers(),
    )
    if is_made(conversion.target, conversion.made_of()):
        print(f"{conversion.target}: made already, of the same folder in the same way; nothing to do")
        return 0
    converted = CONVERTERS[arguments.kind](conversion)
    labelled = f" ({converted.labelled_test_cases} with labels)" if converted.labelled_test_cases else ""
    place = shown(converted.target)
    print(f"{place}: {converted.training_cases} training and {converted.test_cases} test cases{labelled}")
    print(f"check it: balrsam verify {shlex.quote(place)}")
    return 0


def _require_one_label_map(arguments: argparse.Namespace) -> None:
    """Several folders of masks are for training pairs alone.

    Raises:
        UsageError: they are given with another source, or with masks of test images.
    """
    if len(arguments.masks) < 2 or (arguments.kind == "pairs" and not arguments.test_masks):
        return
    raise UsageError(
        "--masks",
        found=f"{len(arguments.masks)} folders with "
        + ("--test-masks" if arguments.kind == "pairs" else f"--from {arguments.kind}"),
        expected="several folders only with --from pairs and without --test-masks",
        fix="name one; to score predictions of labelled cases, keep some: --test-fraction 0.2"
        if arguments.kind == "pairs"
        else "name one",
    )


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
        name, _, text = item.rpartition("=")
        value = whole_number(text)
        if not name or value is None:
            raise UsageError(
                "--labels",
                found=f"'{item}'",
                expected="NAME=VALUE",
                fix="for example: --labels liver=1 tumour=2",
            )
        if name != "background":
            labels[name] = value
    return labels


COMMANDS = {
    "convert": Command(
        summary="Make a raw dataset from a Decathlon, nnU-Net v1, image-and-mask, DICOM or npz folder, "
        "which is only read.",
        example="balrsam convert Task04_Hippocampus Dataset004_Hippocampus --from decathlon\n"
        "balrsam convert polyps Dataset030_Polyps --from pairs --labels polyp=1 --test-fraction 0.2\n"
        "balrsam convert cts Dataset031_Liver --from dicom --channels CT --labels liver=1",
        add_arguments=add_convert_arguments,
        run=run_convert,
        long=True,
        again=BEGINS_ANEW,
    ),
}
