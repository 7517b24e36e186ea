"""Ranks and widths of the parts that train: those published for the backbone."""

from __future__ import annotations

from balrsam_pipeline.network import preset
from balrsam_pipeline.plan import Backbone, NetworkPlan
from planners.rules import Decision


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
