from __future__ import annotations

import dataclasses

import pytest
import torch
from support.plans import example_plan
from support.volumes import volume_configuration, volume_network
from torch import nn

from balrsam_pipeline.errors import CheckpointError, TrainingError
from balrsam_pipeline.layout import ModelFolder
from balrsam_pipeline.network import preset, random_model, trainable_state
from balrsam_pipeline.plan import write_versioned
from trainers.checkpoints import Checkpoint, write_checkpoint
from trainers.initial_weights import freeze_decoder, start_from


def weights(classes, value, grid=2):
    return {
        "image_encoder.pos_embed": torch.full((1, grid, grid, 4), value),
        "image_encoder.block": torch.full((3, 3), value),
        "mask_decoder.class_tokens": torch.stack([torch.full((4,), value + row) for row in range(classes)]),
    }


def write(path, tensors, classes):
    write_checkpoint(
        path, Checkpoint({f"ema/{name}": tensor for name, tensor in tensors.items()}, {"classes": classes})
    )
    return path


def test_classes_are_matched_by_name_and_the_rest_is_copied(tmp_path):
    path = write(tmp_path / "trained.safetensors", weights(3, 10.0), ["background", "liver", "spleen"])
    own = weights(3, 0.0)
    start_from(path, own, ["background", "spleen", "kidney"])
    assert own["image_encoder.block"].unique().tolist() == [10.0]
    assert own["mask_decoder.class_tokens"][:, 0].tolist() == [10.0, 12.0, 2.0]


SLICES = dataclasses.replace(
    preset("vit_mini", classes=3, input_channels=1), from_scratch=True, input_size=(32, 32), decoder_rank=8
)
NETWORKS = {
    "mask decoder": SLICES,
    "pyramid": dataclasses.replace(SLICES, backbone="cnn", decoder="pyramid", cden_width=8, mask_stride=2),
    "volumes": volume_network(),
}
BY_NAME = ["background", "liver", "spleen"]


@pytest.fixture(params=NETWORKS)
def trained_network(request, tmp_path):
    """A plan's network of each kind: the plan, the network as it was trained, and its checkpoint."""
    network = NETWORKS[request.param]
    torch.manual_seed(0)
    model = random_model(network).train(False)
    return network, model, write(tmp_path / "trained.safetensors", trainable_state(model), BY_NAME)


def test_classes_in_another_order_are_segmented_as_they_were(trained_network):
    network, trained, path = trained_network
    torch.manual_seed(1)
    own = random_model(network).train(False)
    start_from(path, trainable_state(own), ["background", "spleen", "liver"])
    image = torch.randn(1, 1, *network.input_shape)
    with torch.no_grad():
        torch.testing.assert_close(own(image), trained(image)[:, [0, 2, 1]], atol=1e-4, rtol=1e-4)


def test_beside_one_more_class_those_that_are_known_keep_their_rows(trained_network):
    network, trained, path = trained_network
    torch.manual_seed(1)
    larger = random_model(dataclasses.replace(network, classes=4))
    before, own = (
        {name: tensor.clone() for name, tensor in trainable_state(larger).items()},
        trainable_state(larger),
    )
    start_from(path, own, ["background", "kidney", "spleen", "liver"])
    of_class = [name for name, tensor in trainable_state(trained).items() if tensor.shape != own[name].shape]
    assert of_class
    for name in of_class:
        source = trainable_state(trained)[name]
        assert torch.equal(own[name][[0, 2, 3]], source[[0, 2, 1]]), name
        assert torch.equal(own[name][1], before[name][1]), name


def test_an_mlp_that_classes_share_is_copied_for_the_class_that_reads_it(tmp_path):
    name = "mask_decoder.hypernetworks.weights.0"
    mlps = torch.arange(4.0)[:, None, None].expand(4, 2, 2).contiguous()
    known = [f"class {index}" for index in range(6)]
    path = write(tmp_path / "trained.safetensors", {name: mlps}, known)
    own = {name: torch.full((3, 2, 2), -1.0)}
    start_from(path, own, ["new", "class 5", "class 3"])  # class 5 reads MLP 5 modulo 4
    assert own[name][:, 0, 0].tolist() == [-1.0, 1.0, 3.0]


def test_positions_are_stretched_to_another_grid_and_misfits_are_left_and_named(tmp_path, caplog):
    caplog.set_level("INFO")
    trained = weights(2, 5.0) | {"image_encoder.block": torch.zeros(2, 2)}
    path = write(tmp_path / "trained.safetensors", trained, ["background", "a"])
    own = weights(2, 0.0, grid=6)
    start_from(path, own, ["background", "a"])
    torch.testing.assert_close(own["image_encoder.pos_embed"], torch.full((1, 6, 6, 4), 5.0))
    assert own["image_encoder.block"].abs().max() == 0
    assert "left as they were: image_encoder.block" in caplog.text


@pytest.fixture
def deeper(tmp_path):
    """The network over volumes for patches twice as deep; weights of the other; their file beside a plan."""
    network = NETWORKS["volumes"]
    torch.manual_seed(0)
    source = trainable_state(random_model(network))
    plan = example_plan()
    configuration = volume_configuration(network=network)
    plan = dataclasses.replace(plan, configurations=plan.configurations | {"3d": configuration})
    model = ModelFolder(tmp_path / "3d__balrsam")
    write_versioned(model.plan, plan)
    path = model.fold(0).checkpoint("final")
    tensors = {f"ema/{name}": tensor for name, tensor in source.items()}
    known = {"classes": BY_NAME, "configuration": "3d", "plan_sha256": plan.sha256()}
    write_checkpoint(path, Checkpoint(tensors, known))
    volume = dataclasses.replace(network.volume, depth=2 * network.volume.depth)
    return dataclasses.replace(network, volume=volume), source, path


def test_positions_of_volumes_are_stretched_from_one_plan_s_grid_to_the_other_s(deeper, caplog):
    network, source, path = deeper
    own = trainable_state(random_model(network))
    caplog.set_level("INFO")
    start_from(path, own, BY_NAME, network)
    for name in ("tokens.pos_embed", "tokens.decoder_positions"):
        trained = source[name].reshape(4, 4, 4, -1)  # 8 x 16 x 16 voxels, of which 2 x 4 x 4 are a token
        expected = nn.functional.interpolate(
            trained.permute(3, 0, 1, 2)[None], size=(8, 4, 4), mode="trilinear", align_corners=False
        )
        torch.testing.assert_close(own[name].reshape(8, 4, 4, -1).permute(3, 0, 1, 2)[None], expected)
    assert "left as they were: none" in caplog.text


def test_without_its_plan_positions_of_other_patches_are_left_and_named(deeper, caplog):
    network, _, path = deeper
    ModelFolder(path.parent.parent).plan.unlink()
    own = trainable_state(random_model(network))
    before = own["tokens.pos_embed"].clone()
    caplog.set_level("INFO")
    start_from(path, own, BY_NAME, network)
    assert torch.equal(own["tokens.pos_embed"], before)
    assert "left as they were: tokens.pos_embed, tokens.decoder_positions" in caplog.text


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    path = write(tmp_path / "trained.safetensors", {"other": torch.zeros(1)}, [])
    with pytest.raises(CheckpointError, match="no tensor that fits"):
        start_from(path, weights(2, 0.0), ["background", "a"])


def test_freezing_the_decoder_leaves_class_tokens_trainable():
    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.class_tokens, self.transformer = nn.Parameter(torch.zeros(2, 4)), nn.Linear(4, 4)

    model = nn.Module()
    model.mask_decoder, model.cden = Decoder(), nn.Linear(2, 2)
    freeze_decoder(model)
    assert {name for name, parameter in model.named_parameters() if not parameter.requires_grad} == {
        "mask_decoder.transformer.weight",
        "mask_decoder.transformer.bias",
    }


def test_of_a_network_over_volumes_the_two_way_transformer_is_frozen():
    model = random_model(NETWORKS["volumes"])
    names = {name for name, _ in model.named_parameters()}
    freeze_decoder(model)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {
        name for name in names if name.startswith(("tokens.transformer.", "tokens.decoder_pos"))
    }


def test_where_there_is_no_decoder_to_freeze_that_is_refused():
    with pytest.raises(TrainingError, match=r"(?s)--freeze decoder.*without a mask decoder"):
        freeze_decoder(random_model(NETWORKS["pyramid"]))
