"""What the scheduler spends on one case: cases that do nothing, with an argument as large as a real one.

python -m benchmarks.scaling.dispatch --cluster scheduler.json [--cases 2000]
"""

from __future__ import annotations

import argparse
import json
import time

from balrsam_pipeline.execution import (
    ClusterOptions,
    ExecutionOptions,
    local_executor,
    open_executor,
    run_cases,
)

ARGUMENT_BYTES = 10_000  # a preprocessing task: the plan, the description and paths of one case


def main() -> None:
    """Print milliseconds a case, for local processes and (with --cluster) a cluster."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cluster", help="tcp://host:port or a scheduler file")
    parser.add_argument("--cases", type=int, default=2000)
    arguments = parser.parse_args()
    items = {str(number): bytes([number % 256]) * ARGUMENT_BYTES for number in range(arguments.cases)}
    found = {}
    with local_executor(2) as executor:
        list(run_cases(len, dict(list(items.items())[:10]), executor, 2))
        found["2 local processes"] = _timed(items, executor)
    if arguments.cluster:
        with open_executor(ExecutionOptions(cluster=ClusterOptions(address=arguments.cluster))) as executor:
            list(run_cases(len, dict(list(items.items())[:10]), executor, 2))
            found["cluster"] = _timed(items, executor)
    print(json.dumps({"milliseconds a case": found, "cases": arguments.cases}))


def _timed(items: dict[str, bytes], executor: object) -> float:
    started = time.perf_counter()
    count = sum(outcome.error is None for outcome in run_cases(len, items, executor, 2))  # type: ignore[arg-type]
    if count != len(items):
        raise SystemExit(f"{len(items) - count} cases failed")
    return round((time.perf_counter() - started) / len(items) * 1000, 3)


if __name__ == "__main__":
    main()
