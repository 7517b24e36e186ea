"""The table of docs/scaling.md: 1,000 and 100,000 cases on 1 to 1,000 workers, simulated from measured task
times.

python -m benchmarks.scaling.study [--measured measured.json] [--dispatch-ms 1.5]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.scaling.simulation import Cluster, Simulated, lower_bounds, simulate

# A case of abdominal CT (512 x 512 x 100, int16) on one core of the machine of docs/benchmarks.md, in round
# figures; --measured replaces it
TYPICAL = {"preprocessing": {"compute_s": 12.0, "read_bytes": 30e6, "written_bytes": 40e6}}
TAIL_SIGMA = 0.5  # lognormal: 1 case in 100 takes 3.2 times the median, 1 in 10,000 takes 6.4 times
BANDWIDTH = 2e9  # bytes a second of a shared file system (NFS over 25 GbE: 1-3 GB/s)
LINK = 1.0e9  # of one worker (10 GbE)
LOSSES_PER_HOUR = 0.01  # a worker in 100 an hour


def main() -> None:
    """Print a JSON object with one row a combination of stage, cases and workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--measured",
        type=Path,
        help="output of benchmarks.scaling.measure; its task times replace the typical ones",
    )
    parser.add_argument(
        "--dispatch-ms",
        type=float,
        default=1.0,
        help="scheduler time a case (benchmarks.scaling.dispatch measures it)",
    )
    parser.add_argument("--cases", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 1000])
    arguments = parser.parse_args()
    stages = json.loads(arguments.measured.read_text())["tasks"] if arguments.measured else TYPICAL
    rows = []
    for stage, task in stages.items():
        for cases in arguments.cases:
            for workers in arguments.workers:
                cluster = Cluster(
                    workers=workers,
                    dispatch_s=arguments.dispatch_ms / 1000,
                    bandwidth=BANDWIDTH,
                    worker_bandwidth=LINK,
                    losses_per_hour=LOSSES_PER_HOUR,
                )
                rows.append({"stage": stage, "cases": cases, "workers": workers, **row(task, cases, cluster)})
    print(json.dumps({"dispatch_ms": arguments.dispatch_ms, "bandwidth": BANDWIDTH, "rows": rows}, indent=1))


def row(task: dict[str, object], cases: int, cluster: Cluster) -> dict[str, object]:
    """One simulation: hours, efficiency, what binds."""
    times = task_times(task, cases)
    moved = float(str(task["read_bytes"])) + float(str(task["written_bytes"]))
    result: Simulated = simulate(
        times, float(str(task["read_bytes"])), float(str(task["written_bytes"])), cluster
    )
    bounds = lower_bounds(times, moved, cluster)
    return {
        "hours": round(result.makespan_s / 3600, 3),
        "efficiency": round(result.efficiency, 3),
        "scheduler_busy": round(result.scheduler_busy, 3),
        "file_system_busy": round(result.file_system_busy, 3),
        "tail": round(result.tail, 3),
        "lost_work": round(result.lost_work, 4),
        "binds": max(bounds, key=lambda name: bounds[name]),
    }


def task_times(task: dict[str, object], cases: int) -> list[float]:
    """Seconds of so many cases: drawn from those measured, else lognormal about the typical one."""
    random = np.random.default_rng(0)
    measured = task.get("seconds")
    if isinstance(measured, list):
        return [float(value) for value in random.choice(measured, cases)]
    return [
        float(value) for value in float(str(task["compute_s"])) * random.lognormal(0.0, TAIL_SIGMA, cases)
    ]


if __name__ == "__main__":
    main()
