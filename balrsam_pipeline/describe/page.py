"""A plan in plain words: a page such as a colleague would write who had looked at the data."""

from __future__ import annotations

import textwrap
from statistics import median
from typing import TYPE_CHECKING

from balrsam_pipeline.folds import ALL
from balrsam_pipeline.layout import ResultsFolder
from balrsam_pipeline.plan import CaseFingerprint, Configuration, Fingerprint, NetworkPlan, Plan

if TYPE_CHECKING:
    from balrsam_pipeline.dataset import DatasetDescription

WIDTH = 100
HEADINGS = {
    "like": "Whose plan",
    "spacing_mm": "Spacing",
    "transpose": "Slices",
    "normalization": "Intensities",
    "normalize_inside_mask": "Normalised",
    "patch_size": "What the network sees",
    "stack": "Slices at once",
    "mask_stride": "Masks",
    "mirror_axes": "Mirroring",
    "backbone": "Backbone",
    "ranks": "Ranks",
    "checkpointed_blocks": "Checkpointed blocks",
    "batch_size": "Batch",
}


def plan_page(plan: Plan, fingerprint: Fingerprint | None, description: DatasetDescription) -> str:
    """The page: the data, what holds for all configurations, what each adds, and what the user overrode."""
    parts = [f"{plan.dataset}\n{'=' * len(plan.dataset)}"]
    if fingerprint is not None:
        parts.append(_data(fingerprint, description))
    parts.append(_names(plan, description))
    first, *others = plan.configurations.values()
    parts.append(_configuration(first, {}, plan))
    parts += [_configuration(configuration, first.reasons, plan) for configuration in others]
    if plan.overrides:
        decided = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in plan.overrides.items())
        parts.append(_paragraph(f"Decided by you, not by the rules: {decided}."))
    return "\n\n".join(parts) + "\n"


def trained_words(results: ResultsFolder) -> str:
    """Which folds of which configurations are trained to their end, in a sentence."""
    parts = []
    for model in results.models():
        done = [fold for fold in model.all_folds() if model.fold(fold).checkpoint("final").is_file()]
        folds = ", ".join(f"fold {fold}" for fold in done if fold != ALL)
        parts += [f"{model.name}, {folds}"] if folds else []
        parts += [f"{model.name} on all cases"] if ALL in done else []
    return _paragraph(f"Trained: {'; '.join(parts)}." if parts else "Nothing is trained yet.")


def _data(fingerprint: Fingerprint, description: DatasetDescription) -> str:
    cases = fingerprint.cases
    if all(case.shape_zyx[0] == 1 for case in cases):
        what = f"{len(cases)} images, typically of {_middle(cases, 1):.0f} × {_middle(cases, 2):.0f} pixels"
    else:
        spacing = " × ".join(f"{median(case.spacing_mm[axis] for case in cases):.3g}" for axis in range(3))
        shape = " × ".join(f"{_middle(cases, axis):.0f}" for axis in range(3))
        what = f"{len(cases)} volumes, typically of {shape} voxels (z × y × x) of {spacing} mm"
    channels = ", ".join(description.channel_names)
    plural = "channels" if len(description.channel_names) > 1 else "channel"
    return _paragraph(f"The data are {what}, {plural} {channels}. {_rarest(cases, description)}")


def _rarest(cases: tuple[CaseFingerprint, ...], description: DatasetDescription) -> str:
    shown = {
        name: sum(case.label_voxels.get(name, 0) > 0 for case in cases) for name in description.labels.names
    }
    missing = {name: count for name, count in shown.items() if count < len(cases)}
    if not missing:
        return "Every case shows every label."
    rarest = sorted(missing, key=lambda name: missing[name])[:5]
    return (
        "Not every case shows every label: "
        + ", ".join(f"{name} is in {missing[name]} of {len(cases)}" for name in rarest)
        + "."
    )


def _names(plan: Plan, description: DatasetDescription) -> str:
    names = description.labels.names
    kind = (
        "regions, which may overlap"
        if description.labels.has_regions
        else "labels"
        if len(names) > 1
        else "label"
    )
    ignore = (
        " Voxels marked ignore take no part in training or scoring."
        if description.labels.ignore_value is not None
        else ""
    )
    configurations = ", ".join(plan.configurations)
    beside = (
        f", and beside it by 'balrsam run' {', '.join(plan.companions)} where a core or GPU would be idle"
        if plan.companions
        else ""
    )
    return _paragraph(
        f"To be found: {len(names)} {kind}, {', '.join(names)}.{ignore} "
        f"Planned: {configurations}; if none is named, {plan.default_configuration} is trained{beside}."
        f"{_planned_for(plan.gpu_memory_gb)}"
    )


def _planned_for(gpu_memory_gb: float | None) -> str:
    """The machine, in a sentence; nothing where an older plan does not say."""
    if gpu_memory_gb is None:
        return ""
    return f" Planned for: a GPU of {gpu_memory_gb:.3g} GB." if gpu_memory_gb else " Planned for: a CPU."


def _configuration(configuration: Configuration, known: dict[str, str], plan: Plan) -> str:
    """One configuration; reasons that equal those `known` from the first are not told again."""
    network = configuration.network
    title = f"{configuration.name} — {configuration.reasons.get('configuration', '')}".rstrip(" —")
    patch, seen = (" × ".join(map(str, size)) for size in (configuration.patch_shape, network.input_shape))
    shown = f"shown to it as {seen} pixels" if network.volume is None else "as they are"
    how = _training(network)
    summary = (
        f"{network.backbone}, {how}; patches of {patch} voxels {shown}; batches of "
        f"{configuration.batch_size}; "
        f"channels in: {network.input_channels}, masks out: {network.classes}, at stride "
        f"{network.mask_stride}."
    )
    lines = [title, "-" * len(title), _paragraph(summary)]
    news = {
        name: reason
        for name, reason in configuration.reasons.items()
        if name in HEADINGS and known.get(name) != reason
    }
    lines += [_entry(HEADINGS[name], news[name]) for name in HEADINGS if name in news]
    if known:
        lines.append(_entry("Else", f"as in {next(iter(plan.configurations))}"))
    return "\n".join(lines)


def _training(network: NetworkPlan) -> str:
    """What of the network trains, in a phrase."""
    if network.from_scratch:
        return "trained from scratch"
    if network.backbone == "vit_t" and network.adapted_stages == 0:
        return f"frozen as a whole, beside it a {network.decoder} decoder that trains"
    return f"frozen and adapted (LoRA {network.lora_rank}, adapters {network.adapter_rank})"


def _middle(cases: tuple[CaseFingerprint, ...], axis: int) -> float:
    return float(median(case.shape_zyx[axis] for case in cases))


def _entry(heading: str, text: str) -> str:
    return textwrap.fill(f"{heading}: {text}.", WIDTH, initial_indent="  ", subsequent_indent="    ")


def _paragraph(text: str) -> str:
    return textwrap.fill(text, WIDTH)
