from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from balrsam_pipeline.atomic import write_json
from balrsam_pipeline.errors import PlanError
from balrsam_pipeline.plan import ChannelStatistics, Configuration, NetworkPlan, Plan, read_plan, write_versioned
from balrsam_pipeline.serialise import to_json


def example_plan() -> Plan:
    network = NetworkPlan(
        backbone="vit_t",
        from_scratch=True,
        input_channels=1,
        classes=3,
        input_size=(112, 80),
        lora_rank=4,
        lora_alpha=4.0,
        adapter_rank=8,
        decoder_attention="low_rank",
        decoder_rank=32,
        cden_width=16,
        mask_stride=2,
    )
    configuration = Configuration(
        name="2d",
        transpose=(0, 1, 2),
        spacing_mm=(1.0, 1.0, 1.0),
        slicing_axes=(0,),
        context_slices=0,
        normalization=("z_score",),
        normalize_inside_mask=(False,),
        patch_size=(56, 40),
        batch_size=8,
        mirror_axes=(1, 2),
        network=network,
        reasons={"patch_size": "covers the slice"},
    )
    statistics = ChannelStatistics(mean=1, median=1, std=1, min=0, max=2, percentile_00_5=0, percentile_99_5=2)
    return Plan(
        dataset="Dataset001_X",
        fingerprint_sha256="0" * 64,
        channel_statistics=(statistics,),
        configurations={"2d": configuration},
        default_configuration="2d",
    )


def test_a_plan_survives_json(tmp_path: Path) -> None:
    write_versioned(tmp_path / "plan.json", example_plan())
    assert read_plan(tmp_path / "plan.json") == example_plan()


def test_the_hash_names_the_content_not_the_order_of_keys(tmp_path: Path) -> None:
    shuffled = dict(reversed(list(to_json(example_plan()).items())))
    write_json(tmp_path / "plan.json", shuffled)
    assert read_plan(tmp_path / "plan.json").sha256() == example_plan().sha256()
    assert dataclasses.replace(example_plan(), dataset="Dataset002_Y").sha256() != example_plan().sha256()


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
