"""The sbatch recipe with a SLURM that is not there: srun notes its options and runs the command, scontrol
notes what it is asked."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from trainers.stopping import TrainingStopped

REPOSITORY = Path(__file__).resolve().parent.parent.parent
RECIPE = REPOSITORY / "docs" / "recipes" / "train_folds.sbatch"
CORES = "8"  # as `#SBATCH --cpus-per-task` of the recipe says


def run(folder: Path, exit_code: int, array: bool = True, cores: str | None = CORES) -> tuple[int, str, str]:
    """Run the recipe with a `balrsam` that ends with `exit_code`: (exit code, what it was called with, what
    scontrol was asked). SLURM says how many cores a task has only where the job asked for them."""
    commands = {
        "srun": f'while [[ "$1" == -* ]]; do echo "$1" >> {folder}/step; shift; done; "$@"',
        "balrsam": f'echo "$@" > {folder}/called; exit {exit_code}',
        "scontrol": f'echo "$@" >> {folder}/asked',
    }
    for name, body in commands.items():
        path = folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "12"}
    environment.pop("SLURM_CPUS_PER_TASK", None)
    environment |= {} if cores is None else {"SLURM_CPUS_PER_TASK": cores}
    environment |= {"SLURM_ARRAY_JOB_ID": "11", "SLURM_ARRAY_TASK_ID": "3"} if array else {}
    words = ["bash", str(RECIPE), "Dataset004_Hippocampus", "2d", "--max-minutes", "20"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=folder)
    texts = [
        (folder / name).read_text().strip() if (folder / name).is_file() else ""
        for name in ("called", "asked")
    ]
    return done.returncode, texts[0], texts[1]


def test_a_training_that_saved_and_stopped_is_put_into_the_queue_again(tmp_path: Path) -> None:
    code, called, asked = run(tmp_path, TrainingStopped.exit_code)
    assert called == "train Dataset004_Hippocampus --configuration 2d --fold 3 --max-minutes 20"
    assert asked == "requeue 11_3"
    assert code == 75


@pytest.mark.parametrize("exit_code", [0, 1, 2, 130])
def test_any_other_end_is_an_end(tmp_path: Path, exit_code: int) -> None:
    assert run(tmp_path, exit_code) == (
        exit_code,
        "train Dataset004_Hippocampus --configuration 2d --fold 3 --max-minutes 20",
        "",
    )


def test_the_step_gets_the_cores_of_its_task(tmp_path: Path) -> None:
    """Since SLURM 22.05 srun does not take them from the job: it has to be told."""
    run(tmp_path, 0)
    assert f"#SBATCH --cpus-per-task={CORES}\n" in RECIPE.read_text()
    assert (tmp_path / "step").read_text().split() == [f"--cpus-per-task={CORES}"]


def test_a_job_that_did_not_ask_for_cores_trains_with_what_it_gets(tmp_path: Path) -> None:
    code, called, _ = run(tmp_path, 0, cores=None)
    assert (code, called) == (0, "train Dataset004_Hippocampus --configuration 2d --fold 3 --max-minutes 20")
    assert not (tmp_path / "step").exists()


def test_the_line_of_the_documentation_hands_on_cores_where_slurm_says_them(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "training.md").read_text()
    (command,) = re.findall(r"^srun (?:.*\\\n)*.*", text, re.MULTILINE)
    for given, expected in (("", "train 4 --fold 0"), ("8", "--cpus-per-task=8 balrsam train 4 --fold 0")):
        variable = f"SLURM_CPUS_PER_TASK={given}; " if given else "unset SLURM_CPUS_PER_TASK; "
        script = f'set -u; srun() {{ echo "$@"; }}; {variable}{command}'
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
        assert done.stdout.strip().removeprefix("balrsam ") == expected, done.stderr


@pytest.mark.parametrize("page", ["training.md", "cluster.md"])
def test_jobs_of_the_documentation_say_how_many_cores_they_take(page: str) -> None:
    text = (REPOSITORY / "docs" / page).read_text()
    commands = re.findall(r"^ *(?:srun|sbatch) (?:.*\\\n)*.*", text, re.MULTILINE)
    assert commands and all("--cpus-per-task" in command for command in commands)


def test_without_an_array_it_says_what_is_missing(tmp_path: Path) -> None:
    code, called, _ = run(tmp_path, 0, array=False)
    assert code != 0
    assert called == ""


def test_bash_can_read_it() -> None:
    assert subprocess.run(["bash", "-n", str(RECIPE)]).returncode == 0
