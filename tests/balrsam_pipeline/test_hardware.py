"""What hardware is found, with torch's answers replaced: no GPU is needed."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from balrsam_pipeline import hardware
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.hardware import (
    best_device,
    checked_device,
    find_accelerator,
    found_gpus,
    half_precision,
)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """torch has a CUDA card of 24 GiB; the returned file is the only thing that could hint at it."""
    hint = tmp_path / "dxg"
    monkeypatch.setattr(hardware, "DRIVER_FILES", (hint,))
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    properties = SimpleNamespace(name="RTX", total_memory=24 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    return hint


def test_without_any_hint_torch_is_not_asked(card: Path) -> None:
    assert find_accelerator() is None


def test_a_card_of_wsl2_is_found_though_there_is_no_proc_driver(card: Path) -> None:
    card.touch()
    found = find_accelerator()
    assert found is not None
    assert (found.kind, found.memory_gb) == ("cuda", 24.0)
    assert str(card) in found.found_by


def test_nvidia_smi_is_a_hint_too(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/nvidia-smi")
    assert find_accelerator() is not None


@pytest.mark.parametrize("value", ["", "-1"])
def test_hidden_gpus_are_not_found(card: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    card.touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert find_accelerator() is None


def test_the_planner_sees_what_training_takes(card: Path) -> None:
    from planners.hardware import detect_hardware

    card.touch()
    assert detect_hardware(None).gpu_memory_gb == 24.0
    assert best_device(1) == torch.device("cuda", 1)


def test_a_driver_too_old_is_warned_of_before_anything_is_measured_and_the_reason_says_so(
    card: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from planners.hardware import detect_hardware

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch, "__version__", "2.13.0+cu130")
    assert str(detect_hardware(None)) == "no GPU was found, so training is on a CPU"
    assert not caplog.records
    card.touch()
    found = detect_hardware(None)
    reason = (
        f"{card} speaks for a GPU, but PyTorch 2.13.0+cu130 cannot use it (driver too old, or a build for"
    )
    assert found.gpu_memory_gb is None and str(found).startswith(reason)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "update the driver" in caplog.text and "torch==2.13.0 --index-url" in caplog.text
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert str(detect_hardware(None)) == "no GPU was found, so training is on a CPU", "hidden on purpose"


def test_a_card_that_is_left_alone_is_not_planned_for_and_the_reason_says_so(card: Path) -> None:
    from planners.hardware import detect_hardware

    assert str(detect_hardware(None, cpu=True)) == str(detect_hardware(None)), "there is none"
    card.touch()
    left_alone = detect_hardware(None, cpu=True)
    assert left_alone.gpu_memory_gb is None
    assert not left_alone.given, "so that what the network needs is fetched: it trains here"
    assert str(left_alone) == "the RTX here is left alone, as asked, so training is on a CPU"
    assert detect_hardware(24, cpu=True).gpu_memory_gb == 24, "named memory goes first"


def test_apples_gpu_is_taken_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert best_device() == torch.device("mps")


def test_a_card_that_this_pytorch_holds_no_code_for_is_not_taken(
    card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A V100 and a PyTorch for CUDA 13: it is there, but steps end with "no kernel image is available"."""
    card.touch()
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90a", "compute_120"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (7, 0))
    assert find_accelerator() is None
    assert found_gpus() == ()
    assert best_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (8, 6))
    assert find_accelerator() is not None
    assert found_gpus() == ("cuda:0",)
    assert best_device() == torch.device("cuda", 0)


def test_of_several_cards_those_that_this_pytorch_holds_no_code_for_are_left_out(
    card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GTX 10 first, then two RTX 30: folds, ranks and the planner take those two, and the first is refused
    by name. A third rank would share a card, and its device is refused."""
    card.touch()
    capabilities = [(6, 1), (8, 6), (8, 6)]
    memory = [8, 24, 24]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90", "compute_120"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capabilities[index])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: ["GTX 1080", "RTX", "RTX"][index])
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda index: SimpleNamespace(name="", total_memory=memory[index] * 2**30),
    )
    assert found_gpus() == ("cuda:1", "cuda:2")
    assert [best_device(index) for index in (0, 1)] == [torch.device("cuda", 1), torch.device("cuda", 2)]
    with pytest.raises(UsageError, match="3 GPUs"):
        checked_device(str(best_device(2)))
    found = find_accelerator()
    assert found is not None and found.memory_gb == 24.0
    assert checked_device("cuda:2") == torch.device("cuda", 2)
    for name in ("cuda", "cuda:0"):
        with pytest.raises(UsageError, match=rf"(?s)'{name}'.*GTX 1080.*6\.1.*sm_75.*cuda:1, cuda:2"):
            checked_device(name)


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_emulated_bfloat16_does_not_count(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: torch.dtype
) -> None:
    """As torch answers on a T4: supported with emulation, not without."""

    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or native

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    asked: list[Any] = []
    monkeypatch.setattr(torch.cuda, "device", lambda device: asked.append(device) or nullcontext())
    assert half_precision(torch.device("cuda", 3)) == expected
    assert asked == [torch.device("cuda", 3)]


@pytest.mark.parametrize(
    ("machine", "onednn", "instructions", "computes"),
    [
        ("x86_64", True, True, True),
        ("x86_64", True, False, False),  # AVX-512 alone: oneDNN emulates
        ("aarch64", True, False, True),
        ("arm64", False, False, False),
    ],
)
def test_a_cpu_computes_bfloat16_where_it_has_instructions(
    machine: str, onednn: bool, instructions: bool, computes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware.platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions, raising=False)
    assert hardware.cpu_computes_bfloat16() == computes


@pytest.mark.parametrize(("device", "ahead"), [("cuda:1", True), ("mps", False), ("cpu", False)])
def test_only_copies_to_cuda_are_not_waited_for(device: str, ahead: bool) -> None:
    """CUDA's driver stages memory that is not pinned before the call is back; MPS reads it afterwards."""
    asked: list[tuple[torch.device, bool]] = []
    tensor = SimpleNamespace(to=lambda device, non_blocking: asked.append((device, non_blocking)))
    hardware.sent(cast(torch.Tensor, tensor), torch.device(device))
    assert asked == [(torch.device(device), ahead)]


@pytest.mark.parametrize(
    "name",
    ["gpu", "auto", "", "cuda:", "cuda:-1", "cuda:0x1", "cuda:01", "cuda:٣", "cuda:200", "CPU", "meta"],
)
def test_a_word_that_names_no_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"cpu, cuda, cuda:1 .* or mps"):
        checked_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_here_is_refused_with_the_way_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match=f"(?s)device '{name}'.*cpu"):
        checked_device(name)


def test_a_gpu_beyond_those_here_is_refused_and_those_here_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert checked_device("cuda:1") == torch.device("cuda", 1)
    assert checked_device("cuda") == torch.device("cuda")
    with pytest.raises(UsageError, match=r"(?s)2 GPUs.*from cuda:0 to cuda:1"):
        checked_device("cuda:7")
