"""Seconds a Hippocampus case on the CPU, files in and files out, against nnU-Net 2.8 `2d` with the same
mirroring, turn about.

    python benchmarks/prediction/against_nnunet.py IMAGES OUR_PLAN_JSON NNUNET_PREPROCESSED --nnunet-python
    /tmp/nnunet/bin/python

Both networks have random weights (speed does not depend on them), both have read one case before the clock
starts, and both use `--threads` threads. nnU-Net runs as it is fastest here: its cases one after the other,
or with its worker processes (`--pooled`). Prints JSON with every round, the ratio of each pair in wall-clock
and in CPU seconds (without `--pooled` both work in one process, so CPU seconds hold on a busy machine too),
and our stage table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

OUR_MIRRORS = ((), (1,), (1, 2))  # by --mirror: volume axes (slices lie across 0), whatever the plan allows
THEIR_MIRRORS = ((), ("0",), ("0", "1"))  # axes of a slice


def ours(arguments: argparse.Namespace, images: list[Path]) -> dict[str, Any]:
    """Predict the files with a random network of the plan; runs in a process of its own."""
    import torch

    from balrsam_pipeline.allocator import keep_freed_memory
    from balrsam_pipeline.dataset import CaseFiles, LabelScheme
    from balrsam_pipeline.inference import Predictor, PredictorOptions, predict_files
    from balrsam_pipeline.network import build
    from balrsam_pipeline.plan import read_plan

    keep_freed_memory()  # as 'balrsam predict' does
    torch.set_num_threads(arguments.threads)
    plan, output = read_plan(arguments.plan), arguments.ours_alone
    chosen = replace(plan.configuration(arguments.configuration), mirror_axes=OUR_MIRRORS[arguments.mirror])
    model = build(chosen.network)
    model.merge_for_inference()
    labels = LabelScheme(
        names=("Anterior", "Posterior"),
        values=((1,), (2,)),
        has_regions=False,
        region_order=(),
        ignore_value=None,
        largest=2,
    )
    predictor = Predictor([model], plan, chosen, labels, PredictorOptions(device="cpu"))
    cases = {path.name: CaseFiles(path.name.removesuffix("_0000.nii.gz"), (path,)) for path in images}
    predict_files(predictor, dict(list(cases.items())[:1]), output)
    started, used = time.perf_counter(), time.process_time()
    report = predict_files(predictor, cases, output)
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    if report.failed:
        raise SystemExit(str(report.failed))
    return {"s_a_case": wall / len(cases), "cpu_s_a_case": cpu / len(cases), "stages_s": report.seconds}


def theirs(arguments: argparse.Namespace, images: list[Path], output: Path) -> dict[str, Any]:
    """The same files through nnU-Net, in its own Python."""
    side = Path(__file__).with_name("nnunet_side.py")
    command = [
        str(arguments.nnunet_python),
        str(side),
        str(arguments.nnunet_preprocessed),
        str(output),
        *map(str, images),
    ]
    command += [
        "--threads",
        str(arguments.threads),
        "--mirror-axes",
        *THEIR_MIRRORS[arguments.mirror],
        *(["--pooled"] if arguments.pooled else []),
    ]
    return result_of(command)


def result_of(command: list[str]) -> dict[str, Any]:
    """Run a command and read the JSON behind RESULT."""
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = next(line for line in shown.splitlines() if line.startswith("RESULT "))
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return result


def main() -> None:
    """Run the pairs and print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, help="imagesTs of Dataset004_Hippocampus")
    parser.add_argument("plan", type=Path, help="our plan.json")
    parser.add_argument("nnunet_preprocessed", type=Path)
    parser.add_argument("--nnunet-python", type=Path)
    parser.add_argument("--configuration", default="2d")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--mirror",
        type=int,
        choices=(0, 1, 2),
        default=0,
        help="in-plane axes mirrored by both (today's plan: 0)",
    )
    parser.add_argument("--pooled", action="store_true")
    parser.add_argument("--ours-alone", type=Path, metavar="OUTPUT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    images = sorted(arguments.images.glob("*_0000.nii.gz"))[: arguments.cases]
    if arguments.ours_alone:
        print("RESULT", json.dumps(ours(arguments, images)))
        return
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            mine = result_of([sys.executable, *sys.argv, "--ours-alone", f"{folder}/ours"])
            peer = theirs(arguments, images, Path(folder))
            ratios = {f"ratio_{key}": peer[key] / mine[key] for key in ("s_a_case", "cpu_s_a_case")}
            rounds.append({"ours": mine, "nnunet": peer, **ratios})
    medians = {
        key: statistics.median(item[key] for item in rounds)
        for key in ("ratio_s_a_case", "ratio_cpu_s_a_case")
    }
    print(json.dumps({"cases": len(images), "rounds": rounds, "median": medians}, indent=2))


if __name__ == "__main__":
    main()
