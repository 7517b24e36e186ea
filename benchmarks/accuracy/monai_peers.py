"""Peers with our data, loss, augmentation and budget: MONAI's networks in place of ours.

    PYTHONPATH=benchmarks/accuracy balrsam train DATASET --settings settings.json

with `{"network_extension": "monai_peers:basic_unet", "coarse_share": 0}` and a plan of the backbone `cnn`,
whose pyramid they replace: patch, batch and all that happens to a sample stay. Neither gets boundary or
coarser supervision, nor half-sized images at first.
"""

from __future__ import annotations

from torch import Tensor, nn

from balrsam_pipeline.plan import NetworkPlan


class InPlaceOfPyramid(nn.Module):
    """A MONAI network, called as the pyramid is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.boundary = None

    def forward(
        self, image_bcyx: Tensor, encoded: tuple[Tensor, ...] = ()
    ) -> tuple[Tensor, tuple[Tensor, ...], None]:
        """Logits (b, k, y, x), and nothing coarser."""
        return self.network(image_bcyx), (), None


def basic_unet(model: nn.Module, network: NetworkPlan) -> nn.Module:
    """MONAI's BasicUNet with its default features, 32 to 256: two million parameters."""
    from monai.networks.nets import BasicUNet

    model.pyramid = InPlaceOfPyramid(
        BasicUNet(spatial_dims=2, in_channels=network.input_channels, out_channels=network.classes)
    )
    return model


def segresnet(model: nn.Module, network: NetworkPlan) -> nn.Module:
    """MONAI's SegResNet with 16 channels at first: 1.6 million parameters."""
    from monai.networks.nets import SegResNet

    model.pyramid = InPlaceOfPyramid(
        SegResNet(
            spatial_dims=2, init_filters=16, in_channels=network.input_channels, out_channels=network.classes
        )
    )
    return model
