"""BALR-SAM: prompt-free segmentation with an adapted Segment Anything Model.

Source: BALR-SAM, arXiv 2509.24204. Suffixes: b batch, c channels, k classes, y x pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.network.cden import Cden
from balrsam_pipeline.network.decoder import DetailMap, MaskDecoder
from balrsam_pipeline.network.encoder import ImageEncoder
from balrsam_pipeline.network.layers import Features, shrunk
from balrsam_pipeline.network.pixels import ToEncoderStatistics, ToUnitRange
from balrsam_pipeline.network.pyramid import Pyramid
from balrsam_pipeline.network.stack import as_slices, as_volumes
from balrsam_pipeline.network.stock_sam import EMBEDDING
from balrsam_pipeline.network.tiny_vit import TinyVit
from balrsam_pipeline.plan import NetworkPlan

SAM_CHANNELS = 3
# slices larger than this are seen half as large at first though their masks are as fine as they: thin labels
# in slices of 224 gained 0.02 Dice, vessels in tiles of 128 0.006; hippocampi in 48 lost 0.003
COARSE_PIXELS = 96


@dataclass(frozen=True, slots=True)
class TrainingOutput:
    """Logits (b, k, y, x) at the image's size, boundary logits (b, 1, ·, ·) at a quarter of the input size,
    and logits (b, k, ·, ·) at coarser strides, finest first, where the decoder gives them. Of volumes all
    have an axis z before y."""

    logits: Tensor
    boundary_logits: Tensor | None
    coarser_logits: tuple[Tensor, ...] = ()


class BalrSam(nn.Module):
    """The network of a plan, with random weights; `network.build` gives it SAM's.

    Args:
        network: what to build.
    """

    def __init__(self, network: NetworkPlan) -> None:
        super().__init__()
        self.network = network
        self._coarser = 1
        project = network.input_channels != SAM_CHANNELS and not network.from_scratch
        self.channel_projection = _channel_projection(network.input_channels) if project else None
        channels = network.input_channels if network.from_scratch else SAM_CHANNELS
        self.to_unit_range = ToUnitRange(network)
        self.to_encoder_statistics = ToEncoderStatistics(network)
        self.image_encoder = _encoder(network, channels)
        early = self.image_encoder.early_channels if self.image_encoder is not None else 0
        if network.decoder == "pyramid":
            self.pyramid = Pyramid(network, network.input_channels, (EMBEDDING, early) if early else ())
        else:
            self.cden = Cden(network, network.input_channels, early)
            self.mask_decoder = MaskDecoder(network)

    def forward(self, image: Tensor, features: Features | None = None) -> Tensor:
        """Segment images.

        Args:
            image: (b, c, y, x) float, normalised as the plan says; (b, c, z, y, x) where the plan has stacks,
                of as many slices.
            features: what `prefix` returned for these images, then not computed again.

        Returns:
            logits (b, k, y, x) or (b, k, z, y, x) at the image's own size.
        """
        return self.forward_training(image, features).logits

    def forward_training(self, image: Tensor, features: Features | None = None) -> TrainingOutput:
        """As `forward`, with the boundary logits of the CDEN (None in eval mode and after
        `merge_for_inference`)."""
        stack = self.network.stack
        if not stack:
            return self._of_slices(image, features)
        output = self._of_slices(as_slices(image), features)
        boundary = output.boundary_logits
        return TrainingOutput(
            as_volumes(output.logits, stack), None if boundary is None else as_volumes(boundary, stack)
        )

    def _of_slices(self, image: Tensor, features: Features | None) -> TrainingOutput:
        """Of images (b, c, y, x), or of the slices of stacks one after the other."""
        resized = resize(image, self.network.input_size)
        size = (image.shape[-2], image.shape[-1])
        if self.network.decoder == "pyramid":
            encoded = self._encoded(resized, features)
            if self._coarser > 1:
                resized = shrunk(resized, self._coarser)
            logits, coarser, boundary = self.pyramid(resized, encoded)
            return TrainingOutput(resize(logits, size), boundary, coarser)
        embedding, details, boundary = self.embed(resized, features)
        return TrainingOutput(resize(self.mask_decoder(embedding, details), size), boundary)

    def prefix(self, image: Tensor) -> Features:
        """What the encoder computes of images (b, c, y, x) before its first trained block; no gradients.

        It is the same for an image throughout training where the channel projection is not trained (three
        channels, or `projection` "fixed" in the plan) and the encoder's own weights are frozen.
        """
        if self.image_encoder is None:
            raise ValueError(f"{self.network.backbone} has no image encoder")
        with torch.no_grad():
            return self.image_encoder.prefix(self.as_encoder_saw(resize(image, self.network.input_size)))

    def as_encoder_saw(self, image: Tensor) -> Tensor:
        """An image at the input size in the size, channels and statistics that the encoder is to see."""
        if self.network.encoder_shrink > 1:
            image = shrunk(image, self.network.encoder_shrink)
        image = self.to_unit_range(image)
        if self.channel_projection is not None:
            image = self.channel_projection(image)
        statistics: Tensor = self.to_encoder_statistics(image)
        return statistics

    def embed(
        self, image: Tensor, features: Features | None = None
    ) -> tuple[Tensor, tuple[DetailMap, ...], Tensor | None]:
        """Image embedding with detail, detail maps and boundary logits of an image at the input size."""
        embedding, early = self._encoded(image, features)
        detail, maps, boundary = self.cden(image, early, embedding)
        return embedding + detail, maps, boundary

    def _encoded(self, image: Tensor, features: Features | None) -> tuple[Tensor, ...]:
        """What the encoder makes of an image at the input size: embedding and early feature, (b, c, y, x);
        nothing without an encoder."""
        if self.image_encoder is None:
            return ()
        if features is None:
            embedding, early_byxc = self.image_encoder(self.as_encoder_saw(image))
        else:
            embedding, early_byxc = self.image_encoder.suffix(features)
        return embedding, early_byxc.permute(0, 3, 1, 2)

    @property
    def mirrors_maps(self) -> bool:
        """Whether the encoder's maps of an image, mirrored, stand for those of the mirrored image: so it is
        trained where they are kept for a pyramid."""
        return self.network.decoder == "pyramid" and self.image_encoder is not None

    @property
    def predicts_rotated(self) -> bool:
        """Whether prediction is to average over rotated slices: convolutions alone are quick enough."""
        return self.image_encoder is None

    def train_coarser(self, times: int) -> bool:
        """From now on see images this many times smaller, in training and its quick validation: convolutions
        alone can, where masks are coarser than the input or images are not small (`COARSE_PIXELS`). Returns
        whether they are seen smaller."""
        large = self.network.mask_stride > 1 or max(self.network.input_size) > COARSE_PIXELS
        if self.network.decoder == "pyramid" and large:
            self._coarser = times
        return self._coarser > 1

    def compute_again(self) -> bool:
        """From now on keep as little of the encoder for backward as can be: all its blocks are computed again
        there. Returns whether that is less than before."""
        return self.image_encoder is not None and self.image_encoder.compute_again()

    def merge_for_inference(self) -> None:
        """Fold LoRA into the weights and drop the boundary head; logits stay the same up to rounding.
        Training ends here."""
        if self.image_encoder is not None:
            self.image_encoder.merge_lora()
        (self.pyramid if self.network.decoder == "pyramid" else self.cden).boundary = None


def _encoder(network: NetworkPlan, channels: int) -> ImageEncoder | TinyVit | None:
    if network.backbone == "cnn":
        return None
    return TinyVit(network, channels) if network.backbone == "vit_t" else ImageEncoder(network, channels)


def resize(image_bcyx: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, without antialiasing; nothing where the size is right."""
    if tuple(image_bcyx.shape[-2:]) == size:
        return image_bcyx
    return functional.interpolate(image_bcyx, size=size, mode="bilinear", antialias=False)


def _channel_projection(channels: int) -> nn.Conv2d:
    """C channels to SAM's three; starts as the average of the channels in each third, in order (a grey image
    three times)."""
    layer = nn.Conv2d(channels, SAM_CHANNELS, 1)
    with torch.no_grad():
        layer.weight.copy_(
            functional.adaptive_avg_pool1d(torch.eye(channels), SAM_CHANNELS).t()[:, :, None, None]
        )
        nn.init.zeros_(layer.bias) if layer.bias is not None else None
    return layer
