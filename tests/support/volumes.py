"""A small configuration whose network sees volumes."""

from __future__ import annotations

import dataclasses

from support.plans import example_plan

from balrsam_pipeline.network import preset
from balrsam_pipeline.plan import Configuration, NetworkPlan
from balrsam_pipeline.volume_plan import VolumePlan


def volume_network(**changes: object) -> NetworkPlan:
    """A network for patches of 8 × 16 × 16 voxels, of two levels below the finest; 3 classes, 1 channel."""
    volume = VolumePlan(
        depth=8,
        pooling=((1, 2, 2), (2, 2, 2)),
        kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
        widths=(4, 6, 8),
    )
    network = dataclasses.replace(
        preset("vit_mini", classes=3, input_channels=1), input_size=(16, 16), decoder_rank=8, volume=volume
    )
    return dataclasses.replace(network, **changes)  # type: ignore[arg-type]


def volume_configuration(**changes: object) -> Configuration:
    """The configuration of `volume_network`."""
    values: dict[str, object] = {
        "name": "3d",
        "slicing_axes": (0, 1, 2),
        "patch_size": (16, 16),
        "batch_size": 2,
        "mirror_axes": (0, 1, 2),
        "network": volume_network(),
    }
    base = example_plan().configurations["2d"]
    return dataclasses.replace(base, **(values | changes))  # type: ignore[arg-type]
