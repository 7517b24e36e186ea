"""Dice + HD95 of thirteen labels on 512x512x200: ours, MONAI's, and one histogram pass, one after the other
on one core.

Seconds are processor time of the one thread, so that a busy machine distorts the ratios little.

Run with MONAI installed (`pip install monai`); without it, only ours is timed. Prints JSON.

    OMP_NUM_THREADS=1 python -m benchmarks.evaluation.speed
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from balrsam_pipeline.dataset.labels import LabelScheme
from benchmarks.evaluation.volume import (
    ORGANS,
    SPACING_MM,
    LabelMap,
    clean_prediction,
    far_prediction,
    noisy_prediction,
    reference_map,
)
from evaluation import EvaluationOptions, score_pair

VALUES = tuple(range(1, len(ORGANS) + 1))
LABELS = LabelScheme(
    names=tuple(map(str, VALUES)),
    values=tuple((value,) for value in VALUES),
    has_regions=False,
    region_order=(),
    ignore_value=None,
    largest=len(ORGANS),
)
OPTIONS = EvaluationOptions(metrics=("overlap", "surface"))
MEMORY = """
import sys
import numpy as np
from benchmarks.evaluation.speed import ours

def kilobytes(name):  # of this process: a child's rusage would start from its parent's peak
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

prediction, reference = np.load(sys.argv[1]), np.load(sys.argv[2])
ours(prediction[:8], reference[:8])
before = kilobytes("VmRSS")
ours(prediction, reference)
print((kilobytes("VmHWM") - before) * 1024 / (prediction.nbytes + reference.nbytes) + 1)
"""


def ours(prediction: LabelMap, reference: LabelMap) -> list[float]:
    """HD95 of every label, by this project."""
    rows = score_pair("case", prediction, reference, SPACING_MM, LABELS, OPTIONS)
    return [row.values["hd95"] or 0.0 for row in rows]


def histogram(prediction: LabelMap, reference: LabelMap) -> None:
    """One pass over both maps, as a baseline of what reading them costs."""
    size = len(ORGANS) + 1
    np.bincount((reference.astype(np.intp) * size + prediction).ravel(), minlength=size * size)


def monai_full(prediction: LabelMap, reference: LabelMap) -> list[float]:
    """MONAI's metrics, label by label on the whole volume."""
    return [_monai(prediction == value, reference == value) for value in VALUES]


def monai_cropped(prediction: LabelMap, reference: LabelMap, repeats: int) -> tuple[list[float], float]:
    """MONAI's metrics on masks cut out tightly beforehand; also the least seconds they took without the
    cutting."""
    boxes = [ndimage.find_objects(label) for label in (prediction, reference)]
    pairs = []
    for value, sides in zip(VALUES, zip(*boxes, strict=True), strict=True):
        box = tuple(
            slice(min(one.start, other.start), max(one.stop, other.stop))
            for one, other in zip(*sides, strict=True)
        )
        pairs.append((prediction[box] == value, reference[box] == value))
    return [_monai(*pair) for pair in pairs], timed(lambda: [_monai(*pair) for pair in pairs], repeats)


def _monai(prediction: np.ndarray, reference: np.ndarray) -> float:
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance

    batch = [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]
    compute_dice(*batch, include_background=True)
    return float(
        compute_hausdorff_distance(*batch, include_background=True, percentile=95, spacing=SPACING_MM)
    )


def timed(function: Callable[[], Any], repeats: int) -> float:
    """Least processor seconds of several runs."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        seconds.append(time.process_time() - started)
    return min(seconds)


def peak_memory_ratio(prediction: LabelMap, reference: LabelMap) -> float:
    """Peak memory of scoring, masks included, over that of the two masks; measured in a process of its
    own."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "prediction.npy", Path(folder) / "reference.npy"]
        for path, label in zip(paths, (prediction, reference), strict=True):
            np.save(path, label)
        words = [sys.executable, "-c", MEMORY, *map(str, paths)]
        return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Time everything and print JSON."""
    reference = reference_map()
    clean, noisy, far = clean_prediction(reference), noisy_prediction(reference), far_prediction(reference)
    result: dict[str, Any] = {
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
        },
        "ours_s": timed(lambda: ours(clean, reference), 7),
        "ours_noisy_s": timed(lambda: ours(noisy, reference), 7),
        "ours_far_s": timed(lambda: ours(far, reference), 3),
        "histogram_s": timed(lambda: histogram(clean, reference), 3),
        "peak_memory_over_masks": peak_memory_ratio(clean, reference),
        "peak_memory_over_masks_noisy": peak_memory_ratio(noisy, reference),
    }
    result["ours_over_histogram"] = result["ours_s"] / result["histogram_s"]
    result["noisy_over_clean"] = result["ours_noisy_s"] / result["ours_s"]
    try:
        import torch
        from monai import __version__ as monai_version
    except ImportError:
        print(json.dumps(result | {"monai": None}, indent=2))
        return
    torch.set_num_threads(1)
    cropped, cropped_s = monai_cropped(clean, reference, 3)
    full_s = timed(lambda: monai_full(clean, reference), 1)
    noisy_s, far_s = (monai_cropped(label, reference, 2)[1] for label in (noisy, far))
    difference = max(abs(one - other) for one, other in zip(ours(clean, reference), cropped, strict=True))
    result |= {
        "monai": monai_version,
        "monai_cropped_s": cropped_s,
        "monai_full_s": full_s,
        "faster_than_monai_cropped": cropped_s / result["ours_s"],
        "faster_than_monai_cropped_noisy": noisy_s / result["ours_noisy_s"],
        "faster_than_monai_cropped_far": far_s / result["ours_far_s"],
        "faster_than_monai_full": full_s / result["ours_s"],
        "largest_hd95_difference_mm": difference,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
