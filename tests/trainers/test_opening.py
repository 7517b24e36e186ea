"""What is said when a fold begins."""

from __future__ import annotations

from dataclasses import replace

from support.plans import example_plan

from balrsam_pipeline.hardware import GiB
from trainers.opening import planned_for_another

PLANNING = "balrsam plan_and_preprocess Dataset001_X"
FOR_CPU = replace(example_plan(), gpu_memory_gb=0.0)


def test_a_plan_for_a_cpu_that_meets_a_gpu_is_told_with_the_command_that_plans_for_it() -> None:
    said = planned_for_another(FOR_CPU, 40 * GiB, PLANNING)
    assert "made for a CPU" in said and f"{PLANNING} --gpu-memory-gb 40 " in said


def test_what_was_decided_for_the_plan_is_in_that_command() -> None:
    plan = replace(FOR_CPU, overrides={"backbone": "vit_b"})
    assert "--gpu-memory-gb 40 --backbone vit_b" in planned_for_another(plan, 40 * GiB, PLANNING)


def test_the_memory_in_that_command_is_no_more_than_the_card_reports() -> None:
    said = planned_for_another(FOR_CPU, int(7.79 * GiB), PLANNING)
    assert "--gpu-memory-gb 7.7 " in said


def test_other_plans_and_other_devices_are_not_told() -> None:
    assert planned_for_another(FOR_CPU, 0, PLANNING) == ""
    assert planned_for_another(replace(FOR_CPU, gpu_memory_gb=8.0), 40 * GiB, PLANNING) == ""
    assert planned_for_another(example_plan(), 40 * GiB, PLANNING) == ""
    assert planned_for_another(example_plan(), 0, PLANNING) == "", "of an older version: for what is unknown"


def test_a_plan_for_a_gpu_that_meets_a_cpu_is_told_with_the_command_that_plans_for_it() -> None:
    plan = replace(FOR_CPU, gpu_memory_gb=23.7, overrides={"tiles": "128"})
    said = planned_for_another(plan, 0, PLANNING)
    assert "made for a GPU of 23.7 GB, and trains without" in said
    assert f"{PLANNING} --device cpu --tiles 128 " in said
