"""What this machine computes with: one answer for planning, training and prediction.

torch takes seconds to import, so it is asked only where something hints at a device it could use.
"""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.memory import usable_memory
from balrsam_pipeline.paths import given_threads, gpus_are_hidden
from balrsam_pipeline.printable import plural
from balrsam_pipeline.processor import usable_cores

if TYPE_CHECKING:
    import torch
    from torch import Tensor

GiB = 2**30
TRAINING_GB = 4  # of memory for a training on a CPU: most take one, validation of a large CT three
# kinds of device that have read memory which is not pinned when the call that copies it is back; MPS reads it
# later, when another array may lie there: pytorch#189690
COPIES_AHEAD = frozenset({"cuda"})
USABLE_SHARE = 0.9  # of a card's memory that a training step may take: desktops and others take some
DEVICE_NAMES = re.compile(r"cpu|mps|cuda(:(0|[1-9][0-9]?))?")  # torch counts to 127, and wraps around
X86 = ("x86_64", "AMD64")  # as `platform.machine` says
# drivers of NVIDIA on Linux, in containers that get the devices alone, under WSL2, and of AMD (ROCm)
DRIVER_FILES = (
    Path("/proc/driver/nvidia"),
    Path("/dev/nvidiactl"),
    Path("/dev/nvidia0"),
    Path("/dev/dxg"),
    Path("/dev/kfd"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """A device that is faster than the CPU; `memory_gb` in GiB, what it may use of it."""

    kind: Literal["cuda", "mps"]
    name: str
    memory_gb: float
    found_by: str


def find_accelerator() -> Accelerator | None:
    """The device that training and prediction take where none is named; None for a CPU alone.

    `CUDA_VISIBLE_DEVICES` set to nothing or -1 hides all GPUs.
    """
    hint = gpu_hint()
    if hint is None:
        return None
    import torch

    cards = usable_cards()
    if cards:
        properties = torch.cuda.get_device_properties(cards[0])
        return Accelerator(
            kind="cuda",
            name=properties.name,
            memory_gb=round(properties.total_memory / GiB, 1),
            found_by=f"torch ({'ROCm' if torch.version.hip else 'CUDA'}), after {hint}",
        )
    if torch.backends.mps.is_available():
        memory = torch.mps.recommended_max_memory()
        return Accelerator(
            kind="mps", name="Apple GPU", memory_gb=round(memory / GiB, 1), found_by="torch (MPS)"
        )
    return None


def unused_gpu() -> tuple[str, str]:
    """What is wrong where something speaks for a GPU but torch cannot use one, and what fixes it; both empty
    where all is well."""
    hint = gpu_hint()
    if hint is None or find_accelerator() is not None:
        return "", ""
    import torch

    version = torch.__version__.partition("+")[0]
    return (
        f"{hint} speaks for a GPU, but PyTorch {torch.__version__} cannot use it (driver too old, or a build "
        "for another CUDA or other cards)",
        f"update the driver, or install the build that suits it: pip install torch=={version} --index-url "
        "https://download.pytorch.org/whl/cuXXX, where XXX is no newer than the CUDA Version of nvidia-smi; "
        "or hide the GPU: CUDA_VISIBLE_DEVICES=-1",
    )


def found_gpus() -> tuple[str, ...]:
    """The names of all CUDA devices that can be used here; `CUDA_VISIBLE_DEVICES` hides others."""
    return () if gpu_hint() is None else tuple(f"cuda:{index}" for index in usable_cards())


def chosen_devices(words: Sequence[str], threads: int | None = None) -> tuple[str, ...]:
    """Devices to train folds on at the same time: as named; "auto" is every GPU where there are several, and
    `cpu_devices` where there is none; "none" is none.

    Args:
        threads: that a training on a CPU computes with, where that was said.

    Example:
        >>> chosen_devices(["cuda:0", "cuda:1"]), chosen_devices(["none"])
        (('cuda:0', 'cuda:1'), ())
    """
    if tuple(words) == ("none",):
        return ()
    if tuple(words) != ("auto",):
        return tuple(words)
    gpus = found_gpus()
    if not gpus and find_accelerator() is None:
        return cpu_devices(threads)
    return gpus if len(gpus) > 1 else ()


def cpu_devices(threads: int | None = None) -> tuple[str, ...]:
    """The CPU as many times as trainings may share it: once per core, as far as memory allows; nothing where
    that is once.

    A step of a small network gains little from a second core, so two trainings with one core each do more
    than one after the other with two.

    Args:
        threads: that each training computes with; None takes OMP_NUM_THREADS, and one where that is not set.
    """
    count = usable_cores() // max(1, threads or given_threads() or 1)
    memory = usable_memory()
    if memory is not None:
        count = min(count, memory // (TRAINING_GB * GiB))
    return ("cpu",) * count if count > 1 else ()


def best_device(index: int = 0) -> torch.device:
    """The device to compute on where none is named: a GPU of NVIDIA or AMD, else Apple's, else the CPU.

    Args:
        index: among the GPUs that can be used, where there are several.
    """
    import torch

    cards = usable_cards()
    if cards:
        beyond = max(index, torch.cuda.device_count())  # which `checked_device` refuses
        return torch.device("cuda", cards[index] if index < len(cards) else beyond)
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def checked_device(name: str) -> torch.device:
    """The device of a name that somebody gave: "cpu", "cuda" (the current GPU), "cuda:1" or "mps".

    Raises:
        UsageError: it is no device's name, or that device is not here, or PyTorch holds no code for it.

    Example:
        >>> checked_device("cpu")
        device(type='cpu')
    """
    import torch

    if not DEVICE_NAMES.fullmatch(name):
        raise UsageError(
            f"device '{name}'",
            found="no name of a device",
            expected="cpu, cuda, cuda:1 (counted from 0) or mps",
            fix="correct it",
        )
    device = torch.device(name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(
            f"device '{name}'",
            found="no GPU of Apple that PyTorch can use",
            expected="a device of this machine",
            fix="name another (cpu), or none: the best there is will be taken",
        )
    count = torch.cuda.device_count() if device.type == "cuda" and torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UsageError(
            f"device '{name}'",
            found=f"{plural(count, 'GPU')} that PyTorch {torch.__version__} can use"
            + (", CUDA_VISIBLE_DEVICES hides GPUs" if gpus_are_hidden() else ""),
            expected=f"{(device.index or 0) + 1} or more" if count else "a GPU of NVIDIA or AMD",
            fix=f"name one from cuda:0 to cuda:{count - 1}"
            if count
            else "name another device (cpu), or none: the best there is will be taken; nvidia-smi lists GPUs "
            "that the driver sees",
        )
    if device.type == "cuda" and not _is_compiled_for(device.index or 0):
        raise _no_code_for(device)
    return device


def _no_code_for(device: torch.device) -> UsageError:
    """What is said of a GPU that is here, but that this PyTorch was not built for."""
    import torch

    card = device.index or 0
    capability = ".".join(map(str, torch.cuda.get_device_capability(card)))
    others = ", ".join(f"cuda:{index}" for index in usable_cards()) or "cpu"
    return UsageError(
        f"device '{device}'",
        found=f"{torch.cuda.get_device_name(card)}, of compute capability {capability}",
        expected=f"a GPU that PyTorch {torch.__version__} holds code for: "
        f"{', '.join(torch.cuda.get_arch_list())}",
        fix=f"name another device ({others}), or install a PyTorch that was built for this one (pytorch.org)",
    )


def usable_cards() -> tuple[int, ...]:
    """The numbers of the CUDA devices that this PyTorch sees and holds code for: wheels leave old cards out,
    and a step on one would end with "no kernel image is available"."""
    import torch

    if not torch.cuda.is_available():
        return ()
    return tuple(index for index in range(torch.cuda.device_count()) if _is_compiled_for(index))


def _is_compiled_for(card: int) -> bool:
    import torch

    compiled = torch.cuda.get_arch_list()
    if torch.version.hip or not compiled:
        return True
    return has_code_for(torch.cuda.get_device_capability(card), compiled)


def has_code_for(capability: tuple[int, int], compiled: Sequence[str]) -> bool:
    """Whether code for some architectures runs on a device: machine code (`sm_86`) on the same and later ones
    of its generation, intermediate code (`compute_90`) on all later ones.

    Example:
        >>> has_code_for((8, 6), ["sm_75", "sm_80"]), has_code_for((7, 0), ["sm_75", "compute_90"])
        (True, False)
    """
    own = 10 * capability[0] + capability[1]
    for name in compiled:
        kind, _, number = name.partition("_")
        version = int(number.rstrip("af"))  # sm_90a: for that generation's own instructions
        if version <= own and (kind == "compute" or version // 10 == capability[0]):
            return True
    return False


def half_precision(device: torch.device) -> torch.dtype:
    """The 16-bit type that a CUDA device computes fast: bfloat16 from Ampere on, else float16.

    torch counts emulation as support unless told otherwise, and T4, V100 and RTX 20 emulate bfloat16 slowly.
    """
    import torch

    with torch.cuda.device(device):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def cpu_computes_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16, and torch was built to use them (on Apple's it is not).

    With AVX-512 alone oneDNN says that it supports bfloat16, which it then emulates.
    """
    import torch

    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    ask = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return platform.machine() not in X86 or ask is None or bool(ask())


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device, without waiting for the copy where its memory may go at once."""
    return tensor.to(device, non_blocking=device.type in COPIES_AHEAD)


def gpu_hint() -> str | None:
    """What speaks for a GPU, without asking torch; None where nothing does or GPUs are hidden."""
    if gpus_are_hidden():
        return None
    for path in DRIVER_FILES:
        if path.exists():
            return str(path)
    if shutil.which("nvidia-smi"):
        return "nvidia-smi"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "an Apple processor"
    return None
