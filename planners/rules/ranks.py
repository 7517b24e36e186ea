"""Ranks and widths of the parts that train."""

from __future__ import annotations

from dataclasses import dataclass

from balrsam_pipeline.plan import DecoderAttention
from planners.rules.decision import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """Sizes of adapters, decoder attention and CDEN, as `NetworkPlan` names them."""

    lora_rank: int
    lora_alpha: float
    adapter_rank: int
    decoder_attention: DecoderAttention
    decoder_rank: int
    cden_width: int


# BALR-SAM: 11.7 M trained parameters on ViT-H with LoRA 4 and adapters of rank 32 in every block
_ADAPTED = Ranks(lora_rank=4, lora_alpha=4.0, adapter_rank=32, decoder_attention="low_rank", decoder_rank=64, cden_width=64)
_FROM_SCRATCH = Ranks(lora_rank=0, lora_alpha=1.0, adapter_rank=0, decoder_attention="low_rank", decoder_rank=64, cden_width=24)


def ranks(from_scratch: bool) -> Decision[Ranks]:
    """The ranks of an adapted or of a from-scratch network.

    Source: BALR-SAM, arXiv 2509.24204.
    """
    if from_scratch:
        return Decision(_FROM_SCRATCH, "nothing is frozen, so there is nothing to adapt: no LoRA, no adapters; a slim CDEN for a CPU")
    return Decision(_ADAPTED, "the paper's: under 2 % of SAM trains, LoRA rank 4 and adapters of rank 32 in every block")
