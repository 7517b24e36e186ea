"""Planning and preprocessing Hippocampus, against nnU-Net 2.8 on the same machine: time, statistics, spacing,
folds, voxels.

    python -m venv /tmp/nnunet && /tmp/nnunet/bin/pip install nnunetv2
    python benchmarks/preprocessing/against_nnunet.py RAW_FOLDER --nnunet-bin /tmp/nnunet/bin [--rounds 3]

Both tools run `2d` alone, from nothing, with as many processes as cores, turn about; ours with its integrity
check. Prints JSON. The last round's outputs are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from balrsam_pipeline.dataset import folds_of, open_dataset
from balrsam_pipeline.plan import ChannelStatistics, read_fingerprint, read_plan
from balrsam_pipeline.preprocessing import CaseStore, store_folder

DATASET = "Dataset004_Hippocampus"
STATISTICS = ("mean", "median", "std", "min", "max", "percentile_00_5", "percentile_99_5")


def run_ours(raw: Path, work: Path, workers: int) -> float:
    """Seconds of `balrsam plan_and_preprocess`, start-up included."""
    shutil.rmtree(work / "ours", ignore_errors=True)
    words = [
        DATASET,
        "--raw",
        str(raw),
        "--preprocessed",
        str(work / "ours"),
        "--configurations",
        "2d",
        "--workers",
        str(workers),
    ]
    return timed([sys.executable, "-m", "balrsam_pipeline", "plan_and_preprocess", *words], dict(os.environ))


def run_nnunet(raw: Path, work: Path, workers: int, binaries: Path) -> float:
    """Seconds of `nnUNetv2_plan_and_preprocess -c 2d`, start-up included."""
    shutil.rmtree(work / "theirs", ignore_errors=True)
    folders = {
        "nnUNet_raw": str(raw),
        "nnUNet_preprocessed": str(work / "theirs"),
        "nnUNet_results": str(work / "results"),
    }
    command = [
        str(binaries / "nnUNetv2_plan_and_preprocess"),
        "-d",
        "4",
        "-c",
        "2d",
        "-np",
        str(workers),
        "-npfp",
        str(workers),
    ]
    return timed(command, {**os.environ, **folders})


def timed(command: list[str], environment: dict[str, str]) -> float:
    """Wall-clock seconds of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def compare(raw: Path, work: Path) -> dict[str, Any]:
    """Statistics, spacing, folds and voxels of the two outputs."""
    ours, theirs = work / "ours" / DATASET, work / "theirs" / DATASET
    fingerprint = json.loads((theirs / "dataset_fingerprint.json").read_text())
    plans = json.loads((theirs / "nnUNetPlans.json").read_text())
    plan = read_plan(ours / "plan.json")
    store = CaseStore(store_folder(ours, plan.configuration("2d")))
    shares, labels = [], []
    order = plan.configuration(
        "2d"
    ).transpose  # ours puts the slice axis first; theirs is brought into the same order
    from_raw = [plans["transpose_backward"][axis] for axis in order]
    for case in store.cases:
        reference = blosc2.open(str(theirs / "nnUNetPlans_2d" / f"{case}.b2nd"))[:].transpose(
            0, *(1 + axis for axis in from_raw)
        )
        label = blosc2.open(str(theirs / "nnUNetPlans_2d" / f"{case}_seg.b2nd"))[0].transpose(from_raw)
        shares.append(
            float((np.abs(store.read_image(case) - reference) <= 1e-2).mean())
        )  # z-scored: in standard deviations
        own = np.stack([store.read_label_slice(case, index) for index in range(label.shape[0])])
        labels.append(float((own == np.maximum(label, 0)).mean()))
    dataset = open_dataset(raw / DATASET)
    return {
        "statistics_relative_difference": differences(plan.channel_statistics[0], fingerprint),
        "cropped_shapes_equal": [
            list(case.cropped_shape_zyx) for case in read_fingerprint(ours / "fingerprint.json").cases
        ]
        == fingerprint["shapes_after_crop"],
        "spacing_ours_mm": plan.configuration("2d").spacing_mm[1:],
        "spacing_nnunet_mm": plans["configurations"]["2d"]["spacing"],
        "folds_equal": folds_equal(dataset, theirs),
        "voxels_within_1e-2_std_worst_case": min(shares),
        "label_voxels_equal_worst_case": min(labels),
    }


def differences(ours: ChannelStatistics, fingerprint: dict[str, Any]) -> dict[str, float]:
    """Relative difference of each statistic of channel 0, relative to its size or, near zero, to the standard
    deviation."""
    theirs = fingerprint["foreground_intensity_properties_per_channel"]["0"]
    return {
        name: abs(getattr(ours, name) - theirs[name]) / max(abs(theirs[name]), 1e-3 * theirs["std"])
        for name in STATISTICS
    }


def folds_equal(dataset: Any, theirs: Path) -> bool:
    """Whether our folds are those of scikit-learn's KFold over nnU-Net's sorted cases (nnU-Net writes them
    when it trains)."""
    from sklearn.model_selection import KFold

    cases = np.array(
        sorted(path.name.removesuffix(".nii.gz") for path in (theirs / "gt_segmentations").iterdir())
    )
    expected = [
        (tuple(cases[train]), tuple(cases[val]))
        for train, val in KFold(5, shuffle=True, random_state=12345).split(cases)
    ]
    return [(fold.train, fold.val) for fold in folds_of(dataset)] == expected


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help=f"folder that holds {DATASET}")
    parser.add_argument(
        "--nnunet-bin", type=Path, required=True, help="folder of nnUNetv2_plan_and_preprocess"
    )
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        raw = work / "raw"  # nnU-Net lists every dataset in its raw folder: give it one
        raw.mkdir()
        (raw / DATASET).symlink_to((arguments.raw / DATASET).resolve())
        pairs = [
            (run_ours(raw, work, workers), run_nnunet(raw, work, workers, arguments.nnunet_bin))
            for _ in range(arguments.rounds)
        ]
        again = timed_again(raw, work, workers)
        result = {
            "workers": workers,
            "seconds_ours": [round(ours, 2) for ours, _ in pairs],
            "seconds_nnunet": [round(theirs, 2) for _, theirs in pairs],
            "times_faster_median": round(statistics.median(theirs / ours for ours, theirs in pairs), 2),
            "seconds_ours_nothing_changed": round(again, 2),
            **compare(raw, work),
        }
    print(json.dumps(result, indent=2))


def timed_again(raw: Path, work: Path, workers: int) -> float:
    """Seconds of our second run, with nothing changed."""
    words = [
        DATASET,
        "--raw",
        str(raw),
        "--preprocessed",
        str(work / "ours"),
        "--configurations",
        "2d",
        "--workers",
        str(workers),
    ]
    return timed([sys.executable, "-m", "balrsam_pipeline", "plan_and_preprocess", *words], dict(os.environ))


if __name__ == "__main__":
    main()
