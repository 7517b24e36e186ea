"""What an image encoder computes before its first trained block: the part that can be kept and used again."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Features(NamedTuple):
    """Output of an encoder's `prefix`, input of its `suffix`; tensors alone, to be stored and stacked.

    Attributes:
        tokens_byxc: (b, y, x, c), what the suffix goes on from; the image embedding itself where no block is
            trained.
        early_byxc: (b, y, x, c), the early feature that CDEN reads, where the suffix neither computes it nor
            starts from it.
    """

    tokens_byxc: Tensor
    early_byxc: Tensor | None = None
