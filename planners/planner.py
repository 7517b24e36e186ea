"""From a fingerprint to a plan: the rules called in turn, every decision with its reason."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, replace
from operator import itemgetter

from balrsam_pipeline.dataset import DatasetDescription
from balrsam_pipeline.hardware import USABLE_SHARE
from balrsam_pipeline.network.backbone_shapes import BACKBONES
from balrsam_pipeline.plan import (
    Configuration,
    Fingerprint,
    NetworkPlan,
    Normalization,
    Plan,
    Surroundings,
)
from planners.hardware import Hardware
from planners.overrides import Overrides, require_sound
from planners.rules import Decision, numbers
from planners.rules.batch_size import (
    ADAPTED_LARGEST,
    LARGEST,
    checkpointed_blocks,
    cpu_batch_size,
    given_batch_size,
    gpu_batch_size,
)
from planners.rules.checkpoint import (
    MICROSCOPY,
    Base,
    adapted_stages,
    base,
    channels_are_alike,
    domain,
    encoder_pixels,
    encoder_shrink,
    network_preset,
)
from planners.rules.configurations import (
    ConfigurationDraft,
    companions,
    configurations,
    default_configuration,
    is_two_dimensional,
)
from planners.rules.input_size import (
    SIDES,
    Size,
    given_input_size,
    given_tiles,
    input_size,
    largest_side,
    surroundings,
)
from planners.rules.mask_stride import Stride, label_thickness, mask_stride, pyramid_stride, pyramid_width
from planners.rules.mirroring import mirror_axes, told_apart
from planners.rules.normalization import normalization, normalize_inside_mask
from planners.rules.slices import (
    Order,
    Slices,
    slice_count,
    slices_of,
    transpose,
    transposed,
    typical_size_mm,
)
from planners.rules.target_spacing import target_spacing
from planners.rules.volume_patch import Volumes, volumes_of
from planners.stack_network import fit_stacks
from planners.volume_network import fit_volumes

PICTURES = ConfigurationDraft(slicing_axes=(0,), context_slices=0)
PICTURE_ORDER = (0, 1, 2)  # of their axes
TIFF_ENDINGS = (".tif", ".tiff")  # whose stacks say nothing of how a patient lies
OF_SOME_TILES = "the encoder runs once for some tiles of each slice, as many as a quarter of the time allows"
USEFUL_BATCH = 2  # below, the next smaller input size is tried


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """Decisions that all configurations share; `ordered` says of pictures whether labels lie in one order."""

    fingerprint: Fingerprint
    description: DatasetDescription
    hardware: Hardware
    overrides: Overrides
    spacing_mm: Decision[tuple[float, float, float]]
    order: Decision[Order]
    schemes: Decision[tuple[Normalization, ...]]
    inside: Decision[tuple[bool, ...]]
    base: Decision[Base]
    ordered: bool = False

    def mirror_axes(self, slicing_axes: tuple[int, ...]) -> Decision[tuple[int, ...]]:
        """Which transposed axes to mirror."""
        channels = self.description.channel_names
        specimens = domain(channels).value in MICROSCOPY or self.description.file_ending in TIFF_ENDINGS
        names, order = self.description.labels.names, self.order.value
        return mirror_axes(
            self.fingerprint, names, order, slicing_axes, channel_names=channels, specimens=specimens
        )


def plan_dataset(
    fingerprint: Fingerprint,
    description: DatasetDescription,
    hardware: Hardware,
    overrides: Overrides | None = None,
    without: str = "",
) -> Plan:
    """Plan every configuration that suits a dataset.

    Args:
        without: why no pretrained encoder can be had on a CPU that would use one unasked; empty if it can.

    Raises:
        PlanError: an override that cannot be carried out.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from balrsam_pipeline.dataset import open_dataset
        >>> from balrsam_pipeline.demo import DemoSize, generate_dataset
        >>> from planners import Hardware, extract_fingerprint
        >>> folder = Path(tempfile.mkdtemp())
        >>> size = DemoSize(training_cases=2, shape_zyx=(4, 16, 16))
        >>> dataset = open_dataset(generate_dataset(folder / "raw", size))
        >>> fingerprint = extract_fingerprint(dataset, folder / "preprocessed", None, workers=1).fingerprint
        >>> plan = plan_dataset(fingerprint, dataset.description, Hardware(gpu_memory_gb=None))
        >>> plan.default_configuration in plan.configurations
        True
        >>> sorted(plan.configurations["2d"].reasons)[:2]
        ['backbone', 'batch_size']
    """
    overrides = overrides or Overrides()
    require_sound(overrides)
    common = _decide_common(fingerprint, description, hardware, overrides, without)
    from_scratch = network_preset(common.base.value.backbone).value.from_scratch
    kinds = configurations(
        fingerprint, common.spacing_mm.value, common.order.value[0], from_scratch=from_scratch
    )
    planned = {name: _configuration(name, draft, common) for name, draft in kinds.items()}
    whole = "3d" in planned and _holds_volumes(planned["3d"], fingerprint)
    return Plan(
        dataset=fingerprint.dataset,
        fingerprint_sha256=fingerprint.sha256(),
        channel_statistics=fingerprint.channel_statistics,
        configurations=planned,
        default_configuration=default_configuration(tuple(planned)),
        companions=companions(tuple(planned), from_scratch=from_scratch, whole_volumes=whole),
        overrides=overrides.as_text(),
        orientations=fingerprint.orientations,
    )


def _holds_volumes(configuration: Configuration, fingerprint: Fingerprint) -> bool:
    """Whether patches of volumes are as large as the median volume along every axis."""
    size_mm = typical_size_mm(fingerprint)
    sides = zip(configuration.patch_shape, configuration.spacing_mm, configuration.transpose, strict=True)
    return all(patch * spacing >= size_mm[axis] for patch, spacing, axis in sides)


def _decide_common(
    fingerprint: Fingerprint,
    description: DatasetDescription,
    hardware: Hardware,
    overrides: Overrides,
    without: str,
) -> _Common:
    spacing = target_spacing(fingerprint)
    if overrides.spacing_mm is not None:
        spacing = Decision(
            overrides.spacing_mm, f"asked for; the rules would have taken {numbers(spacing.value, 'mm')}"
        )
    schemes = normalization(description.channel_names)
    pictures = len(fingerprint.cases) if is_two_dimensional(fingerprint) else 0
    asked = (overrides.backbone, overrides.checkpoint, pictures)
    if channels_are_alike(fingerprint):
        without = without or "its channels all show the same greys"
    common = _Common(
        fingerprint=fingerprint,
        description=description,
        hardware=hardware,
        overrides=overrides,
        spacing_mm=spacing,
        order=transpose(spacing.value, typical_size_mm(fingerprint)),
        schemes=schemes,
        inside=normalize_inside_mask(fingerprint, schemes.value),
        base=base(description.channel_names, hardware, *asked, without),
        ordered=pictures > 0 and bool(told_apart(fingerprint, description.labels.names, PICTURE_ORDER)),
    )
    if pictures and hardware.gpu_memory_gb is None and common.base.value.checkpoint:
        size, _, _ = _network(PICTURES, common, largest_side(hardware))
        if not size.whole:
            tiles = "pictures are seen in tiles, for each of which it would run in every step"
            return replace(common, base=base(description.channel_names, hardware, *asked, tiles))
    return common


def _configuration(name: str, draft: Decision[ConfigurationDraft], common: _Common) -> Configuration:
    order = common.order.value
    spacing = transposed(common.spacing_mm.value, order)
    mirrors = common.mirror_axes(draft.value.slicing_axes)
    size, network, batch, reasons = _fit_network(draft.value, common)
    return Configuration(
        name=name,
        transpose=order,
        spacing_mm=size.coarser(spacing, across=draft.value.slicing_axes != (0,) and not draft.value.stacks),
        slicing_axes=draft.value.slicing_axes,
        context_slices=draft.value.context_slices,
        normalization=common.schemes.value,
        normalize_inside_mask=common.inside.value,
        patch_size=size.patch,
        batch_size=batch,
        mirror_axes=mirrors.value,
        network=network,
        fit_patch=size.fitted,
        fit_size=size.frame,
        antialias=size.shrink > 1 or size.fitted,
        reasons={
            "configuration": draft.reason,
            "spacing_mm": common.spacing_mm.reason
            + size.coarser_reason
            + _kept_along_slices(draft.value, common.fingerprint),
            "transpose": common.order.reason,
            "normalization": common.schemes.reason,
            "normalize_inside_mask": common.inside.reason,
            "mirror_axes": mirrors.reason,
            **reasons,
        },
    )


def _kept_along_slices(draft: ConfigurationDraft, fingerprint: Fingerprint) -> str:
    if draft.slicing_axes != (0,) or is_two_dimensional(fingerprint):
        return ""
    why = "they are far apart" if draft.stacks else "slices are segmented one by one"
    return f"; across slices every case keeps its own, since {why}"


def _fit_network(draft: ConfigurationDraft, common: _Common) -> tuple[Size, NetworkPlan, int, dict[str, str]]:
    """Sizes, network and batch size together: on a GPU more blocks are checkpointed, and then the input
    shrinks, until a useful batch fits."""
    if draft.volumes:
        return _fit_volumes(common)
    given = common.overrides.input_size or common.overrides.tiles
    sides = [side for side in reversed(SIDES) if side <= largest_side(common.hardware)]
    sizes = itertools.product(sides[:1] if given else sides, (False, True))
    tries = (_network(draft, common, side, every_block=every) for side, every in sizes)
    if draft.stacks:
        return fit_stacks(tries, _volumes(common).median[0], common.hardware, common.overrides.batch_size)
    for tried in tries:
        batch, fits = _batch_size(tried[1], tried[0], common)
        if fits:
            break
    size, network, reasons = tried
    return size, network, batch.value, {**reasons, "batch_size": batch.reason}


def _fit_volumes(common: _Common) -> tuple[Size, NetworkPlan, int, dict[str, str]]:
    """The same where the network sees volumes."""
    channels, classes = len(common.description.channel_names), common.description.labels.classes
    parts = network_preset("vit_mini")
    network = replace(parts.value, input_channels=channels, classes=classes)
    return fit_volumes(
        _volumes(common),
        network,
        common.hardware,
        common.overrides.batch_size,
        {
            "backbone": "volumes have tokens and convolutions of their own, from scratch",
            "ranks": parts.reason,
        },
    )


def _volumes(common: _Common) -> Volumes:
    spacing = transposed(common.spacing_mm.value, common.order.value)
    return volumes_of(common.fingerprint, common.order.value, spacing)


def _network(
    draft: ConfigurationDraft, common: _Common, side: int, *, every_block: bool = False
) -> tuple[Size, NetworkPlan, dict[str, str]]:
    in_plane = common.order.value[1:]
    spacing = transposed(common.spacing_mm.value, common.order.value)
    axes = (0,) if draft.stacks else draft.slicing_axes
    slices = slices_of(common.fingerprint, common.order.value, spacing, axes)
    thick_px = label_thickness(common.fingerprint, in_plane, (spacing[1], spacing[2]), slices.picture_scale)
    thinnest, thickness = min(thick_px.items(), key=itemgetter(1))
    cpu = common.hardware.gpu_memory_gb is None
    parts = network_preset(common.base.value.backbone, cpu=cpu and not draft.stacks)
    seen = encoder_pixels(
        common.base.value.checkpoint,
        common.schemes.value,
        common.fingerprint.channel_statistics,
        2 * draft.context_slices + 1,
    )
    pyramid = parts.value.decoder == "pyramid"
    once = pyramid and not parts.value.from_scratch
    adapted = not (parts.value.from_scratch or pyramid or (cpu and draft.stacks))
    size = _size(slices, tuple(thick_px.values()), side, common, adapted=adapted, once=once)
    stride = (
        pyramid_stride(thinnest, thickness, size.value.scale, size.value.input)
        if pyramid
        else mask_stride(thinnest, thickness, size.value.scale)
    )
    finest: Stride = (
        1 if seen.get("embedding_stride") == 4 and not pyramid else 4
    )  # SAM's decoder quarters it
    across = thickness * size.value.scale
    count = slice_count(common.fingerprint, axes, common.order.value)
    shrink = encoder_shrink(count, size.value.input, across)
    stages = adapted_stages(shrink.value, across, pictures=slices.pictures)
    blocks = BACKBONES[parts.value.backbone].depth if every_block and parts.value.backbone in BACKBONES else 0
    again = checkpointed_blocks(size.value.input, from_scratch=parts.value.from_scratch, every=blocks)
    encoding = [shrink.reason, stages.reason] if size.value.whole else [OF_SOME_TILES]
    channels = len(common.description.channel_names) * (2 * draft.context_slices + 1)
    around: Decision[Surroundings] = Decision(0, "")
    if pyramid and parts.value.from_scratch:
        around = surroundings(size.value, slices)
    beside = once and size.value.whole  # whole slices, each encoded once
    network = replace(
        parts.value,
        adapted_stages=stages.value if beside else parts.value.adapted_stages,
        input_channels=channels * (2 if around.value else 1),
        surroundings=around.value,
        classes=common.description.labels.classes,
        input_size=size.value.input,
        mask_stride=finest if stride.value > finest else stride.value,
        checkpointed_blocks=again.value,
        encoder_shrink=shrink.value if beside else 1,
        cden_width=pyramid_width(parts.value.cden_width, size.value.input)
        if pyramid
        else parts.value.cden_width,
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


def _size(
    slices: Slices, thick_px: Collection[float], side: int, common: _Common, *, adapted: bool, once: bool
) -> Decision[Size]:
    overrides = common.overrides
    if overrides.tiles is not None:
        return given_tiles(overrides.tiles, slices)
    if overrides.input_size is not None:
        return given_input_size(overrides.input_size, slices)
    cpu = common.hardware.gpu_memory_gb is None
    return input_size(
        slices,
        min(thick_px),
        side,
        thickest_px=max(thick_px),
        cpu=cpu,
        adapted=adapted,
        once=once,
        ordered=common.ordered,
    )


def _batch_size(network: NetworkPlan, size: Size, common: _Common) -> tuple[Decision[int], bool]:
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
