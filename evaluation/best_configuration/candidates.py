"""What can be predicted with: every configuration, every pair, all together; and what each costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

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
    """Multiply-adds of the network per voxel of a patch, in thousands: a relative cost that is the same on
    every machine.

    Each orientation counts, and that stacks overlap; overlaps of tiles and mirrored copies do not, which
    depend on the images and on how they are predicted.
    """
    from balrsam_pipeline.network import prediction_multiply_adds  # loads torch

    network = configuration.network
    passes = 1 if network.volume is not None else len(configuration.slicing_axes)
    if network.stack:
        passes = STACKS_A_SLICE
    seen = prediction_multiply_adds(network)
    return round(passes * seen / math.prod(configuration.patch_shape) / 1000, 3)


def candidates(configurations: Sequence[Configuration], ensembles: bool = True) -> tuple[Candidate, ...]:
    """Every configuration; with `ensembles` also every pair, and all together where there are more than
    two."""
    sizes = [1]
    if ensembles:
        sizes += [size for size in (2, len(configurations)) if size >= 2 and size <= len(configurations)]
    costs = {item.name: prediction_cost(item) for item in configurations}
    return tuple(
        Candidate(configurations=group, cost=round(sum(costs[name] for name in group), 3))
        for size in dict.fromkeys(sizes)
        for group in combinations(costs, size)
    )
