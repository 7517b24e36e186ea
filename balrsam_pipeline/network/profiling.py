"""Counting what a network costs: saved activation bytes, FLOPs, parameters. On the meta device nothing is
allocated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from balrsam_pipeline.network.builder import Model, freeze, random_model
from balrsam_pipeline.plan import TINY_VIT_STAGES, NetworkPlan

PARTS = {
    "convolutions over volumes": lambda name: name.startswith(("encoder.", "fuses.")),
    "tokens and class tokens": lambda name: name.startswith(("tokens.", "hypernetworks.", "to_masks.")),
    "image encoder, SAM's": lambda name: (
        name.startswith("image_encoder.") and ".lora." not in name and "_adapter." not in name
    ),
    "LoRA on q and v": lambda name: ".lora." in name,
    "bottleneck adapters": lambda name: "_adapter." in name,
    "CDEN": lambda name: name.startswith("cden."),
    "pyramid": lambda name: name.startswith("pyramid."),
    "mask decoder": lambda name: name.startswith("mask_decoder."),
    "channel projection": lambda name: name.startswith("channel_projection."),
}


@dataclass(slots=True)
class SavedBytes:
    """What autograd keeps for backward: each storage once, parameters and other excluded tensors not at
    all."""

    excluded: set[int]
    kept: dict[int, Tensor] = field(
        default_factory=dict
    )  # tensors are held, so that no address is used twice

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(tensor.untyped_storage().nbytes() for tensor in self.kept.values())

    def add(self, tensor: Tensor) -> Tensor:
        """Note a saved tensor; returns it."""
        key = _storage(tensor)
        if key not in self.excluded:
            self.kept.setdefault(key, tensor.detach())
        return tensor


@contextmanager
def count_saved_bytes(module: nn.Module) -> Iterator[SavedBytes]:
    """Within the context, count what is saved for backward beside the parameters and buffers of `module`."""
    own = [*module.parameters(), *module.buffers()]
    saved = SavedBytes({_storage(tensor) for tensor in own})
    with torch.autograd.graph.saved_tensors_hooks(saved.add, _same):
        yield saved


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCost:
    """What a training step of a network costs, counted.

    Attributes:
        parameters: all of them.
        trained: those with gradients.
        saved_bytes: activations kept for backward, fp32, for the batch.
        forward_flops: of the batch, a multiply-add counted as two.
        parts: parameters (all, trained) of each part.
    """

    parameters: int
    trained: int
    saved_bytes: int
    forward_flops: int
    parts: dict[str, tuple[int, int]]


def meta_network(network: NetworkPlan) -> Model:
    """The network of a plan on the meta device, frozen and trained as `build` would have it: shapes, but no
    memory."""
    with torch.device("meta"):
        model = random_model(network)
    if not network.from_scratch:
        freeze(model)
    return model


def count_cost(network: NetworkPlan, patch_shape: tuple[int, ...], batch_size: int = 1) -> NetworkCost:
    """Count a training step of a plan's network on patches (y, x) or (z, y, x), on the meta device."""
    model = meta_network(network)
    image = torch.empty(batch_size, network.input_channels, *patch_shape, device="meta")
    with _flop_counter() as flops, count_saved_bytes(model) as saved:
        output = model.forward_training(image)
    del output
    return NetworkCost(
        parameters=_count(model, lambda _: True),
        trained=_count(model, lambda _: True, trained=True),
        saved_bytes=saved.total,
        forward_flops=flops.get_total_flops(),
        parts={
            part: (_count(model, inside), _count(model, inside, trained=True))
            for part, inside in PARTS.items()
        },
    )


def prediction_multiply_adds(network: NetworkPlan) -> int:
    """Multiply-adds by which a network predicts one input of its plan's size, counted on the meta device;
    what a user's own package changes is left out."""
    model = meta_network(replace(network, extension="")).eval().requires_grad_(False)
    image = torch.empty(1, network.input_channels, *network.input_shape, device="meta")
    with _flop_counter() as flops:
        model(image)
    return int(flops.get_total_flops()) // 2


def describe_network(network: NetworkPlan) -> str:
    """A table of the network's parts with trained and frozen parameters, saved activation bytes and FLOPs of
    one image."""
    cost = count_cost(network, network.input_shape)
    rows = [f"{'part':<24}{'trained':>14}{'frozen':>14}{'trained %':>11}"]
    for part, (count, trained) in cost.parts.items():
        if count:
            rows.append(
                f"{part:<24}{trained:>14,}{count - trained:>14,}{100 * trained / cost.parameters:>10.2f}%"
            )
    share = 100 * cost.trained / cost.parameters
    rows.append(f"{'all':<24}{cost.trained:>14,}{cost.parameters - cost.trained:>14,}{share:>10.2f}%")
    size = "×".join(map(str, network.input_shape))
    start = (
        "trained from scratch"
        if network.from_scratch
        else f"LoRA rank {network.lora_rank}, adapters rank {network.adapter_rank}"
    )
    if network.backbone == "vit_t":
        start += f" in the last {network.adapted_stages} of its {TINY_VIT_STAGES} stages with attention"
    rank = f" rank {network.decoder_rank}" if network.decoder_attention == "low_rank" else ""
    decoder = "a pyramid" if network.decoder == "pyramid" else f"attention {network.decoder_attention}{rank}"
    return "\n".join(
        [
            f"BALR-SAM {network.backbone}, {start}, decoder {decoder}, {network.classes} classes, "
            f"input {size}",
            "",
            *rows,
            "",
            f"saved activations, one image {size}, fp32: {cost.saved_bytes / 2**20:,.1f} MiB",
            f"forward, one image: {cost.forward_flops / 1e9:,.1f} GFLOP",
        ]
    )


def _count(model: nn.Module, inside: Callable[[str], bool], *, trained: bool = False) -> int:
    return sum(
        p.numel() for name, p in model.named_parameters() if inside(name) and (p.requires_grad or not trained)
    )


def _storage(tensor: Tensor) -> int:
    return int(
        tensor.untyped_storage()._cdata
    )  # an address of data would be 0 for every tensor on the meta device


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _flop_counter() -> FlopCounterMode:
    attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
    return FlopCounterMode(display=False, custom_mapping=attention)


def _attention_flops(query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
    pairs = query[:-1].numel() * key[-2]
    return 2 * pairs * (query[-1] + value[-1])
