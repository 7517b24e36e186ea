"""Every option of planning, training and prediction is one of `balrsam run`, and reaches its step."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from support.plans import example_plan

from balrsam_pipeline.command import load_command, parser_of
from balrsam_pipeline.execution import ClusterOptions
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.run import RunRequest, Step, planning_step, steps_after_planning
from balrsam_pipeline.run.execute import remember_request
from balrsam_pipeline.run.report import remembered

DECIDED_BY_A_RUN = {
    "plan_and_preprocess": {"--configurations", "--keep-plan", "--workers", "--device"},
    "train": {"--configuration", "--fold", "--only-validate"},
    "predict": {
        *("--input", "--output", "--model", "--dataset", "--configuration", "--best", "--folds", "--weights"),
        *("--continue", "--part"),
    },
}


def parse(*words: str) -> argparse.Namespace:
    return parser_of("run", load_command("run")).parse_args(["D", *words])


def steps(tmp_path: Path, *words: str, cluster: ClusterOptions | None = None) -> dict[str, Step]:
    roots = Roots(raw=tmp_path / "raw", preprocessed=tmp_path / "preprocessed", results=tmp_path / "results")
    (roots.raw / "Dataset001_X" / "imagesTs").mkdir(parents=True, exist_ok=True)
    request = RunRequest(
        dataset=roots.raw / "Dataset001_X",
        roots=roots,
        folds=(0,),
        cluster=cluster,
        options=getattr(parse(*words), "options", {}),
    )
    made = (planning_step(request), *steps_after_planning(request, example_plan(), (0,)))
    return {step.name: step for step in made}


@pytest.mark.parametrize("command", DECIDED_BY_A_RUN)
def test_a_run_takes_every_option_of_its_steps(command: str) -> None:
    own = {
        name for action in parser_of("run", load_command("run"))._actions for name in action.option_strings
    }
    step = command.partition("_")[0]
    for action in parser_of(command, load_command(command))._actions:
        for name in set(action.option_strings) - DECIDED_BY_A_RUN[command]:
            prefixed = f"--{step}-{name.lstrip('-')}"
            assert len(name) == 2 or name in own or prefixed in own, f"run has no {name} for {command}"


def test_options_reach_the_step_that_they_belong_to(tmp_path: Path) -> None:
    words = "--spacing 2 1 1 --plan-batch-size 8 --learning-rate 0.02 --train-batch-size 4 --freeze decoder "
    words += "--train-workers 0 --no-mirror --tile-step 0.25 --predict-batch-size 2"
    found = {name: str(step) for name, step in steps(tmp_path, *words.split()).items()}
    assert "--spacing 2.0 1.0 1.0 --batch-size 8" in found["prepare"]
    for name in ("train_2d_fold_0", "crossval_2d"):
        assert "--learning-rate 0.02 --batch-size 4 --freeze decoder --workers 0" in found[name]
    assert "--no-mirror --tile-step 0.25 --batch-size 2" in found["predict"]
    assert "--learning-rate" not in found["prepare"] + found["predict"] + found["find_best_configuration"]


def test_what_changes_an_output_is_a_setting_of_its_step_and_how_it_is_made_is_none(tmp_path: Path) -> None:
    words = "--seed 3 --train-workers 2 --no-mirror --predict-batch-size 2 --no-verify --backbone vit_b"
    found = steps(tmp_path, *words.split())
    usual = {"--max-minutes": "default", "--epochs": "default"}
    assert found["train_2d_fold_0"].settings == usual | {"--seed": "3"}
    assert found["predict"].settings == {"--no-mirror": ""}
    assert found["prepare"].settings == {"--configurations": "recommended", "--backbone": "vit_b"}
    assert steps(tmp_path)["train_2d_fold_0"].settings == usual, "records of earlier runs stay valid"


def test_training_on_a_cluster_takes_them_too(tmp_path: Path) -> None:
    cluster = ClusterOptions(address="tcp://127.0.0.1:8786")
    step = steps(tmp_path, "--seed", "3", cluster=cluster)["train_on_cluster"]
    assert "--seed 3" in str(step) and step.settings["--seed"] == "3"


def test_a_value_that_the_step_would_refuse_is_refused_at_once() -> None:
    for words in (["--freeze", "everything"], ["--learning-rate", "fast"], ["--spacing", "1", "1"]):
        with pytest.raises(SystemExit):
            parse(*words)


def test_status_remembers_what_was_asked_for(tmp_path: Path) -> None:
    roots = Roots(raw=tmp_path / "raw", preprocessed=tmp_path / "preprocessed", results=tmp_path / "results")
    bare = RunRequest(dataset=roots.raw / "D", roots=roots)
    asked = RunRequest(
        dataset=roots.raw / "D",
        roots=roots,
        folds=(1,),
        max_minutes=2.0,
        cluster=ClusterOptions(address="tcp://10.0.0.1:8786"),
        options=parse("--seed", "3", "--no-mirror").options,
    )
    remember_request(asked)
    assert remembered(bare) == asked
