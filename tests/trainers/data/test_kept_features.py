"""What is kept of a frozen encoder: the encoder's own output, computed once, moved as the picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from support.tiny_vit import random_tiny_sam

from balrsam_pipeline.layout import PreprocessedFolder
from balrsam_pipeline.network import BalrSam, Features, build, preset
from trainers.augmentation import Geometry2d
from trainers.augmentation_config import AugmentationConfig
from trainers.data.kept_features import KeptFeatures
from trainers.data.patches import PatchReader
from trainers.data.sampling import Sample

SAMPLE = Sample(case="case_a", axis=0, slice_index=4, corner_yx=(-2, -1))
PATCH = (24, 16)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, BalrSam]:
    """By the number of adapted stages, TinyViT with random weights, its new parts moved from where they
    start."""
    path = tmp_path_factory.mktemp("sam") / "tiny.pth"
    torch.save(random_tiny_sam(4), path)
    network = dataclasses.replace(preset("vit_t", classes=3), input_size=(48, 32), cden_width=8)
    made = {}
    for stages in (0, 1):
        made[stages] = build(dataclasses.replace(network, adapted_stages=stages), path)
        torch.manual_seed(stages)
        for parameter in made[stages].parameters():
            if parameter.requires_grad:
                parameter.data += 0.01 * torch.randn_like(parameter)
    return made


@pytest.fixture
def reader(make_store, make_configuration) -> PatchReader:
    """Three-channel patches that cover the slices of case_a, without augmentation."""
    configuration = make_configuration(channels=3, patch_size=PATCH)
    return PatchReader(make_store(3), configuration, AugmentationConfig(enabled=False))


@pytest.fixture
def keep(reader: PatchReader, tmp_path) -> Callable[..., KeptFeatures]:
    """What keeps the output of an encoder in a folder of this test."""

    def make(encode, content="as it is", dtype=torch.float16) -> KeptFeatures:
        return KeptFeatures(
            preprocessed=PreprocessedFolder(tmp_path),
            key="encoder",
            reader=reader,
            encode=encode,
            content=lambda case: f"{case} {content}",
            dtype=dtype,
        )

    return make


class Counting:
    """An encoder that is not equivariant, and counts how often it ran."""

    runs = 0

    def __call__(self, image_chw: np.ndarray) -> tuple[torch.Tensor, ...]:
        self.runs += 1
        image = torch.from_numpy(image_chw).permute(1, 2, 0)
        return (image.cumsum(1), image.cumsum(0)[::2, ::2])


def prefix_of(model: BalrSam) -> Callable[[np.ndarray], tuple[torch.Tensor, ...]]:
    """The maps of one image."""
    return lambda image: tuple(
        maps[0] for maps in model.prefix(torch.from_numpy(image)[None]) if maps is not None
    )


@pytest.mark.parametrize("stages", [0, 1])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float16, 2e-2), (torch.float32, 1e-4)])
def test_logits_are_the_same_with_and_without_kept_features(models, keep, reader, stages, dtype, tolerance):
    model = models[stages].train(False)
    sample = dataclasses.replace(SAMPLE, geometry=Geometry2d())
    image_bchw = torch.from_numpy(reader.read(sample)[0])[None]
    kept = keep(prefix_of(model), dtype=dtype)
    for _ in ("computed", "read back"):
        with torch.no_grad():
            expected = model(image_bchw)
            found = model(image_bchw, Features(*kept.stacked([sample])))
        assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


def test_each_slice_is_encoded_once_and_found_again_later(keep):
    encode = Counting()
    geometries = [Geometry2d(), Geometry2d(angle=0.3), Geometry2d(mirror=(True, True, False))]
    geometries += [Geometry2d(mirror=(False, False, True)), Geometry2d(mirror=(False, True, True))]
    samples = [dataclasses.replace(SAMPLE, geometry=geometry) for geometry in geometries]
    first = keep(encode).stacked(samples)
    assert encode.runs == 1
    again = keep(encode).stacked(samples)
    assert encode.runs == 1
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_maps_are_mirrored_as_the_picture_is(keep, reader):
    mirrored = dataclasses.replace(SAMPLE, geometry=Geometry2d(mirror=(False, True, True)))
    expected = Counting()(reader.read(SAMPLE)[0])
    found = keep(Counting(), dtype=torch.float32).read(mirrored)
    assert all(torch.equal(one, other.flip((0, 1))) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("where", ["truncated", "one byte"])
def test_a_damaged_file_is_made_again(keep, where, tmp_path):
    encode = Counting()
    expected = keep(encode).read(SAMPLE)
    path = tmp_path / "features" / "encoder" / "case_a" / "0_4.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content) if where == "one byte" else bytes(content[: len(content) // 2]))
    found = keep(encode).read(SAMPLE)
    assert encode.runs == 2
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_case_preprocessed_otherwise_is_encoded_again(keep):
    encode = Counting()
    keep(encode).read(SAMPLE)
    keep(encode, content="preprocessed otherwise").read(SAMPLE)
    assert encode.runs == 2


def test_values_beyond_half_precision_stay_finite(keep):
    (maps,) = keep(lambda image: (torch.full((2, 2, 1), 1e6),)).read(SAMPLE)
    assert bool(maps.isfinite().all())
