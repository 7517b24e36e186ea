from __future__ import annotations

from pathlib import Path

from support.plans import example_plan

from balrsam_pipeline.execution import ClusterOptions
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.run import RunRequest, planning_step, steps_after_planning


def test_a_cluster_gets_all_folds_at_once_and_every_step_that_works_case_by_case(tmp_path: Path) -> None:
    roots = Roots(raw=tmp_path / "raw", preprocessed=tmp_path / "preprocessed", results=tmp_path / "results")
    for folder in ("imagesTs", "labelsTs"):
        (roots.raw / "Dataset001_X" / folder).mkdir(parents=True)
    cluster = ClusterOptions(address="tcp://127.0.0.1:8786")
    request = RunRequest(
        dataset=roots.raw / "Dataset001_X", roots=roots, cluster=cluster, folds=(0, 2), device="cuda"
    )
    steps = {
        step.name: step
        for step in (planning_step(request), *steps_after_planning(request, example_plan(), range(5)))
    }
    sent = {name for name, step in steps.items() if "--cluster" in step.words}
    assert sent == {"prepare", "train_on_cluster", "predict", "evaluate"}
    assert "--configurations 2d --folds 0 2" in str(steps["train_on_cluster"])
    assert "train_on_cluster" in steps["train_2d_fold_2"].needs  # which finds the fold trained
    assert "results/2d__balrsam/fold_2/checkpoint_final.safetensors" in steps["train_on_cluster"].outputs
