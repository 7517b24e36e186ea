from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from support.plans import example_plan

from balrsam_pipeline.errors import PlanError
from balrsam_pipeline.files import write_json
from balrsam_pipeline.plan import read_plan, write_versioned
from balrsam_pipeline.serialise import to_json


def test_a_plan_survives_json(tmp_path: Path) -> None:
    write_versioned(tmp_path / "plan.json", example_plan())
    assert read_plan(tmp_path / "plan.json") == example_plan()


def test_the_hash_names_the_content_not_the_order_of_keys(tmp_path: Path) -> None:
    shuffled = dict(reversed(list(to_json(example_plan()).items())))
    write_json(tmp_path / "plan.json", shuffled)
    assert read_plan(tmp_path / "plan.json").sha256() == example_plan().sha256()
    assert dataclasses.replace(example_plan(), dataset="Dataset002_Y").sha256() != example_plan().sha256()


def test_the_hash_does_not_depend_on_which_configuration_is_the_default() -> None:
    one = example_plan()
    other = dataclasses.replace(one.configuration("2d"), name="2.5d")
    two = dataclasses.replace(one, configurations={"2d": one.configuration("2d"), "2.5d": other})
    assert two.sha256() != one.sha256()
    assert dataclasses.replace(two, default_configuration="2.5d").sha256() == two.sha256()
    assert dataclasses.replace(two, companions=("2.5d",)).sha256() == two.sha256()


def test_a_field_added_later_counts_in_the_hash_only_where_it_is_used() -> None:
    """Folders that were trained before the field existed keep their plan's hash."""
    plan = example_plan()
    names = {"fit_patch", "antialias"}
    old = to_json(plan)
    for configuration in old["configurations"].values():
        assert names <= set(configuration)
    stripped = to_json(plan, without_added_defaults=True)
    assert not names & set(stripped["configurations"]["2d"])
    fitted = dataclasses.replace(plan.configuration("2d"), fit_patch=True)
    assert dataclasses.replace(plan, configurations={"2d": fitted}).sha256() != plan.sha256()


def test_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    value = to_json(example_plan())
    value["configurations"]["2d"]["network"]["depth"] = 3
    write_json(tmp_path / "plan.json", value)
    with pytest.raises(PlanError, match="unknown key 'depth'"):
        read_plan(tmp_path / "plan.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "schema_version 99"),
        ({"default_configuration": "3d"}, "default_configuration"),
        ({"companions": ["3d"]}, "companions"),
        ({"companions": ["2d"]}, "companions"),
        ({"dataset": 3}, "'dataset'"),
        ({"configurations": []}, "'configurations'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tmp_path: Path, change: dict[str, object], message: str) -> None:
    write_json(tmp_path / "plan.json", to_json(example_plan()) | change)
    with pytest.raises(PlanError, match=message):
        read_plan(tmp_path / "plan.json")


@pytest.mark.parametrize("key", ["input_size", "lora_rank", "cden_width"])
def test_a_network_that_cannot_be_is_refused(key: str) -> None:
    bad = {"input_size": (100, 80), "lora_rank": -1, "cden_width": 0}[key]
    with pytest.raises(PlanError, match=key):
        dataclasses.replace(example_plan().configurations["2d"].network, **{key: bad})


def test_an_unplanned_configuration_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(PlanError, match=r"(?s)triplanar.*2d"):
        example_plan().configuration("triplanar")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    value = to_json(example_plan())
    del value["configurations"]["2d"]["patch_size"]
    (tmp_path / "plan.json").write_text(json.dumps(value))
    with pytest.raises(PlanError, match=r"no key 'patch_size' in 'configurations\.2d'"):
        read_plan(tmp_path / "plan.json")


@pytest.mark.parametrize("name", ["../../outside", "a/b", "..", ".hidden", "", "x\x1b[2J"])
def test_a_configuration_whose_name_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    """A plan may come from elsewhere (--like), and folders are called by the names in it."""
    value = to_json(example_plan())
    configuration = value["configurations"].pop("2d") | {"name": name}
    write_json(
        tmp_path / "plan.json",
        value | {"configurations": {name: configuration}, "default_configuration": name},
    )
    with pytest.raises(PlanError, match="plain name"):
        read_plan(tmp_path / "plan.json")


def test_a_configuration_under_another_name_than_its_own_is_refused(tmp_path: Path) -> None:
    value = to_json(example_plan())
    value["configurations"] = {"../x": value["configurations"]["2d"]}
    write_json(tmp_path / "plan.json", value | {"default_configuration": "../x"})
    with pytest.raises(PlanError, match="its name"):
        read_plan(tmp_path / "plan.json")
