"""What can be predicted with: every configuration, every pair, all together; and what each costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from balrsam_pipeline.network.backbone_shapes import multiply_adds_per_token
from balrsam_pipeline.plan import Configuration

STACKS_A_SLICE = 2  # in which it is seen, since they overlap by half


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One or several configurations (an ensemble with equal weights), and the relative cost of predicting
    with them."""

    configurations: tuple[str, ...]
    cost: float

    @property
    def name(self) -> str:
        """For people and folders: "2d", or "2d + 2.5d"."""
        return " + ".join(self.configurations)


def prediction_cost(configuration: Configuration) -> float:
    """Multiply-adds of the ViT per voxel (of convolutions over volumes, where there are), in thousands: a
    relative cost that is the same on every machine.

    Context slices count a hundredth each, so that of two configurations alike otherwise the one with fewer
    channels is cheaper.
    """
    if configuration.network.volume is not None:
        return round(configuration.network.volume.multiply_adds_per_voxel / 1000, 3)
    per_token = multiply_adds_per_token(configuration.network.backbone)
    tokens = math.prod(configuration.network.input_size) / configuration.network.embedding_stride**2
    stacked = configuration.network.stack > 0
    axes = STACKS_A_SLICE if stacked else len(configuration.slicing_axes)
    passes = axes * (1 + 0.01 * configuration.context_slices)
    return round(passes * tokens * per_token / math.prod(configuration.patch_size) / 1000, 3)


def candidates(configurations: Sequence[Configuration], ensembles: bool = True) -> tuple[Candidate, ...]:
    """Every configuration; with `ensembles` also every pair, and all together where there are more than
    two."""
    sizes = [1]
    if ensembles:
        sizes += [size for size in (2, len(configurations)) if size >= 2 and size <= len(configurations)]
    return tuple(
        Candidate(
            configurations=tuple(item.name for item in group), cost=round(sum(map(prediction_cost, group)), 3)
        )
        for size in dict.fromkeys(sizes)
        for group in combinations(configurations, size)
    )
