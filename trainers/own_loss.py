"""A loss of the user's own package, as two sums beside those of the built-in losses: so it is the mean of the
batch in pieces and over ranks too."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from balrsam_pipeline.dataset import LabelScheme
from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.extensions import load_extension

SUMS = 2  # the loss times the number of samples, and that number
OwnLoss = Callable[[Tensor, Tensor, LabelScheme], Tensor]


def load_own_loss(name: str) -> OwnLoss | None:
    """The function `(logits_bkyx, label_byx, labels) -> loss` that a name stands for; None for "".

    Raises:
        TrainingError: it cannot be imported.
    """
    return load_extension(name, "loss", TrainingError) if name else None


def own_sums(loss: OwnLoss, name: str, logits_bkyx: Tensor, label_byx: Tensor, labels: LabelScheme) -> Tensor:
    """The two sums of a batch.

    Raises:
        TrainingError: what the function returns is no loss.
    """
    value = loss(logits_bkyx.float(), label_byx.long(), labels)
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
        shape = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.60}"
        raise TrainingError(
            f"loss '{name}'",
            found=shape,
            expected="one number, the mean over the batch, as a tensor with gradients",
            fix="return such a tensor, for example with .mean()",
        )
    samples = value.new_tensor(float(len(label_byx)))
    return torch.stack([value.reshape(()) * samples, samples])


def of_own_sums(sums: Tensor) -> Tensor:
    """The loss of the batch whose sums these are."""
    return sums[0] / sums[1]
