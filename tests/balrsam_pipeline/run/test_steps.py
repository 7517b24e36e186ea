from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from support.plans import example_plan

from balrsam_pipeline.cli import COMMANDS
from balrsam_pipeline.errors import PlanError
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.run import RunRequest, Step, planning_step, steps_after_planning
from balrsam_pipeline.run.effort import Effort, with_effort

PLAN = example_plan()


def request(tmp_path: Path, **choices: object) -> RunRequest:
    roots = Roots(raw=tmp_path / "raw", preprocessed=tmp_path / "preprocessed", results=tmp_path / "results")
    dataset = roots.raw / "Dataset001_X"
    dataset.mkdir(parents=True, exist_ok=True)
    return RunRequest(dataset=dataset, roots=roots, **choices)  # type: ignore[arg-type]


def commands(steps: tuple[Step, ...]) -> list[str]:
    return [step.command for step in steps]


def test_a_run_without_choices_trains_all_folds_of_the_default_configuration(tmp_path: Path) -> None:
    steps = steps_after_planning(request(tmp_path), PLAN, range(5))
    assert commands(steps) == ["train"] * 5 + ["crossval", "find_best_configuration"]
    assert [step.words[step.words.index("--fold") + 1] for step in steps[:5]] == list("01234")
    assert {step.words[step.words.index("--configuration") + 1] for step in steps[:6]} == {"2d"}


def test_choices_reach_the_commands(tmp_path: Path) -> None:
    chosen = request(tmp_path, folds=(0, 2), max_minutes=1.5, device="cpu", workers=3)
    steps = steps_after_planning(chosen, PLAN, range(5))
    assert str(steps[0]).find("--fold 0 --max-minutes 1.5 --device cpu") > 0
    assert str(steps[2]).find("--folds 0 2 --max-minutes 1.5 --device cpu") > 0
    assert commands(steps) == ["train", "train", "crossval", "find_best_configuration"]
    assert "--workers 3" in str(planning_step(chosen))


@pytest.mark.parametrize(
    ("choices", "planned"),
    [
        ({"device": "cpu"}, True),
        ({"device": "cpu", "devices": ("cpu", "cpu")}, True),
        ({"devices": ("cpu", "cpu")}, True),
        ({}, False),
        ({"device": "cuda:1"}, False),
        ({"devices": ("cpu", "cuda:0")}, False),
        ({"device": "cpu", "options": {"plan_and_preprocess": {"--gpu-memory-gb": ("24",)}}}, False),
    ],
)
def test_a_run_on_a_cpu_plans_for_it_unless_other_memory_is_named(
    choices: dict[str, object], planned: bool, tmp_path: Path
) -> None:
    step = planning_step(request(tmp_path, **choices))
    assert ("--device cpu" in str(step)) == planned
    assert "--device" not in step.settings, "no input: another device makes no plan outdated"


def test_every_planned_configuration_is_trained_where_that_is_asked_for(tmp_path: Path) -> None:
    one = PLAN.configuration("2d")
    both = dataclasses.replace(
        PLAN, configurations={"2d": one, "2.5d": dataclasses.replace(one, name="2.5d")}
    )
    steps = steps_after_planning(request(tmp_path, folds=(0,), every_configuration=True), both, range(5))
    trained = [
        step.words[step.words.index("--configuration") + 1] for step in steps if step.command == "train"
    ]
    assert trained == ["2d", "2.5d"]


@pytest.mark.parametrize(
    ("effort", "on_gpu", "folds", "minutes", "every", "prefer"),
    [
        ("quick", False, (0,), 10, False, None),
        ("quick", True, (0,), 20, False, None),
        ("standard", False, None, 20, False, None),
        ("standard", True, None, None, False, None),
        ("best", False, None, 60, True, "accuracy"),
        ("best", True, None, None, True, "accuracy"),
    ],
)
def test_an_effort_stands_for_folds_time_and_configurations(
    effort: Effort,
    on_gpu: bool,
    folds: tuple[int, ...] | None,
    minutes: float | None,
    every: bool,
    prefer: str | None,
    tmp_path: Path,
) -> None:
    chosen = with_effort(request(tmp_path), effort, on_gpu)
    assert (chosen.folds, chosen.max_minutes, chosen.every_configuration) == (folds, minutes, every)
    choosing = [
        step
        for step in steps_after_planning(chosen, PLAN, range(5))
        if step.command == "find_best_configuration"
    ]
    assert (f"--prefer {prefer}" if prefer else "--folds") in str(choosing[0])
    assert prefer or "--prefer" not in str(choosing[0])


def test_every_step_that_works_in_processes_is_told_how_many(tmp_path: Path) -> None:
    chosen = dataclasses.replace(request(tmp_path), workers=3)
    steps = [planning_step(chosen), *steps_after_planning(chosen, PLAN, range(5))]
    told = {step.command for step in steps if "--workers 3" in str(step)}
    assert told == {"plan_and_preprocess", "find_best_configuration"}, "training has --threads"


def test_what_the_user_chose_goes_before_an_effort(tmp_path: Path) -> None:
    own = {"find_best_configuration": {"--prefer": ("speed",)}}
    chosen = with_effort(
        request(tmp_path, folds=(1, 2), epochs=7, configurations=("2d",), options=own), "best", on_gpu=False
    )
    assert (chosen.folds, chosen.epochs, chosen.max_minutes) == ((1, 2), 7, None)
    assert chosen.configurations == ("2d",) and not chosen.every_configuration
    assert chosen.options == own


def test_any_budget_of_the_user_goes_before_that_of_an_effort(tmp_path: Path) -> None:
    steps = request(tmp_path, options={"train": {"--max-steps": ("9",)}})
    assert with_effort(steps, "quick", on_gpu=False).max_minutes is None
    settings = tmp_path / "settings.json"
    settings.write_text('{"epochs": 7}')
    assert with_effort(request(tmp_path, settings=settings), "quick", on_gpu=False).max_minutes is None
    settings.write_text('{"seed": 7}')
    assert with_effort(request(tmp_path, settings=settings), "quick", on_gpu=False).max_minutes == 10


def test_test_images_are_predicted_and_scored_where_labels_are_there(tmp_path: Path) -> None:
    chosen = request(tmp_path, folds=(0,))
    (chosen.dataset / "imagesTs").mkdir()
    assert commands(steps_after_planning(chosen, PLAN, range(5)))[3:] == ["predict"]
    (chosen.dataset / "labelsTs").mkdir()
    assert commands(steps_after_planning(chosen, PLAN, range(5)))[3:] == ["predict", "evaluate"]


def test_a_model_of_all_cases_predicts_what_cross_validation_chose(tmp_path: Path) -> None:
    chosen = request(tmp_path, folds=(0, 1, "all"))
    (chosen.dataset / "imagesTs").mkdir()
    steps = steps_after_planning(chosen, PLAN, range(5))
    assert [step.name for step in steps] == [
        "train_2d_fold_0",
        "train_2d_fold_1",
        "crossval_2d",
        "find_best_configuration",
        "train_2d_fold_all",
        "predict",
    ]
    assert "--best --folds all" in str(steps[-1])
    assert set(steps[-1].needs) == {"find_best_configuration", "train_2d_fold_all"}
    assert "results/2d__balrsam/fold_all/checkpoint_final.safetensors" in steps[-1].inputs


def test_a_named_plan_has_steps_folders_and_models_of_its_own(tmp_path: Path) -> None:
    chosen = request(tmp_path, plan="wide", folds=(0,))
    planning, (trained, pooled, choosing) = planning_step(chosen), steps_after_planning(chosen, PLAN, [0])
    assert planning.name == "prepare__wide" and "--plan wide" in str(planning)
    assert "preprocessed/plans/wide/plan.json" in planning.outputs
    assert "preprocessed/plan.json" not in planning.outputs
    assert (trained.name, pooled.name) == ("train_2d__wide_fold_0", "crossval_2d__wide")
    assert trained.needs == ("prepare__wide",) and "preprocessed/plans/wide/plan.json" in trained.inputs
    assert "--configuration 2d --plan wide --fold 0" in str(trained)
    assert "results/2d__wide__balrsam/fold_0/checkpoint_final.safetensors" in trained.outputs
    assert "--configurations 2d__wide" in str(choosing)
    unnamed = request(tmp_path, folds=(0,))
    others = (planning_step(unnamed), *steps_after_planning(unnamed, PLAN, [0]))
    assert not {step.name for step in others[:-1]} & {planning.name, trained.name, pooled.name}


def test_a_model_of_all_cases_alone_is_not_compared(tmp_path: Path) -> None:
    chosen = request(tmp_path, folds=("all",))
    (chosen.dataset / "imagesTs").mkdir()
    steps = steps_after_planning(chosen, PLAN, range(5))
    assert commands(steps) == ["train", "predict"]
    assert "--configuration 2d --folds all" in str(steps[-1])


def test_an_unplanned_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="3d_fullres"):
        steps_after_planning(request(tmp_path, configurations=("2d", "3d_fullres")), PLAN, range(5))


def test_the_steps_are_a_graph_of_commands_that_balrsam_has(tmp_path: Path) -> None:
    chosen = request(tmp_path)
    for folder in ("imagesTs", "labelsTs"):
        (chosen.dataset / folder).mkdir()
    second = dataclasses.replace(PLAN.configurations["2d"], name="2.5d")
    two = dataclasses.replace(PLAN, configurations=PLAN.configurations | {"2.5d": second})
    steps = (
        planning_step(chosen),
        *steps_after_planning(dataclasses.replace(chosen, configurations=("2d", "2.5d")), two, range(2)),
    )
    assert {step.command for step in steps} <= set(COMMANDS)
    assert len({step.name for step in steps}) == len(steps) == 10
    done: set[str] = set()
    for step in steps:
        assert set(step.needs) <= done, "a step comes after those that it needs"
        done.add(step.name)
        bases = {label.partition("/")[0] for label in (*step.inputs, *step.outputs)}
        assert bases <= set(chosen.bases)
