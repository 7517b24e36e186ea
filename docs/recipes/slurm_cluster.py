"""A Dask cluster of SLURM jobs, one GPU each, that stays up while this script runs (needs: pip install
dask-jobqueue).

python slurm_cluster.py 8 /shared/scheduler.json
then: balrsam run DATASET --cluster /shared/scheduler.json --gpu-memory-gb 40 (the memory of the jobs' GPUs)
"""

import json
import signal
import sys
from pathlib import Path

from dask_jobqueue import SLURMCluster


def main(jobs: int, scheduler_file: Path) -> None:
    """Start the scheduler here and ask SLURM for so many workers."""
    cluster = SLURMCluster(
        queue="gpu",
        cores=8,
        processes=1,
        memory="32GB",
        walltime="04:00:00",
        job_extra_directives=["--gres=gpu:1"],
        worker_extra_args=[
            "--nthreads",
            "1",
            "--resources",
            "GPU=1",
            "--lifetime",
            "235m",
            "--lifetime-stagger",
            "4m",
        ],
        local_directory="/tmp",
    )
    sys.stdout.write(cluster.job_script())
    if jobs:
        cluster.adapt(minimum_jobs=1, maximum_jobs=jobs)
        scheduler_file.write_text(json.dumps({"address": cluster.scheduler_address}))
        signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
