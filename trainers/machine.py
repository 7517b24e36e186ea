"""What a run ran on, for run.json."""

from __future__ import annotations

import os
import platform

import torch

from balrsam_pipeline import __version__


def describe_machine(device: torch.device) -> dict[str, str | int]:
    """Processor, memory-independent facts of the machine, the device, and the versions that shape results."""
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine()
    )
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "balrsam_pipeline": __version__,
        "device": str(device),
        "device_name": name,
        "cpu_cores": os.cpu_count() or 1,
        "torch_threads": torch.get_num_threads(),
    }
