"""The `3d` of networks that adapt SAM: stacks of slices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.fingerprints import make_fingerprint

import balrsam_pipeline.network as network_package
from balrsam_pipeline.dataset import DatasetDescription, LabelScheme
from balrsam_pipeline.describe.page import plan_page
from balrsam_pipeline.hardware import USABLE_SHARE, GiB
from balrsam_pipeline.network import preset, step_memory
from balrsam_pipeline.plan import Configuration, NetworkPlan
from balrsam_pipeline.preprocessing import store_folder
from planners.hardware import Hardware
from planners.overrides import Overrides
from planners.planner import plan_dataset
from planners.preprocess import recipe_sha256
from planners.rules.input_size import Size
from planners.rules.stack import counts_for, stack_size
from planners.stack_network import fit_stacks

LABELS = LabelScheme(
    names=("organ",), values=((1,),), has_regions=False, region_order=(), ignore_value=None, largest=1
)
DESCRIPTION = DatasetDescription(
    name="X", channel_names=("T1",), labels=LABELS, label_names={1: "organ"}, file_ending=".nii.gz"
)
CPU, CARD = Hardware(gpu_memory_gb=None), Hardware(gpu_memory_gb=24)


@pytest.mark.parametrize(
    ("depth", "counts"), [(3, (4,)), (9, (8, 12)), (36, (8, 12, 16, 24, 32)), (500, (8, 12, 16, 24, 32))]
)
def test_stacks_reach_no_further_than_volumes(depth: int, counts: tuple[int, ...]) -> None:
    assert counts_for(depth) == counts


@pytest.mark.parametrize(("most", "planned"), [(100, 32), (16, 16), (9, 8), (7, None)])
def test_a_stack_has_as_many_slices_as_fit(most: int, planned: int | None) -> None:
    decision = stack_size(60, lambda count: count <= most)
    assert (decision and decision.value) == planned


def counted_by_slices(a_slice: int) -> object:
    """A memory model of so many bytes a slice of 448 × 448."""

    def step(network: NetworkPlan, patch: tuple[int, ...], batch: int) -> SimpleNamespace:
        area = network.input_size[0] * network.input_size[1] / 448**2
        return SimpleNamespace(total=int(batch * (network.stack or 1) * area * a_slice))

    return step


def planned(
    monkeypatch: pytest.MonkeyPatch, a_slice: int, spacing: tuple[float, float, float], **changes: object
) -> Configuration:
    monkeypatch.setattr(network_package, "step_memory", counted_by_slices(a_slice))
    fingerprint = make_fingerprint([spacing] * 3, (60, 200, 200))
    overrides = Overrides(**changes)  # type: ignore[arg-type]
    return plan_dataset(fingerprint, DESCRIPTION, CARD, overrides).configurations["3d"]


def test_a_card_gets_the_largest_input_at_which_two_stacks_fit_then_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configuration = planned(monkeypatch, GiB // 4, (1.0, 1.0, 1.0))
    network = configuration.network  # of 86 slices of 448 pixels two stacks of 8 fit at 896, not of 12
    assert (network.backbone, network.from_scratch, network.stack) == ("vit_b", False, 8)
    assert (network.input_size, configuration.batch_size) == ((896, 896), 2)
    assert configuration.patch_shape == (8, 200, 200)
    assert configuration.spacing_mm == (1.0, 1.0, 1.0) and configuration.slicing_axes == (0, 1, 2)
    small = planned(monkeypatch, GiB, (1.0, 1.0, 1.0))
    assert (max(small.network.input_size), small.network.stack, small.batch_size) == (448, 8, 2)
    large = planned(monkeypatch, GiB // 64, (1.0, 1.0, 1.0))
    assert (large.network.stack, large.batch_size) == (32, 2)
    assert planned(monkeypatch, GiB // 64, (1.0, 1.0, 1.0), batch_size=1).batch_size == 1


def test_slices_far_apart_keep_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = (planned(monkeypatch, 1, (z, 1.0, 1.0)) for z in (3.0, 8.0))
    assert (near.slicing_axes, far.slicing_axes) == ((0, 1, 2), (0,))
    assert "they are far apart" in far.reasons["spacing_mm"]


def test_slices_made_smaller_keep_their_distance_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_package, "step_memory", counted_by_slices(1))
    fingerprint = make_fingerprint([(1.0, 1.0, 1.0)] * 3, (60, 1800, 1800), {"organ": 200.0})
    configuration = plan_dataset(fingerprint, DESCRIPTION, CARD).configurations["3d"]
    assert configuration.antialias and configuration.spacing_mm[0] == 1.0 < configuration.spacing_mm[1]


@pytest.mark.parametrize("backbone", [None, "vit_t"])
@pytest.mark.parametrize(("z", "shape"), [(1.0, (155, 240, 240)), (8.0, (60, 300, 300)), (3.0, (40, 90, 90))])
def test_configurations_that_share_a_folder_preprocess_alike(
    backbone: str | None, z: float, shape: tuple[int, int, int]
) -> None:
    shapes = [shape, shape, (shape[0], round(1.4 * shape[1]), shape[2])]
    fingerprint = make_fingerprint([(z, 1.0, 1.0)] * 3, thickness={"organ": 60.0}, shapes=shapes)
    plan = plan_dataset(fingerprint, DESCRIPTION, CPU, Overrides(backbone=backbone))  # type: ignore[arg-type]
    recipes: dict[Path, set[str]] = {}
    for each in plan.configurations.values():
        folder = store_folder(Path(), each)
        recipes.setdefault(folder, set()).add(recipe_sha256("content", plan, each))
    assert all(len(kinds) == 1 for kinds in recipes.values())
    assert len(recipes) == len({kind for kinds in recipes.values() for kind in kinds})  # nothing stored twice


def test_a_cpu_plans_small_stacks_where_an_encoder_was_asked_for() -> None:
    fingerprint = make_fingerprint()
    plan = plan_dataset(fingerprint, DESCRIPTION, CPU, Overrides(backbone="vit_t"))
    configuration = plan.configurations["3d"]
    network = configuration.network
    assert (network.stack, configuration.batch_size, network.decoder) == (8, 2, "sam")
    assert network.adapted_stages == 1 and max(network.input_size) <= 64
    assert plan.default_configuration == "2.5d"
    assert plan_dataset(fingerprint, DESCRIPTION, CPU).configurations["3d"].network.stack == 0
    page = " ".join(plan_page(plan, fingerprint, DESCRIPTION).split())
    assert "Slices at once: 8 neighbouring slices" in page and "patches of 8 ×" in page


@pytest.mark.slow
def test_what_is_planned_fits_the_card_by_the_memory_model() -> None:
    memory_gb, adapted = 1.75, {"from_scratch": False, "lora_rank": 4, "adapter_rank": 8, "mask_stride": 4}
    size = Size(patch=(112, 112), input=(112, 112))
    small = replace(preset("vit_mini"), input_size=(112, 112), **adapted)  # type: ignore[arg-type]
    _, network, batch, reasons = fit_stacks([(size, small, {})], 60, Hardware(gpu_memory_gb=memory_gb), None)
    taken, more = (step_memory(network, network.input_shape, batch + one).total for one in (0, 1))
    assert taken <= USABLE_SHARE * memory_gb * GiB
    assert more > USABLE_SHARE * memory_gb * GiB or batch * network.stack >= 24
    assert {"stack", "batch_size"} <= set(reasons)
