"""Peak memory of a worker and seconds on a made CT of 512×512×500 voxels: checking and measuring,
preprocessing with resampling.

    python benchmarks/preprocessing/large_volume.py [--slices 500]

Each step runs in a process of its own, so that its peak is its own. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

SPACING_MM = (1.0, 0.7, 0.7)
TARGET = (1.0, 0.8, 0.8)


def make_ct(folder: Path, slices: int) -> None:
    """One CT with three round organs, in the raw format."""
    generator = np.random.default_rng(0)
    y, x = np.ogrid[:512, :512]
    image = np.empty((slices, 512, 512), dtype=np.int16)
    label = np.zeros(image.shape, dtype=np.uint8)
    body = (y - 256) ** 2 / 200**2 + (x - 256) ** 2 / 230**2 <= 1
    noise = generator.integers(-30, 30, (512, 512)).astype(np.int16)
    for z in range(slices):
        image[z] = np.where(body, 40, -1000) + np.roll(noise, 37 * z, axis=1)
        for value, (row, column) in enumerate(((200, 180), (260, 330), (330, 250)), 1):
            radius = 60 * np.sin(np.pi * (z + 0.5) / slices) ** 0.5
            label[z][(y - row) ** 2 + (x - column) ** 2 <= radius**2] = value
        image[z] += 30 * label[z].astype(np.int16)
    for name, volume in (("imagesTr/ct_0000", image), ("labelsTr/ct", label)):
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        written = sitk.GetImageFromArray(volume)
        written.SetSpacing(SPACING_MM[::-1])
        sitk.WriteImage(written, str(path))
    labels = {"background": 0, "liver": 1, "spleen": 2, "kidney": 3}
    content = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content))


def survey(folder: Path, work: Path) -> None:
    """The integrity check and the fingerprint, in one reading."""
    from balrsam_pipeline.dataset import check_files, open_dataset
    from planners.fingerprint import extract_fingerprint
    from planners.measured import start_measuring
    from planners.scan import scan_dataset

    dataset = open_dataset(folder)
    with start_measuring(work) as measured:
        scan_dataset(dataset, check_files(dataset), {"ct"}, measured, None, 1)
        extract_fingerprint(dataset, work, None, 1, measured)


def preprocess(folder: Path, work: Path) -> None:
    """Crop, normalise, resample from 0.7 to 0.8 mm, store."""
    from balrsam_pipeline.dataset import open_dataset
    from balrsam_pipeline.plan import read_fingerprint
    from planners.hardware import Hardware
    from planners.overrides import Overrides
    from planners.planner import plan_dataset
    from planners.preprocess import preprocess_cases

    dataset = open_dataset(folder)
    overrides = Overrides(spacing_mm=TARGET)
    fingerprint = read_fingerprint(work / "fingerprint.json")
    plan = plan_dataset(
        fingerprint,
        dataset.description,
        Hardware(gpu_memory_gb=None),
        overrides,
    )
    contents = {case.case: case.content_sha256 for case in fingerprint.cases}
    report = preprocess_cases(dataset, plan, "2d", work, contents, None, 1)
    if report.failures:
        raise RuntimeError(str(report.failures))


def alone(step: Callable[[Path, Path], None], folder: Path, work: Path) -> dict[str, float]:
    """Seconds and peak memory of a step in a fresh process."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    process = context.Process(target=_run, args=(step, folder, work, queue))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{step.__name__} failed")
    return dict(queue.get())


def _run(step: Callable[[Path, Path], None], folder: Path, work: Path, queue: Any) -> None:
    started = time.perf_counter()
    step(folder, work)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    queue.put({"seconds": round(time.perf_counter() - started, 1), "peak_mib": round(peak_mib)})


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, work = Path(name) / "Dataset900_LargeCT", Path(name) / "work"
        make_ct(folder, arguments.slices)
        result = {step.__name__: alone(step, folder, work) for step in (survey, preprocess)}
    print(json.dumps({"shape": [arguments.slices, 512, 512], **result}, indent=2))


if __name__ == "__main__":
    main()
