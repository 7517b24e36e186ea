"""A sensible network of each backbone: what `balrsam describe --backbone` shows and planners start from.
Imports no torch."""

from __future__ import annotations

from dataclasses import replace

from balrsam_pipeline.plan import Backbone, NetworkPlan

# Width of CDEN at stride 2. On vit_h 88 brings the trained parameters to BALR-SAM's 11.7 M; on vit_mini it
# balances the ViT's cost.
CDEN_WIDTH: dict[Backbone, int] = {
    "cnn": 16,
    "vit_mini": 32,
    "vit_t": 16,
    "vit_b": 48,
    "vit_l": 64,
    "vit_h": 88,
}
FROM_SCRATCH: tuple[Backbone, ...] = ("cnn", "vit_mini")
GLOBAL_BLOCKS = 4  # of every SAM ViT; their activations are most of what a training step keeps at 1024 pixels
INPUT_SIZE = (1024, 1024)
SMALL_INPUT_SIZE = (224, 224)


def preset(backbone: Backbone, classes: int = 4, input_channels: int = 3) -> NetworkPlan:
    """The network as published for a SAM backbone (ranks 4 and 32, 1024 pixels), or vit_mini from scratch at
    224. `vit_t` is LiteMedSAM's at 256 pixels, its last stage adapted.

    At 1024 pixels the global blocks are checkpointed: a training step then keeps about a third of what stock
    SAM with LoRA keeps.

    Source: BALR-SAM: 11.7 M trained parameters on vit_h, 1.8 % of all.

    Example:
        >>> network = preset("vit_b", classes=3)
        >>> network.lora_rank, network.adapter_rank, network.input_size
        (4, 32, (1024, 1024))
    """
    scratch = backbone in FROM_SCRATCH
    network = NetworkPlan(
        backbone=backbone,
        from_scratch=scratch,
        input_channels=input_channels,
        classes=classes,
        input_size=SMALL_INPUT_SIZE if scratch else INPUT_SIZE,
        lora_rank=0 if scratch else 4,
        lora_alpha=4.0,
        adapter_rank=0 if scratch else 32,
        decoder_attention="low_rank",
        decoder_rank=64,
        cden_width=CDEN_WIDTH[backbone],
        mask_stride=2 if scratch else 4,
        checkpointed_blocks=0 if scratch else GLOBAL_BLOCKS,
        hypernetworks="per_class" if scratch else "shared",
        decoder="pyramid" if backbone == "cnn" else "sam",
    )
    if backbone != "vit_t":
        return network
    return replace(
        network,
        input_size=(256, 256),
        embedding_stride=4,
        mask_stride=1,
        adapted_stages=1,
        pixels="0-1",
        checkpointed_blocks=0,
    )
