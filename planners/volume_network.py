"""Patch, network and batch size of the configuration whose network sees volumes."""

from __future__ import annotations

from dataclasses import replace

from balrsam_pipeline.hardware import USABLE_SHARE
from balrsam_pipeline.plan import NetworkPlan
from planners.hardware import Hardware
from planners.rules import Decision
from planners.rules.batch_size import cpu_volume_batch_size, gpu_batch_size
from planners.rules.input_size import Size
from planners.rules.volume_patch import Levels, Volumes, most_voxels, volume_patch

USEFUL_BATCH = 2
NONE_AGAIN = "none: few tokens are left of a volume, and convolutions keep most"
MASKS = "every voxel is decoded: patches of volumes are not enlarged"
LARGEST_BATCH = 8  # of volumes: each is as many voxels as dozens of slices


def fit_volumes(
    volumes: Volumes,
    network: NetworkPlan,
    hardware: Hardware,
    given_batch: int | None,
    reasons: dict[str, str],
) -> tuple[Size, NetworkPlan, int, dict[str, str]]:
    """Sizes, network and batch size together: on a GPU the patch shrinks until a useful batch fits.

    Args:
        network: what a network over slices would be, apart from sizes.
        given_batch: the batch size that the user asked for.
        reasons: of what is decided already.
    """
    cpu = hardware.memory_bytes is None

    def network_over(levels: Levels) -> NetworkPlan:
        return replace(network, input_size=levels.patch[1:], mask_stride=1, volume=levels.plan(cpu=cpu))

    def batch_of(levels: Levels) -> Decision[int]:
        if given_batch is not None:
            return Decision(given_batch, "asked for")
        if hardware.memory_bytes is None:
            return cpu_volume_batch_size(levels.patch)
        from balrsam_pipeline.network import step_memory  # imports torch: not for a plan for a CPU

        planned = network_over(levels)
        return gpu_batch_size(
            lambda batch: step_memory(planned, levels.patch, batch).total,
            hardware.memory_bytes,
            LARGEST_BATCH,
        )

    counted: dict[str, float] = {}

    def fits(levels: Levels) -> bool:
        """Judged by the first patch's bytes a voxel: what grows with a patch is nearly all at its finest
        level."""
        if given_batch is not None or hardware.memory_bytes is None:
            return True
        from balrsam_pipeline.network import step_memory

        if not counted:
            planned = network_over(levels)
            two, three = (step_memory(planned, levels.patch, batch).total for batch in (2, 3))
            counted.update(a_voxel=(three - two) / levels.voxels, fixed=3 * two - 2 * three)
        needed = counted["fixed"] + USEFUL_BATCH * counted["a_voxel"] * levels.voxels
        return bool(needed <= USABLE_SHARE * hardware.memory_bytes)

    patch = volume_patch(volumes, most_voxels(hardware), fits)
    planned, batch = network_over(patch.value), batch_of(patch.value)
    size = Size(patch=planned.input_size, input=planned.input_size)
    reasons = {
        **reasons,
        "patch_size": patch.reason,
        "batch_size": batch.reason,
        "mask_stride": MASKS,
        "checkpointed_blocks": NONE_AGAIN,
    }
    return size, planned, batch.value, reasons
