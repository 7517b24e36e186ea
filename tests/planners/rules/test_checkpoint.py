"""Which published checkpoint is recommended for which images and hardware."""

from __future__ import annotations

from typing import Any

import pytest

from balrsam_pipeline.network.official_checkpoints import PUBLISHED
from planners.hardware import Hardware
from planners.rules.checkpoint import base, domain, largest_backbone, recommended


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("CT",), "medical"),
        (("T1", "T1ce", "T2", "FLAIR"), "medical"),
        (("MRI",), "medical"),
        (("ultrasound",), "medical"),
        (("X-ray",), "medical"),
        (("R", "G", "B"), "natural"),
        (("endoscopy",), "natural"),
        (("fundus",), "natural"),
        (("EM",), "electron_microscopy"),
        (("FIB-SEM",), "electron_microscopy"),
        (("DAPI", "GFP"), "light_microscopy"),
        (("fluorescence",), "light_microscopy"),
        (("H&E",), "histopathology"),
        (("micrograph",), "light_microscopy"),
        (("phase_contrast",), "light_microscopy"),
        (("photograph",), "natural"),
        (("fluorescein",), "natural"),  # angiography of the fundus
        (("fluoroscopy",), "medical"),
        (("phase_0", "phase_1"), "medical"),  # scans at several times
        (("magnitude", "phase"), "medical"),
        (("magnitude", "phase contrast"), "medical"),
        (("T1", "phase1"), "medical"),
        (("microUS",), "medical"),
        (("micro-CT",), "medical"),
        (("photoacoustic",), "medical"),
        (("CT", "electron density"), "medical"),
        (("microtubules",), "light_microscopy"),
        (("microglia",), "light_microscopy"),
        (("electron microscopy image",), "electron_microscopy"),
        (("Electron Microscopy (SEM)",), "electron_microscopy"),
        (("photo_rgb",), "natural"),
        (("something",), "medical"),
    ],
)
def test_channel_names_tell_the_domain(names: tuple[str, ...], expected: str) -> None:
    assert domain(names).value == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("phase",), "light_microscopy"), (("magnitude", "phase"), "medical"), (("phase_0",), "medical")],
)
def test_phase_alone_is_a_microscopes_in_pictures_and_a_scanners_in_volumes(
    names: tuple[str, ...], expected: str
) -> None:
    assert domain(names, pictures=True).value == expected
    assert domain(names).value == "medical"


@pytest.mark.parametrize(
    ("names", "memory", "expected"),
    [
        (("CT",), None, "lite_medsam"),
        (("CT",), 8.0, "medsam"),
        (("CT",), 24.0, "medsam"),
        (("CT",), 80.0, "medsam"),  # no larger one of medical images is published
        (("R", "G", "B"), None, "mobile_sam"),
        (("R", "G", "B"), 8.0, "sam_vit_b"),
        (("R", "G", "B"), 48.0, "sam_vit_l"),
        (("R", "G", "B"), 80.0, "sam_vit_h"),
        (("EM",), 24.0, "microsam_em_b"),
        (("DAPI",), 48.0, "microsam_lm_l"),
        (("H&E",), 80.0, "patho_sam_h"),
        (("H&E",), None, "mobile_sam"),  # none of its size is published for them
    ],
)
def test_the_checkpoint_is_of_the_images_domain_and_of_the_hardwares_size(
    names: tuple[str, ...], memory: float | None, expected: str
) -> None:
    decision = recommended(names, Hardware(gpu_memory_gb=memory))
    assert decision.value == expected
    assert expected in decision.reason


def test_a_named_backbone_is_taken_whatever_the_hardware() -> None:
    for backbone in ("vit_t", "vit_b", "vit_l", "vit_h"):
        assert (
            PUBLISHED[recommended(("CT",), Hardware(gpu_memory_gb=None), backbone).value].backbone == backbone
        )


def test_more_memory_allows_larger_backbones() -> None:
    sizes = [
        largest_backbone(Hardware(gpu_memory_gb=memory)) for memory in (None, 4.0, 8.0, 24.0, 48.0, 80.0)
    ]
    assert sizes == ["vit_t", "vit_t", "vit_b", "vit_b", "vit_l", "vit_h"]


@pytest.mark.parametrize(
    ("reported", "backbone"), [(5.7, "vit_b"), (39.4, "vit_l"), (44.4, "vit_l"), (79.1, "vit_h")]
)
def test_a_card_gets_the_backbone_of_the_size_it_is_sold_as_though_torch_reports_less(
    reported: float, backbone: str
) -> None:
    assert largest_backbone(Hardware(gpu_memory_gb=reported)) == backbone


@pytest.mark.parametrize(
    ("memory", "backbone", "expected"),
    [
        (None, None, ("cnn", "")),
        (None, "vit_t", ("vit_t", "lite_medsam")),
        (4.0, None, ("vit_t", "lite_medsam")),
        (8.0, None, ("vit_b", "sam_vit_b")),
        (80.0, "vit_b", ("vit_b", "sam_vit_b")),
        (24.0, "vit_mini", ("vit_mini", "")),
        (24.0, "vit_t", ("vit_t", "mobile_sam")),
    ],
)
def test_a_gpu_adapts_a_published_checkpoint_and_never_trains_from_scratch_unasked(
    memory: float | None, backbone: Any, expected: tuple[str, str]
) -> None:
    chosen = base(("R", "G", "B"), Hardware(gpu_memory_gb=memory), backbone).value
    assert (chosen.backbone, chosen.checkpoint) == expected


def test_a_checkpoint_that_is_asked_for_brings_its_backbone() -> None:
    chosen = base(("CT",), Hardware(gpu_memory_gb=24.0), None, "microsam_em_l").value
    assert (chosen.backbone, chosen.checkpoint) == ("vit_l", "microsam_em_l")


@pytest.mark.parametrize(
    ("channels", "pictures", "without", "expected"),
    [
        (("R", "G", "B"), 80, "", "vit_t"),
        (("R", "G", "B"), 80, "it cannot be had", "cnn"),
        (("R", "G", "B"), 5000, "", "cnn"),
        (("R", "G", "B"), 0, "", "cnn"),  # volumes
        (("ultrasound",), 80, "", "cnn"),
        (("DAPI", "GFP", "RFP"), 80, "", "cnn"),
    ],
)
def test_colour_pictures_on_a_cpu_take_a_pretrained_encoder(
    channels: tuple[str, ...], pictures: int, without: str, expected: str
) -> None:
    chosen = base(channels, Hardware(gpu_memory_gb=None), pictures=pictures, without=without)
    assert chosen.value.backbone == expected
    assert without in chosen.reason
