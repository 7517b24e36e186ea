"""The checkpoint that the ablation adapts: an encoder in SAM's form is the same encoder again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from balrsam_pipeline.network import build, preset
from benchmarks.accuracy.pretrained import in_sams_form

SCRATCH = dataclasses.replace(preset("vit_mini", classes=2), input_size=(128, 128))


def test_an_encoder_survives_the_way_into_a_sam_checkpoint_and_back(tmp_path: Path) -> None:
    torch.manual_seed(1)
    trained = build(SCRATCH).image_encoder
    for name, parameter in trained.named_parameters():
        if "rel_pos_" in name:
            torch.nn.init.normal_(parameter)
    torch.save(
        in_sams_form({f"image_encoder.{name}": tensor for name, tensor in trained.state_dict().items()}),
        tmp_path / "sam.pth",
    )
    adapted = build(dataclasses.replace(SCRATCH, from_scratch=False), tmp_path / "sam.pth").image_encoder
    again = adapted.state_dict()
    for name, tensor in trained.state_dict().items():
        stretched = name.endswith("pos_embed") or (".rel_pos_" in name and name.split(".")[1] in ("2", "5"))
        assert again[name].shape == tensor.shape, name
        assert stretched or torch.equal(again[name], tensor), (
            name
        )  # stretched tables are interpolated there and back
