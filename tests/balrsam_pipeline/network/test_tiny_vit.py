"""TinyViT: what loads, what trains, and that its frozen part can be kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.tiny_vit import random_tiny_sam
from torch import Tensor

from balrsam_pipeline.errors import CheckpointError, PlanError
from balrsam_pipeline.network import (
    BalrSam,
    Features,
    build,
    checkpoint_sha256,
    count_cost,
    describe_network,
    load_trained,
    preset,
    trainable_state,
)
from balrsam_pipeline.network.checkpoints import read_sam
from balrsam_pipeline.network.tiny_vit_weights import CLASSIFIER
from balrsam_pipeline.plan import NetworkPlan

MakePlan = Callable[..., NetworkPlan]
SMALL = (64, 48)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in LiteMedSAM's form, random weights."""
    path = tmp_path_factory.mktemp("tiny") / "lite.pth"
    torch.save(random_tiny_sam(4), path)
    return path


@pytest.fixture
def tiny(make_plan: MakePlan) -> MakePlan:
    """A plan of TinyViT as in LiteMedSAM at a small size."""

    def make(**changes: object) -> NetworkPlan:
        values = {"backbone": "vit_t", "embedding_stride": 4, "mask_stride": 1, "input_size": SMALL}
        return make_plan(**{**values, **changes})

    return make


def moved(model: BalrSam) -> BalrSam:
    """The network with all trained tensors moved, as after training."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("stages", [0, 1, 2, 3])
def test_kept_features_give_the_same_logits_and_gradients(stages: int, tiny: MakePlan, file: Path) -> None:
    model = moved(build(tiny(adapted_stages=stages), file))
    image, gradients, logits = torch.randn(2, 3, 50, 40), [], []
    for features in (None, model.prefix(image)):
        model.zero_grad()
        out = model(image, features)
        out.square().mean().backward()
        logits.append(out.detach())
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    torch.testing.assert_close(logits[1], logits[0], atol=1e-5, rtol=1e-5)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-4, rtol=1e-3, msg=name)


def test_trained_blocks_can_be_computed_again_from_some_step_on(tiny: MakePlan, file: Path) -> None:
    model = build(tiny(adapted_stages=2), file)
    assert [model.compute_again(), model.compute_again()] == [True, False]
    assert model.image_encoder.checkpointed == 6 + 2  # blocks of the last two stages


@pytest.mark.parametrize(
    ("stages", "channels", "stride", "early"),
    [(0, 256, 4, 160), (1, 160, 4, 0), (2, 160, 4, 0), (3, 128, 2, 0)],
)
def test_what_is_kept_of_an_image(
    stages: int, channels: int, stride: int, early: int, tiny: MakePlan, file: Path
) -> None:
    features = build(tiny(adapted_stages=stages), file).prefix(torch.randn(2, 3, 30, 30))
    assert features.tokens_byxc.shape == (2, SMALL[0] // stride, SMALL[1] // stride, channels)
    assert not features.tokens_byxc.requires_grad
    assert (0 if features.early_byxc is None else features.early_byxc.shape[-1]) == early


@pytest.mark.parametrize("stages", [0, 1, 2, 3])
def test_the_last_stages_alone_are_adapted(stages: int, tiny: MakePlan, file: Path) -> None:
    model = build(tiny(adapted_stages=stages), file)
    model(torch.randn(1, 3, *SMALL)).square().mean().backward()
    encoder = {name for name, parameter in model.image_encoder.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[1] for name in encoder} == {str(3 - index) for index in range(stages)}
    assert all(".lora." in name or "_adapter." in name for name in encoder)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad or "boundary" in name, name


def test_the_suffix_of_a_trained_network_is_not_run_before_it_is_needed(tiny: MakePlan, file: Path) -> None:
    model = build(tiny(adapted_stages=1), file)
    image = torch.randn(1, 3, *SMALL)
    before = model.prefix(image)
    after = moved(model).prefix(image)
    assert torch.equal(before.tokens_byxc, after.tokens_byxc)


def test_a_vit_takes_kept_features_too(make_plan: MakePlan) -> None:
    model = build(make_plan(backbone="vit_mini", from_scratch=True, input_size=(32, 32))).eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(image, model.prefix(image)), model(image))


def test_features_can_be_stored_in_half_precision(tiny: MakePlan, file: Path) -> None:
    model = build(tiny(adapted_stages=1), file).eval()
    image = torch.rand(1, 3, *SMALL)
    kept = Features(model.prefix(image).tokens_byxc.half().float())
    with torch.no_grad():
        torch.testing.assert_close(model(image, kept), model(image), atol=0.02, rtol=0.02)


def test_merging_keeps_the_logits_and_leaves_no_lora(tiny: MakePlan, file: Path) -> None:
    model = moved(build(tiny(adapted_stages=2), file)).eval()
    image = torch.randn(1, 3, *SMALL)
    with torch.no_grad():
        before = model(image)
        model.merge_for_inference()
        torch.testing.assert_close(model(image), before, atol=1e-4, rtol=1e-4)
    assert not [name for name in model.state_dict() if ".lora." in name]


def test_a_trained_file_belongs_to_its_base(tiny: MakePlan, file: Path, tmp_path: Path) -> None:
    model, path = moved(build(tiny(), file)).eval(), tmp_path / "final.safetensors"
    tensors = {f"ema/{name}": tensor.contiguous() for name, tensor in trainable_state(model).items()}
    save_file(tensors, path, {"base_sha256": checkpoint_sha256(file)})
    again, image = load_trained(path, tiny(), file), torch.randn(1, 3, *SMALL)
    model.merge_for_inference()
    with torch.no_grad():
        assert torch.equal(again(image), model(image))
    save_file(tensors, path, {"base_sha256": "0" * 64})
    with pytest.raises(CheckpointError, match="trained on the base"):
        load_trained(path, tiny(), file)


def test_strides_are_known_by_content_and_the_other_ones_file_is_refused(
    tiny: MakePlan, file: Path, tmp_path: Path
) -> None:
    mobile = tmp_path / "mobile.pt"
    torch.save({"model_state": {f"sam.{name}": value for name, value in random_tiny_sam(16).items()}}, mobile)
    assert read_sam(file, "vit_t", 4).keys() == read_sam(mobile, "vit_t", 16).keys()
    with pytest.raises(CheckpointError, match=r"(?s)mobile.*embedding_stride 16.*embedding_stride 4"):
        build(tiny(), mobile)
    with pytest.raises(CheckpointError, match=r"(?s)vit_t with embedding_stride 4.*vit_b"):
        read_sam(file, "vit_b")


def test_a_renamed_a_missing_and_a_misshapen_key_are_named(tmp_path: Path) -> None:
    tensors = random_tiny_sam(4)
    norm, bias = (
        "image_encoder.layers.1.blocks.0.local_conv.bn.running_var",
        "image_encoder.layers.2.blocks.5.attn",
    )
    tensors["image_encoder.other"] = tensors.pop(norm)
    tensors[f"{bias}.attention_biases"] = tensors[f"{bias}.attention_biases"][:, :49]
    torch.save(tensors, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError) as caught:
        read_sam(tmp_path / "bad.pth", "vit_t", 4)
    for word in (
        f"missing: {norm}",
        "unexpected: image_encoder.other",
        f"{bias}.attention_biases (5, 49) for (5, 196)",
    ):
        assert word in str(caught.value)


def test_the_classifier_in_mobile_sams_file_is_left_aside(tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = random_tiny_sam(16)
    torch.save({**tensors, **{key: torch.zeros(2) for key in CLASSIFIER}}, tmp_path / "mobile_sam.pt")
    assert read_sam(tmp_path / "mobile_sam.pt", "vit_t", 16).keys() == tensors.keys()


def test_a_norm_folds_into_its_convolution() -> None:
    from balrsam_pipeline.network.tiny_vit_weights import folded

    generator = torch.Generator().manual_seed(0)
    convolution, norm = torch.nn.Conv2d(3, 5, 3, bias=False), torch.nn.BatchNorm2d(5).eval()
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        tensor.normal_(generator=generator)  # type: ignore[union-attr]
    image = torch.randn(1, 3, 8, 8, generator=generator)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    vectors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    weight, bias = folded(convolution.weight, *vectors)
    expected = norm(convolution(image))
    torch.testing.assert_close(
        torch.nn.functional.conv2d(image, weight, bias), expected, atol=1e-5, rtol=1e-5
    )


def test_plans_that_contradict_themselves_are_refused(tiny: MakePlan) -> None:
    for name, changes in {
        "from_scratch": {"from_scratch": True},
        "embedding_stride": {"backbone": "vit_b"},
        "mask_stride": {"mask_stride": 2},
        "adapted_stages": {"adapted_stages": 4},
        "input_ranges": {"input_ranges": ((0.0, 1.0),)},
    }.items():
        with pytest.raises(PlanError, match=name):
            tiny(**changes)


def test_a_step_is_counted_and_keeping_more_of_the_encoder_keeps_less_for_backward() -> None:
    from dataclasses import replace

    costs = [count_cost(replace(preset("vit_t"), adapted_stages=stages), (256, 256)) for stages in range(4)]
    kept = [cost.saved_bytes for cost in costs]
    assert kept == sorted(kept)
    assert kept[3] > 2 * kept[0]
    assert "last 1 of its 3 stages" in describe_network(preset("vit_t"))
