"""The backbone: the largest that the memory and the checkpoints at hand allow; a small one from scratch
without them. And the ranks and widths of the parts that train with it."""

from __future__ import annotations

from balrsam_pipeline.network import preset
from balrsam_pipeline.plan import Backbone, NetworkPlan
from planners.hardware import Hardware
from planners.rules import Decision

# GB with which a backbone adapts at a useful input and batch size (docs/planning.md); largest first
_NEEDS_GB: tuple[tuple[Backbone, float], ...] = (("vit_h", 22.0), ("vit_l", 14.0), ("vit_b", 6.0))


def backbone(hardware: Hardware, available: tuple[Backbone, ...]) -> Decision[Backbone]:
    """Choose the backbone.

    Args:
        available: those whose SAM checkpoint lies in the checkpoint cache.
    """
    if hardware.gpu_memory_gb is None:
        return Decision("vit_mini", f"{hardware}; vit_mini trained from scratch is what a CPU can train")
    fitting = [name for name, needed in _NEEDS_GB if hardware.gpu_memory_gb >= needed]
    for name in fitting:
        if name in available:
            return Decision(
                name, f"{hardware}, and this is the largest SAM that fits it and whose checkpoint is here"
            )
    if fitting:
        return Decision(
            "vit_mini",
            f"{hardware}, but no SAM checkpoint that fits is here (balrsam download_checkpoint {fitting[-1]} "
            "fetches one)",
        )
    return Decision("vit_mini", f"{hardware}, too little for an adapted SAM")


def network_preset(backbone: Backbone) -> Decision[NetworkPlan]:
    """A network of the backbone whose ranks and widths are to be used; sizes, channels and classes are other
    rules' matter.

    Source: BALR-SAM, arXiv 2509.24204.
    """
    network = preset(backbone)
    if network.from_scratch:
        return Decision(network, "nothing is frozen, so there is nothing to adapt: no LoRA, no adapters")
    return Decision(
        network,
        f"the paper's: under 2 % of SAM trains, LoRA rank {network.lora_rank} and adapters of rank "
        f"{network.adapter_rank} in every block",
    )
