"""A small valid plan."""

from __future__ import annotations

from balrsam_pipeline.plan import ChannelStatistics, Configuration, NetworkPlan, Plan


def example_plan() -> Plan:
    network = NetworkPlan(
        backbone="vit_mini",
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
    statistics = ChannelStatistics(
        mean=1, median=1, std=1, min=0, max=2, percentile_00_5=0, percentile_99_5=2
    )
    return Plan(
        dataset="Dataset001_X",
        fingerprint_sha256="0" * 64,
        channel_statistics=(statistics,),
        configurations={"2d": configuration},
        default_configuration="2d",
    )
