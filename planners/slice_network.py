"""Sizes, network and batch size of a configuration whose network sees slices."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from operator import itemgetter

from balrsam_pipeline.hardware import USABLE_SHARE
from balrsam_pipeline.network.backbone_shapes import BACKBONES
from balrsam_pipeline.plan import (
    NetworkPlan,
    Surroundings,
)
from planners.common_decisions import CommonDecisions
from planners.rules import Decision
from planners.rules.batch_size import (
    ADAPTED_LARGEST,
    LARGEST,
    checkpointed_blocks,
    cpu_batch_size,
    given_batch_size,
    gpu_batch_size,
)
from planners.rules.checkpoint import (
    adapted_stages,
    encoder_pixels,
    encoder_shrink,
    network_preset,
)
from planners.rules.configurations import (
    ConfigurationDraft,
)
from planners.rules.input_size import (
    SIDES,
    Size,
    given_input_size,
    given_tiles,
    input_size,
    memory_reason,
    surroundings,
)
from planners.rules.mask_stride import Stride, label_thickness, mask_stride, pyramid_stride, pyramid_width
from planners.rules.slices import (
    Slices,
    slice_count,
    slices_of,
    transposed,
)

OF_SOME_TILES = "the encoder runs once for some tiles of each slice, as many as a quarter of the time allows"
SMALL_STRIDE = 4  # of LiteMedSAM's embedding
USEFUL_BATCH = 2  # below, the next smaller input size is tried


def slice_network(
    draft: ConfigurationDraft, common: CommonDecisions, side: int, *, every_block: bool = False
) -> tuple[Size, NetworkPlan, dict[str, str]]:
    """Size, network and reasons of a configuration at the longest input side that is allowed.

    Args:
        side: pixels of the input's longer side, at most.
        every_block: whether all blocks of an adapted encoder compute their activations again.
    """
    in_plane = common.order.value[1:]
    spacing = transposed(common.spacing_mm.value, common.order.value)
    axes = (0,) if draft.stacks else draft.slicing_axes
    slices = slices_of(common.fingerprint, common.order.value, spacing, axes)
    thick_px = label_thickness(common.fingerprint, in_plane, (spacing[1], spacing[2]), slices.picture_scale)
    thinnest, thickness = min(thick_px.items(), key=itemgetter(1))
    cpu = common.hardware.gpu_memory_gb is None
    parts = network_preset(common.base.value.backbone, cpu=cpu and not draft.stacks)
    statistics, slices_seen = common.fingerprint.channel_statistics, 2 * draft.context_slices + 1
    seen = encoder_pixels(common.base.value.checkpoint, common.schemes.value, statistics, slices_seen)
    pyramid = parts.value.decoder == "pyramid"
    once = pyramid and not parts.value.from_scratch
    adapted = not (parts.value.from_scratch or pyramid or (cpu and draft.stacks))
    size = _size(slices, tuple(thick_px.values()), side, common, adapted=adapted, once=once)
    stride = (
        pyramid_stride(thinnest, thickness, size.value.scale, size.value.input)
        if pyramid
        else _decoder_stride(thinnest, thickness, size.value, seen.get("embedding_stride"))
    )
    across = thickness * size.value.scale
    count = slice_count(common.fingerprint, axes, common.order.value)
    shrink = encoder_shrink(count, size.value.input, across)
    stages = adapted_stages(shrink.value, across, pictures=slices.pictures)
    again = _checkpointed(parts.value, size.value, every_block=every_block)
    encoding = [shrink.reason, stages.reason] if size.value.whole else [OF_SOME_TILES]
    channels = len(common.description.channel_names) * slices_seen
    alone = pyramid and parts.value.from_scratch  # a pyramid without an encoder
    around: Decision[Surroundings] = surroundings(size.value, slices) if alone else Decision(0, "")
    width = pyramid_width(parts.value.cden_width, size.value.input) if pyramid else parts.value.cden_width
    beside = once and size.value.whole  # whole slices, each encoded once
    network = replace(
        parts.value,
        adapted_stages=stages.value if beside else parts.value.adapted_stages,
        input_channels=channels * (2 if around.value else 1),
        surroundings=around.value,
        classes=common.description.labels.classes,
        input_size=size.value.input,
        mask_stride=stride.value,
        checkpointed_blocks=again.value,
        encoder_shrink=shrink.value if beside else 1,
        cden_width=width,
        **seen,
    )
    reasons = {
        "patch_size": size.reason + around.reason,
        "mask_stride": stride.reason,
        "backbone": common.base.reason,
        "ranks": "; ".join([parts.reason, *encoding]) if once else parts.reason,
        "checkpointed_blocks": again.reason,
    }
    return size.value, network, reasons


def _checkpointed(network: NetworkPlan, size: Size, *, every_block: bool) -> Decision[int]:
    blocks = BACKBONES[network.backbone].depth if every_block and network.backbone in BACKBONES else 0
    return checkpointed_blocks(size.input, from_scratch=network.from_scratch, every=blocks)


def _decoder_stride(
    name: str, thickness: float, size: Size, embedding_stride: int | None
) -> Decision[Stride]:
    """How fine SAM's decoder gives masks: it quarters the stride of what it embeds, and none are coarser."""
    if embedding_stride == SMALL_STRIDE:
        return Decision(1, "masks are as fine as the input: the decoder quarters its embedding's stride of 4")
    return mask_stride(name, thickness, size.scale)


def _size(
    slices: Slices,
    thick_px: Collection[float],
    side: int,
    common: CommonDecisions,
    *,
    adapted: bool,
    once: bool,
) -> Decision[Size]:
    overrides = common.overrides
    if overrides.tiles is not None:
        return given_tiles(overrides.tiles, slices)
    if overrides.input_size is not None:
        return given_input_size(overrides.input_size, slices)
    cpu = common.hardware.gpu_memory_gb is None
    at_most = partial(
        input_size,
        slices,
        min(thick_px),
        thickest_px=max(thick_px),
        cpu=cpu,
        adapted=adapted,
        once=once,
        ordered=common.ordered,
    )
    size = at_most(side)
    if cpu or size.value == at_most(SIDES[-1]).value:
        return size
    return Decision(size.value, size.reason + memory_reason(common.hardware, side))


def batch_size(network: NetworkPlan, size: Size, common: CommonDecisions) -> tuple[Decision[int], bool]:
    """The batch size, and whether it is a useful one that fits."""
    given, memory = common.overrides.batch_size, common.hardware.memory_bytes
    if memory is None:
        return (cpu_batch_size(network.input_size) if given is None else Decision(given, "asked for")), True
    from balrsam_pipeline.network import step_memory  # imports torch, which a plan for a CPU does not need

    def memory_of(batch: int) -> int:
        return step_memory(network, size.patch, batch).total

    largest = LARGEST if network.from_scratch else ADAPTED_LARGEST
    batch = (
        gpu_batch_size(memory_of, memory, largest)
        if given is None
        else given_batch_size(given, memory_of, memory)
    )
    useful = given is not None or batch.value >= USEFUL_BATCH
    return batch, useful and memory_of(batch.value) <= USABLE_SHARE * memory
