"""torch.compile as an option: where it does not work, a warning and the network as it was."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from balrsam_pipeline.network.model import BalrSam

LOG = logging.getLogger(__name__)


def compile_network(model: BalrSam, example: Tensor) -> bool:
    """Compile encoder, CDEN and mask decoder in place, and try them on an example; returns whether they stay
    compiled.

    Compilation fails in many ways that have nothing to do with the network (no C++ compiler, an old GPU, an
    old Triton), so any failure is logged and undone.

    Args:
        example: (b, c, y, x), as the network will see them.
    """
    parts = (model.image_encoder, model.cden, model.mask_decoder)
    try:
        for part in parts:
            part.compile()
        with torch.no_grad():
            model(example)
    except Exception as problem:
        for part in parts:
            part._compiled_call_impl = None
        LOG.warning(
            "torch.compile does not work here, the network runs without it: %s", str(problem).splitlines()[:1]
        )
        return False
    return True
