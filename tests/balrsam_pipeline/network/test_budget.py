"""The parameter budget, and what `describe` prints of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from balrsam_pipeline.network import count_cost, describe_network, preset
from balrsam_pipeline.network.profiling import meta_network
from balrsam_pipeline.plan import DecoderAttention


@pytest.mark.parametrize("attention", ["low_rank", "exact"])
@pytest.mark.parametrize("classes", [2, 4, 14, 118])
def test_vit_h_trains_11_7_million_parameters_1_8_percent_of_all_whatever_the_classes(
    classes: int, attention: DecoderAttention
) -> None:
    model = meta_network(replace(preset("vit_h", classes=classes), decoder_attention=attention))
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    everything = sum(parameter.numel() for parameter in model.parameters())
    assert trained == pytest.approx(11.7e6, rel=0.02)
    assert 0.0175 <= trained / everything <= 0.0185


def test_the_breakdown_of_vit_h_is_the_published_one() -> None:
    parts = count_cost(preset("vit_h"), (1024, 1024)).parts
    assert parts["bottleneck adapters"] == (
        5_326_848,
        5_326_848,
    )  # 2 · 32 blocks · (2 · 1280 · 32 + 32 + 1280)
    assert parts["LoRA on q and v"] == (655_360, 655_360)  # 32 blocks · 4 · 1280 · 4
    assert parts["image encoder, SAM's"] == (637_026_048, 0)


def test_describe_names_every_part_and_the_share() -> None:
    text = describe_network(preset("vit_h"))
    for word in ("LoRA on q and v", "CDEN", "mask decoder", "1.8", "MiB", "GFLOP"):
        assert word in text


def test_vit_mini_is_small_and_trains_whole() -> None:
    cost = count_cost(preset("vit_mini", classes=3, input_channels=1), (224, 224))
    assert cost.trained == cost.parameters < 6.5e6
