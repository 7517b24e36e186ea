"""Counting and measuring label maps fast: confusion counts, bit masks, nearest surfaces, distance transforms.

This is the only door: other packages import these names, never the modules behind them.
"""

from evaluation.metrics.engine.bitmask import Grid, Mask, Words, border, count
from evaluation.metrics.engine.confusion import JointCounts, joint_counts, union
from evaluation.metrics.engine.nearest import Distances, Spacing, grid_for, nearest

__all__ = [
    "Distances",
    "Grid",
    "JointCounts",
    "Mask",
    "Spacing",
    "Words",
    "border",
    "count",
    "grid_for",
    "joint_counts",
    "nearest",
    "union",
]
