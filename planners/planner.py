"""From a fingerprint to a plan: the rules called in turn, every decision with its reason."""

from __future__ import annotations

import itertools
from dataclasses import replace

from balrsam_pipeline.dataset import DatasetDescription
from balrsam_pipeline.plan import (
    Configuration,
    Fingerprint,
    NetworkPlan,
    Plan,
)
from planners.common_decisions import CommonDecisions
from planners.hardware import Hardware
from planners.overrides import Overrides, require_sound
from planners.rules import Decision, numbers
from planners.rules.checkpoint import (
    base,
    channels_are_alike,
    network_preset,
)
from planners.rules.configurations import (
    ConfigurationDraft,
    companions,
    configurations,
    default_configuration,
    flat_axis,
    is_two_dimensional,
)
from planners.rules.input_size import (
    SIDES,
    Size,
    largest_side,
)
from planners.rules.mirroring import DOWN, told_apart
from planners.rules.normalization import normalization, normalize_inside_mask, require_contrast
from planners.rules.slices import (
    transpose,
    transposed,
    typical_size_mm,
)
from planners.rules.target_spacing import target_spacing
from planners.rules.volume_patch import Volumes, volumes_of
from planners.slice_network import batch_size, slice_network
from planners.stack_network import fit_stacks
from planners.volume_network import fit_volumes

PICTURES = ConfigurationDraft(slicing_axes=(0,), context_slices=0)


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
        DatasetError: CT whose statistics would make one constant of every image.

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
        gpu_memory_gb=hardware.gpu_memory_gb or 0.0,
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
) -> CommonDecisions:
    spacing = target_spacing(fingerprint)
    if overrides.spacing_mm is not None:
        spacing = Decision(
            overrides.spacing_mm, f"asked for; the rules would have taken {numbers(spacing.value, 'mm')}"
        )
    schemes = normalization(description.channel_names)
    require_contrast(fingerprint, schemes.value)
    pictures = len(fingerprint.cases) if is_two_dimensional(fingerprint) else 0
    asked = (overrides.backbone, overrides.checkpoint, pictures)
    if channels_are_alike(fingerprint):
        without = without or "its channels all show the same greys"
    order = transpose(spacing.value, typical_size_mm(fingerprint), flat_axis(fingerprint))
    common = CommonDecisions(
        fingerprint=fingerprint,
        description=description,
        hardware=hardware,
        overrides=overrides,
        spacing_mm=spacing,
        order=order,
        schemes=schemes,
        inside=normalize_inside_mask(fingerprint, schemes.value),
        base=base(description.channel_names, hardware, *asked, without),
        ordered=pictures > 0 and DOWN in told_apart(fingerprint, description.labels.names, order.value),
    )
    if pictures and hardware.gpu_memory_gb is None and common.base.value.checkpoint:
        size, _, _ = slice_network(PICTURES, common, largest_side(hardware))
        if not size.whole:
            tiles = "pictures are seen in tiles, for each of which it would run in every step"
            return replace(common, base=base(description.channel_names, hardware, *asked, tiles))
    return common


def _configuration(name: str, draft: Decision[ConfigurationDraft], common: CommonDecisions) -> Configuration:
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
            "spacing_mm": _spacing_reason(draft.value, size, common),
            "transpose": common.order.reason,
            "normalization": common.schemes.reason,
            "normalize_inside_mask": common.inside.reason,
            "mirror_axes": mirrors.reason,
            **reasons,
        },
    )


def _spacing_reason(draft: ConfigurationDraft, size: Size, common: CommonDecisions) -> str:
    reason = common.spacing_mm.reason
    if draft.slicing_axes != (0,) or is_two_dimensional(common.fingerprint):
        return reason + size.coarser_reason
    if common.overrides.spacing_mm is None:
        reason = target_spacing(common.fingerprint, common.order.value[0]).reason
    why = "they are far apart" if draft.stacks else "slices are segmented one by one"
    return f"{reason}{size.coarser_reason}; across slices every case keeps its own, since {why}"


def _fit_network(
    draft: ConfigurationDraft, common: CommonDecisions
) -> tuple[Size, NetworkPlan, int, dict[str, str]]:
    """Sizes, network and batch size together: on a GPU more blocks are checkpointed, and then the input
    shrinks, until a useful batch fits."""
    if draft.volumes:
        return _fit_volumes(common)
    given = common.overrides.input_size or common.overrides.tiles
    sides = [side for side in reversed(SIDES) if side <= largest_side(common.hardware)]
    sizes = itertools.product(sides[:1] if given else sides, (False, True))
    tries = (slice_network(draft, common, side, every_block=every) for side, every in sizes)
    if draft.stacks:
        return fit_stacks(tries, _volumes(common).median[0], common.hardware, common.overrides.batch_size)
    for tried in tries:
        batch, fits = batch_size(tried[1], tried[0], common)
        if fits:
            break
    size, network, reasons = tried
    return size, network, batch.value, {**reasons, "batch_size": batch.reason}


def _fit_volumes(common: CommonDecisions) -> tuple[Size, NetworkPlan, int, dict[str, str]]:
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


def _volumes(common: CommonDecisions) -> Volumes:
    spacing = transposed(common.spacing_mm.value, common.order.value)
    return volumes_of(common.fingerprint, common.order.value, spacing)
