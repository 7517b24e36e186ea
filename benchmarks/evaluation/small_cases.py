"""`balrsam evaluate` on a hundred small cases with every report, start-up included. Prints JSON.

python -m benchmarks.evaluation.small_cases
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from balrsam_pipeline.imageio import Geometry, write_label

CASES, SHAPE_ZYX = 100, (36, 50, 35)


def write_cases(folder: Path) -> None:
    """Hippocampus-size volumes with two labels; predictions are moved by a voxel or two."""
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[: SHAPE_ZYX[0], : SHAPE_ZYX[1], : SHAPE_ZYX[2]]
    geometry = Geometry(dimension=3, shape_zyx=SHAPE_ZYX, spacing_mm=(1.0, 1.0, 1.0))
    for number in range(CASES):
        body = ((z - 18) / 9) ** 2 + ((y - 25) / rng.uniform(14, 18)) ** 2 + ((x - 17) / 7) ** 2 < 1
        reference = np.where(body, np.where(y < 25, 1, 2), 0).astype(np.uint8)
        prediction = np.roll(reference, rng.integers(-2, 3, 3), axis=(0, 1, 2))
        for name, label in (("references", reference), ("predictions", prediction)):
            (folder / name).mkdir(exist_ok=True)
            write_label(folder / name / f"case_{number:03}.nii.gz", label, geometry)


def main() -> None:
    """Write the cases, score them in a fresh process, and print the seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cases(folder)
        words = [
            sys.executable,
            "-m",
            "balrsam_pipeline",
            "evaluate",
            str(folder / "predictions"),
            str(folder / "references"),
        ]
        started = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True)
        elapsed_s = time.perf_counter() - started
        print(
            json.dumps(
                {"cases": CASES, "cores": os.cpu_count(), "load": os.getloadavg()[0], "elapsed_s": elapsed_s},
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
