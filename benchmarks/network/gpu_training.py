"""On a CUDA GPU: a training step and inference, the plain recipe (stock SAM + LoRA, fp32 eager) against ours
(bf16).

usage: python benchmarks/network/gpu_training.py [--backbone vit_b] [--size 1024] [--batch 2]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace

import torch
from stock import StockLora, machine, paired_ms
from torch import Tensor, nn

from balrsam_pipeline.network import preset
from balrsam_pipeline.network.builder import freeze
from balrsam_pipeline.network.model import BalrSam


def training_step(
    model: nn.Module, forward: Callable[[Tensor], Tensor], image: Tensor, *, bf16: bool
) -> Callable[[], None]:
    """One optimiser step of a network on an image batch."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            loss = forward(image).float().square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def peak_mib(call: Callable[[], object]) -> float:
    """Peak CUDA MiB of a call, after one to warm up."""
    call()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 2**20


def main() -> None:
    """Print images a second, peak memory and speedups."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="vit_b")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=2)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; this benchmark needs one")
    device, size, batch = torch.device("cuda"), arguments.size, arguments.batch
    image = torch.randn(batch, 3, size, size, device=device)
    stock = StockLora(arguments.backbone, size).to(device)
    ours = BalrSam(
        replace(
            preset(arguments.backbone),
            from_scratch=False,
            lora_rank=4,
            adapter_rank=32,
            input_size=(size, size),
        )
    )
    freeze(ours)
    ours.to(device)
    steps = (
        training_step(stock, stock, image, bf16=False),
        training_step(ours, lambda x: ours.forward_training(x).logits, image, bf16=True),
    )
    memory = [peak_mib(step) for step in steps]
    training = paired_ms(*steps, rounds=5)
    ours.merge_for_inference()
    ours.train(False)

    def infer() -> None:
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            ours(image)

    def infer_stock() -> None:
        with torch.inference_mode():
            stock(image)

    inference = paired_ms(infer_stock, infer, rounds=10)
    names = ("stock", "ours")
    result = {
        "machine": machine(),
        "backbone": arguments.backbone,
        "size": size,
        "batch": batch,
        "training_images_per_s": {name: 1e3 * batch / ms for name, ms in zip(names, training, strict=True)},
        "training_peak_mib": dict(zip(names, memory, strict=True)),
        "inference_images_per_s": {name: 1e3 * batch / ms for name, ms in zip(names, inference, strict=True)},
        "training_speedup": training[0] / training[1],
        "inference_speedup": inference[0] / inference[1],
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
