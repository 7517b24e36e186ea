"""Whether chosen postprocessing helps cases that had no say in the choice. Prints a line of JSON per fold.

python -m benchmarks.evaluation.postprocessing RAW_DATASET PREDICTIONS      predictions of its training cases
python -m benchmarks.evaluation.postprocessing RAW_DATASET --simulate 0.5   made from its references

Each of five blocks of cases is held out in turn: rules are chosen on the others and applied to it. A
simulated prediction has wavy borders, false islands and lost pieces; 1 is a bad model, 0.1 a good one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from balrsam_pipeline.dataset import open_dataset
from balrsam_pipeline.imageio import read_label, write_label
from evaluation.best_configuration.choose_rules import choose_postprocessing
from evaluation.best_configuration.gains import WORST_DICE, WORST_HD95, gain
from evaluation.best_configuration.rule_scores import Pairs, ScoreBoard

BLOCKS = 5
Labels = npt.NDArray[np.integer]


def simulate(label_zyx: Labels, level: float, rng: np.random.Generator) -> Labels:
    """A prediction as a model might have made it, from the reference."""
    flat = label_zyx.shape[0] == 1
    noise = ndimage.gaussian_filter(rng.normal(size=label_zyx.shape), (0 if flat else 0.7, 2, 2))
    noise *= 1.5 * level / noise.std()
    made, values = label_zyx.copy(), np.unique(label_zyx[label_zyx > 0])
    for value in values:
        mask = label_zyx == value
        depth = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
        made[mask & (depth + noise <= 0)] = 0
        made[(label_zyx == 0) & (depth + noise > 0)] = value
    for count, is_island in ((rng.poisson(3 * level), True), (rng.poisson(0.7 * level), False)):
        for _ in range(count):
            ball = _ball(label_zyx.shape, rng)
            if is_island and len(values):
                made[ball & (made == 0)] = rng.choice(values)
            elif not is_island:
                made[ball] = 0
    return made


def _ball(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """A disc of up to a twelfth of the slice, anywhere, in one to three slices."""
    radius = rng.integers(1, max(2, min(shape[1:]) // 12))
    places = np.ogrid[tuple(slice(0, length) for length in shape)]
    centre = [rng.integers(0, length) for length in shape]
    scales = (1, radius, radius)
    parts = (
        ((place - middle) / scale) ** 2 for place, middle, scale in zip(places, centre, scales, strict=True)
    )
    return np.asarray(sum(parts) <= 1)


def held_out(pairs: Pairs, raw: Path, workers: int) -> None:
    """Choose without each block, and print what the rules do to it."""
    labels, cases = open_dataset(raw).description.labels, sorted(pairs)
    block_of = {case: number * BLOCKS // len(cases) for number, case in enumerate(cases)}
    board = ScoreBoard(pairs=pairs, labels=labels, workers=workers)
    for block in range(BLOCKS):
        others = {case: files for case, files in pairs.items() if block_of[case] != block}
        rules = choose_postprocessing(others, labels, workers, block_of).steps
        inside = np.array([number for number, case in enumerate(board.cases) if block_of[case] == block])
        scores = board.score([(), rules])
        found = gain(
            scores[()].of(inside), scores[rules].of(inside), np.zeros(len(inside), int), labels.names
        )
        (dice, new_dice), (hd95, new_hd95) = found.dice, found.hd95
        result = {
            "dataset": raw.name,
            "held out": len(inside),
            "rules": [f"{step.kind} of {', '.join(step.names)}" for step in rules],
            "dice": [round(dice, 4), round(new_dice, 4)],
            "hd95": [round(hd95, 3), round(new_hd95, 3)],
            "harm": new_dice < dice - WORST_DICE or new_hd95 > hd95 * (1 + WORST_HD95),
        }
        print(json.dumps(result), flush=True)


def main() -> None:
    """Read the command line, make predictions where asked to, and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("predictions", type=Path, nargs="?")
    parser.add_argument("--simulate", type=float, metavar="LEVEL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, help="the first N (default: all)")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    references = {
        case: files.label for case, files in open_dataset(arguments.dataset).training_cases().items()
    }
    chosen = {case: path for case, path in sorted(references.items())[: arguments.cases] if path is not None}
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.predictions or Path(name)
        rng = np.random.default_rng(arguments.seed)
        if arguments.simulate is not None:
            for path in chosen.values():
                label = read_label(path)
                level = arguments.simulate * rng.uniform(0.3, 1.7)
                write_label(folder / path.name, simulate(label.data[0], level, rng), label.geometry)
        pairs = {case: (folder / path.name, path) for case, path in chosen.items()}
        held_out(
            {case: files for case, files in pairs.items() if files[0].is_file()},
            arguments.dataset,
            arguments.workers,
        )


if __name__ == "__main__":
    main()
