"""Plans of earlier versions still name the same network, and the runs that were trained on them go on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from balrsam_pipeline.errors import PlanError
from balrsam_pipeline.plan import read_plan

OLD = Path(__file__).with_name(
    "plan_of_november_2026.json"
)  # written when our small network was called vit_t
HASH_THEN = "a406230b4be5c78b46cfe70ed4a87c38b2c8177f3746377982ed6a75cfccc55f"


def test_the_small_network_of_an_old_plan_is_vit_mini() -> None:
    network = read_plan(OLD).configuration("2d").network
    assert (network.backbone, network.from_scratch) == ("vit_mini", True)
    assert (network.embedding_stride, network.pixels, network.input_ranges) == (16, "none", ())


def test_an_old_plan_keeps_its_hash_so_that_its_checkpoints_go_on() -> None:
    assert read_plan(OLD).sha256() == HASH_THEN


def test_what_is_planned_with_new_fields_has_another_hash() -> None:
    plan = read_plan(OLD)
    configuration = plan.configurations["2d"]
    network = dataclasses.replace(configuration.network, pixels="0-1")
    changed = dataclasses.replace(configuration, network=network)
    assert dataclasses.replace(plan, configurations={"2d": changed}).sha256() != HASH_THEN


@pytest.mark.parametrize("broken", ["configurations", "2d", "network"])
def test_a_malformed_plan_is_refused_as_before(broken: str, tmp_path: Path) -> None:
    value = json.loads(OLD.read_text())
    place = {"configurations": value, "2d": value["configurations"], "network": value["configurations"]["2d"]}
    place[broken][broken] = "nonsense"
    (tmp_path / "plan.json").write_text(json.dumps(value))
    with pytest.raises(PlanError, match=broken):
        read_plan(tmp_path / "plan.json")
