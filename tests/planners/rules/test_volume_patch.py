"""Patches of volumes and the levels over them."""

from __future__ import annotations

import numpy as np
import pytest
from support.fingerprints import make_fingerprint

from balrsam_pipeline.network.presets import preset
from planners.hardware import Hardware
from planners.rules.configurations import configurations
from planners.rules.volume_patch import CPU_VOXELS, Volumes, most_voxels, volume_patch, volumes_of
from planners.volume_network import fit_volumes

CPU = Hardware(gpu_memory_gb=None)


def planned(median: tuple[int, int, int], spacing: tuple[float, float, float], limit: int = CPU_VOXELS):  # type: ignore[no-untyped-def]
    volumes = Volumes(median=median, nearly_all=median, spacing_mm=spacing)
    return volume_patch(volumes, limit, lambda _: True)


def test_small_volumes_are_seen_whole_in_whole_tokens() -> None:
    decision = planned((36, 50, 35), (1.0, 1.0, 1.0))
    assert decision.value.patch == (40, 56, 40)
    assert decision.value.pooling == ((2, 2, 2),) * 3
    assert "seen whole" in decision.reason and "175 tokens" in decision.reason


def test_a_few_voxels_are_left_to_a_second_patch_rather_than_to_one_more_row_of_tokens() -> None:
    volumes = Volumes(median=(51, 36, 35), nearly_all=(55, 42, 39), spacing_mm=(1.0, 1.0, 1.0))
    assert volume_patch(volumes, CPU_VOXELS, lambda _: True).value.patch == (56, 40, 40)
    volumes = Volumes(median=(51, 41, 35), nearly_all=(55, 42, 39), spacing_mm=(1.0, 1.0, 1.0))
    assert volume_patch(volumes, CPU_VOXELS, lambda _: True).value.patch == (56, 48, 40)


def test_thick_slices_are_pooled_within_themselves_until_voxels_are_nearly_cubes() -> None:
    levels = planned((10, 250, 216), (10.0, 1.5625, 1.5625)).value
    assert levels.pooling == ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert levels.kernels == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3))


def test_large_volumes_give_patches_in_proportion_to_them() -> None:
    levels = planned((430, 512, 512), (1.0, 0.77, 0.77)).value
    assert levels.voxels <= CPU_VOXELS
    shares = [side / size for side, size in zip(levels.patch, (430, 512, 512), strict=True)]
    assert max(shares) < 1.35 * min(shares)


def test_any_volumes_give_a_patch_that_the_levels_divide() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        sizes, spacing = rng.integers(4, 600, 3), tuple(rng.uniform(0.3, 12.0, 3))
        limit = (2**15, CPU_VOXELS, 2**21)[rng.integers(3)]
        levels = planned((int(sizes[0]), int(sizes[1]), int(sizes[2])), spacing, limit).value
        plan = levels.plan(cpu=True)  # checks itself
        assert all(side % step == 0 for side, step in zip(levels.patch, plan.strides[-1], strict=True))
        assert all(side < size + 32 for side, size in zip(levels.patch, sizes, strict=True))
        assert levels.voxels <= limit * 1.5


def test_the_patch_shrinks_until_a_step_fits() -> None:
    volumes = Volumes(median=(128,) * 3, nearly_all=(128,) * 3, spacing_mm=(1.0,) * 3)
    levels = volume_patch(volumes, 2**21, lambda levels: levels.voxels <= 2**19).value
    assert 2**18 < levels.voxels <= 2**19


def test_volumes_are_measured_on_the_planned_axes_at_the_target_spacing() -> None:
    fingerprint = make_fingerprint([(2.0, 1.0, 1.0)] * 3, shapes=[(10, 40, 30), (20, 40, 30), (12, 40, 50)])
    volumes = volumes_of(fingerprint, (2, 0, 1), (1.0, 1.0, 1.0))
    assert volumes.median == (30, 24, 40)
    assert volumes.nearly_all == (46, 37, 40)


def test_a_cpu_gets_two_patches_and_a_network_over_them() -> None:
    volumes = Volumes(median=(36, 50, 35), nearly_all=(36, 50, 35), spacing_mm=(1.0, 1.0, 1.0))
    size, network, batch, reasons = fit_volumes(volumes, preset("vit_mini"), CPU, None, {})
    assert (size.patch, network.input_shape, batch) == ((56, 40), (40, 56, 40), 2)
    assert network.volume is not None and network.volume.widths == (16, 32, 64, 96)
    assert {"patch_size", "batch_size", "mask_stride"} <= set(reasons)
    assert fit_volumes(volumes, preset("vit_mini"), CPU, 5, {})[2] == 5


def test_more_memory_allows_larger_patches() -> None:
    limits = [most_voxels(Hardware(gpu_memory_gb=gb)) for gb in (None, 4, 24)]
    assert limits == sorted(limits) and len(set(limits)) == len(limits)
    assert [most_voxels(Hardware(gpu_memory_gb=gb)) for gb in (5.7, 6)] == [limits[2]] * 2, "6 GB, as sold"


@pytest.mark.parametrize("from_scratch", [True, False])
@pytest.mark.parametrize(
    ("shape", "planned"), [((36, 50, 35), True), ((3, 200, 200), False), ((1, 200, 200), False)]
)
def test_volumes_of_several_slices_have_a_3d_of_stacks_where_sam_is_adapted(
    shape: tuple[int, int, int], planned: bool, from_scratch: bool
) -> None:
    kinds = configurations(make_fingerprint(shape=shape), (1.0, 1.0, 1.0), 0, from_scratch=from_scratch)
    assert ("3d" in kinds) is planned
    if planned:
        draft = kinds["3d"].value
        assert (draft.volumes, draft.stacks) == (from_scratch, not from_scratch)
