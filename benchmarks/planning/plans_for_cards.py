"""What is planned for GPUs of several sizes, and how much of each a training step takes by the memory model.

    python benchmarks/planning/plans_for_cards.py [--set limits|kinds] [--kind NAME] [--configuration 3d]

Prints the Markdown tables of docs/planning.md: `limits` holds the hardest data for memory against six sizes
of card, `kinds` five well-known kinds of data against three. Fingerprints are made up with the typical sizes,
spacings and thinnest labels of those datasets; nothing is read or downloaded, and no GPU is needed. The exit
code is 1 if any configuration, shown or not, takes more than the limit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from balrsam_pipeline.dataset import DatasetDescription, LabelScheme
from balrsam_pipeline.hardware import USABLE_SHARE, GiB
from balrsam_pipeline.network import step_memory
from balrsam_pipeline.plan import CaseFingerprint, ChannelStatistics, Configuration, Fingerprint, Plan
from planners.hardware import Hardware
from planners.planner import plan_dataset

STATISTICS = ChannelStatistics(
    mean=100, median=100, std=20, min=0, max=300, percentile_00_5=40, percentile_99_5=180
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A dataset as its fingerprint sees it.

    Attributes:
        shapes: (z, y, x) of cases; spread of pictures' sizes comes from several.
        thinnest: thickness in pixels of the thinnest label.
        labels: foreground labels (regions where `regions`).
    """

    name: str
    channels: tuple[str, ...]
    shapes: tuple[tuple[int, int, int], ...]
    spacing_mm: tuple[float, float, float]
    thinnest: float
    labels: int
    regions: bool = False


PICTURE = (999.0, 1.0, 1.0)
RGB = ("red", "green", "blue")
LIMITS = (
    Kind(
        name="Hippocampus",
        channels=("MRI",),
        shapes=((36, 50, 35),),
        spacing_mm=(1, 1, 1),
        thinnest=8,
        labels=2,
    ),
    Kind(name="DRIVE", channels=RGB, shapes=((1, 584, 565),), spacing_mm=PICTURE, thinnest=3, labels=1),
    Kind(
        name="CT, 14 labels",
        channels=("CT",),
        shapes=((148, 512, 512),),
        spacing_mm=(3, 0.76, 0.76),
        thinnest=6,
        labels=14,
    ),
    Kind(
        name="photograph 3000²",
        channels=RGB,
        shapes=((1, 3000, 3000),),
        spacing_mm=PICTURE,
        thinnest=300,
        labels=1,
    ),
    Kind(
        name="CT, 118 labels",
        channels=("CT",),
        shapes=((260, 250, 250),),
        spacing_mm=(1.5, 1.5, 1.5),
        thinnest=4,
        labels=118,
    ),
)
KINDS = (
    Kind(
        name="ACDC-like",
        channels=("cine MRI",),
        shapes=((9, 256, 216),),
        spacing_mm=(10, 1.56, 1.56),
        thinnest=6,
        labels=3,
    ),
    Kind(
        name="BraTS-like",
        channels=("T1", "T1ce", "T2", "FLAIR"),
        shapes=((146, 176, 138),),
        spacing_mm=(1, 1, 1),
        thinnest=7,
        labels=3,
        regions=True,
    ),
    Kind(
        name="Synapse-like",
        channels=("CT",),
        shapes=((148, 512, 512),),
        spacing_mm=(3, 0.76, 0.76),
        thinnest=12,
        labels=8,
    ),
    Kind(
        name="ISIC-like",
        channels=RGB,
        shapes=((1, 767, 1022), (1, 2848, 4288), (1, 2000, 3008), (1, 1024, 1024), (1, 450, 600)),
        spacing_mm=PICTURE,
        thinnest=450,
        labels=1,
    ),
    Kind(
        name="polyp-like",
        channels=RGB,
        shapes=((1, 531, 622), (1, 1072, 1920), (1, 529, 626), (1, 288, 384), (1, 966, 1225)),
        spacing_mm=PICTURE,
        thinnest=150,
        labels=1,
    ),
)
SETS = {"limits": (LIMITS, (8, 11, 16, 24, 40, 80)), "kinds": (KINDS, (8, 24, 80))}


def fingerprint_of(kind: Kind) -> Fingerprint:
    """A fingerprint with a case for each shape."""
    names = [f"label {number}" for number in range(1, kind.labels + 1)]
    statistics = tuple(STATISTICS for _ in kind.channels)
    cases = tuple(
        CaseFingerprint(
            case=f"case_{index}",
            shape_zyx=shape,
            cropped_shape_zyx=shape,
            spacing_mm=kind.spacing_mm,
            orientation="2D" if shape[0] == 1 else "LPS",
            dtype="int16",
            content_sha256="0" * 64,
            label_voxels=dict.fromkeys(names, 1000),
            label_thickness_px=dict.fromkeys(names, kind.thinnest),
            channel_statistics=statistics,
        )
        for index, shape in enumerate(kind.shapes)
    )
    return Fingerprint(dataset="Dataset001_X", cases=cases, channel_statistics=statistics)


def description_of(kind: Kind) -> DatasetDescription:
    """Channels and labels."""
    numbers = range(1, kind.labels + 1)
    scheme = LabelScheme(
        names=tuple(f"label {number}" for number in numbers),
        values=tuple(
            tuple(range(number, kind.labels + 1)) if kind.regions else (number,) for number in numbers
        ),
        has_regions=kind.regions,
        region_order=tuple(numbers) if kind.regions else (),
        ignore_value=None,
        largest=kind.labels,
    )
    return DatasetDescription(
        name=kind.name,
        channel_names=kind.channels,
        labels=scheme,
        label_names={number: f"label {number}" for number in numbers},
        file_ending=".png" if kind.shapes[0][0] == 1 else ".nii.gz",
    )


def share_of(configuration: Configuration, memory_gb: float) -> float:
    """What the planned step takes of a card, 0 to 1."""
    memory = step_memory(configuration.network, configuration.patch_shape, configuration.batch_size)
    return memory.total / (memory_gb * GiB)


def planned(kinds: tuple[Kind, ...], cards: tuple[int, ...]) -> Iterator[tuple[Kind, int, Plan]]:
    """Every kind on every card."""
    for kind in kinds:
        for memory_gb in cards:
            hardware = Hardware(gpu_memory_gb=memory_gb, given=True)
            yield kind, memory_gb, plan_dataset(fingerprint_of(kind), description_of(kind), hardware)


def row(kind: Kind, memory_gb: int, plan: Plan, shown: str) -> tuple[str, float]:
    """A line of the table about the configuration `shown`, and the largest share of the card over all."""
    shares = {name: share_of(each, memory_gb) for name, each in plan.configurations.items()}
    worst = max(shares, key=lambda name: shares[name])
    default = plan.configurations[shown]
    network = default.network
    patch, size = (" × ".join(map(str, shape)) for shape in (default.patch_shape, network.input_shape))
    cells = (
        kind.name,
        f"{memory_gb} GB",
        f"{network.base} ({network.backbone})",
        f"{default.name}, {network.input_channels} channels",
        patch,
        size,
        str(network.mask_stride),
        str(default.batch_size),
        str(network.checkpointed_blocks),
        f"{100 * shares[default.name]:.0f} %",
        f"{100 * shares[worst]:.0f} % ({worst})",
    )
    return "| " + " | ".join(cells) + " |", shares[worst]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", choices=tuple(SETS), action="append", dest="sets")
    parser.add_argument("--kind", metavar="NAME", action="append", help="of these data alone")
    parser.add_argument("--configuration", metavar="NAME", help="show this one (default: the plan's)")
    arguments = parser.parse_args()
    largest = 0.0
    for name in arguments.sets or SETS:
        print(
            "| data | card | checkpoint | configuration | patch | input | mask stride | batch | checkpointed "
            "| of the card | at most |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        kinds, cards = SETS[name]
        chosen = tuple(kind for kind in kinds if kind.name in (arguments.kind or (kind.name,)))
        for kind, memory_gb, plan in planned(chosen, cards):
            shown = arguments.configuration or plan.default_configuration
            line, share = row(kind, memory_gb, plan, shown)
            largest = max(largest, share)
            print(line, flush=True)
        print()
    sys.exit(largest > USABLE_SHARE)


if __name__ == "__main__":
    main()
