"""How weights move: AdamW with decay where it belongs, the learning-rate schedule, mixed precision, and the
moving average of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from balrsam_pipeline.hardware import half_precision
from trainers.adamw import EagerAdamW
from trainers.config import TrainingConfig

# in a parameter's own name: learned positions and tokens are no projections (decay would erase them), nor are
# biases, also where several lie in one matrix
UNDECAYED = ("token", "pos", "rel_", "relative", "embedding", "bias")
LORA = "lora"  # a part of the path: decay would erase what it has learnt, too
LONGEST_AVERAGE = 0.9999


def make_optimiser(
    model: nn.Module, config: TrainingConfig, is_pretrained: Callable[[str], bool] = lambda name: False
) -> torch.optim.AdamW:
    """AdamW over the trainable parameters: matrices and kernels decay; norms, biases, positions, tokens and
    LoRA do not.

    Args:
        is_pretrained: whether a parameter of this name starts as SAM's own; these take a share of the
            learning rate, which their group names as `share`.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            projects = parameter.ndim >= 2 and not is_spared(name)
            share = config.pretrained_rate if is_pretrained(name) else 1.0
            groups.setdefault((config.weight_decay if projects else 0.0, share), []).append(parameter)
    return EagerAdamW(
        [
            {"params": parameters, "weight_decay": decay, "share": share}
            for (decay, share), parameters in groups.items()
        ],
        lr=config.learning_rate or 0.0,
        fused=True,
    )


def is_spared(name: str) -> bool:
    """Whether a parameter of this name does not decay whatever its shape: by its own name, not those of the
    modules that it lies in.

    Example:
        >>> is_spared("tokens.class_tokens"), is_spared("tokens.embed.weight"), is_spared("mlps.biases.2")
        (True, False, True)
    """
    parts = name.lower().split(".")
    own = next((part for part in reversed(parts) if not part.isdigit()), "")
    return LORA in parts or any(word in own for word in UNDECAYED)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give each group its share of the rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["share"]


def learning_rate(progress: float, config: TrainingConfig) -> float:
    """The learning rate when the share `progress` (0 to 1) of the budget is used: linear warm-up times poly
    decay."""
    warm = min(1.0, progress / config.warmup_fraction) if config.warmup_fraction > 0 else 1.0
    return float((config.learning_rate or 0.0) * warm * (1 - min(progress, 1.0)) ** config.poly_exponent)


@dataclass(frozen=True, slots=True)
class Precision:
    """How the forward pass computes on a device, and the scaler that fp16 needs (it is inert otherwise)."""

    device: torch.device
    dtype: torch.dtype
    scaler: torch.amp.GradScaler

    def autocast(self) -> AbstractContextManager[None]:
        """The context of the forward pass."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)


def choose_precision(device: torch.device, amp: bool) -> Precision:
    """The fastest sound precision of `device`."""
    dtype = torch.float32
    if amp and device.type == "cuda":
        dtype = half_precision(device)
    return Precision(device, dtype, torch.amp.GradScaler(device.type, enabled=dtype == torch.float16))


class WeightAverage:
    """An exponential moving average whose span grows with training, so that it suits any budget.

    The decay at step t is (1 - 1/t)^(1/width): the average spans about `width` of the steps so far. It starts
    as the weights themselves,
    which is its warm-up. Source: power-function EMA, Karras et al., arXiv 2312.02696.
    """

    def __init__(self, weights: Mapping[str, Tensor], width: float) -> None:
        self._weights, self._power = dict(weights), 1 / width
        self.average = {name: tensor.detach().clone() for name, tensor in self._weights.items()}
        floating = [name for name, tensor in self._weights.items() if tensor.is_floating_point()]
        self._copied = [name for name in self._weights if name not in set(floating)]
        self._floating = floating

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimiser step `step` (1 for the first)."""
        decay = min((1 - 1 / step) ** self._power, LONGEST_AVERAGE)
        averages = [self.average[name] for name in self._floating]
        torch._foreach_lerp_(averages, [self._weights[name].detach() for name in self._floating], 1 - decay)
        for name in self._copied:
            self.average[name].copy_(self._weights[name])
