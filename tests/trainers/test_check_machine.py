"""What `balrsam check_machine` finds on this CPU, and what falls short on machines that are made up."""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.apple import MPS, PlayedApple
from support.volumes import volume_configuration

from balrsam_pipeline import hardware
from balrsam_pipeline.cli import main
from balrsam_pipeline.progress import Phase
from trainers import resume as resume_module
from trainers.check_machine import findings as module
from trainers.check_machine import subject as subject_module
from trainers.check_machine.bench import Bench, set_up
from trainers.check_machine.findings import Finding, check_loader, check_resume, check_step, find_hardware
from trainers.check_machine.page import findings, lines_of
from trainers.check_machine.subject import generated_subject

CPU = torch.device("cpu")


def test_on_this_cpu_everything_is_tried_and_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check_machine", "--device", "cpu", "--json", str(tmp_path / "machine.json")]) == 0
    page = capsys.readouterr().out
    assert "This machine is ready." in page
    assert max(map(len, page.splitlines())) <= 80
    written = json.loads((tmp_path / "machine.json").read_text())
    found = {finding["name"]: finding["figures"] for finding in written["findings"]}
    assert list(found) == [
        "hardware",
        "precision",
        "training step",
        "loader",
        "save and resume",
        "prediction",
    ]
    step = found["training step"]
    assert step["peak_bytes"] == pytest.approx(step["counted_bytes"], rel=0.05)
    assert found["save and resume"]["share_of_the_way"] == 0
    assert written["good"]


def test_only_figures_of_ours_are_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_tried(*_: object) -> list[Finding]:
        return []

    monkeypatch.setattr("trainers.check_machine.page.findings", none_tried)
    file, words = tmp_path / "machine.json", ["check_machine", "--device", "cpu", "--json"]
    for text in ('{"name": "somebody\'s"}', "[1]", "no JSON", ""):
        file.write_text(text)
        assert main([*words, str(file)]) == 2 and file.read_text() == text
        told = capsys.readouterr()
        assert "did not write" in told.err and not told.out
    assert main([*words, str(tmp_path)]) == 2
    file.unlink()
    assert main([*words, str(file)]) == 0 and main([*words, str(file)]) == 0


def test_a_dataset_is_tried_with_its_own_plan_and_in_short_with_one_step(
    make_request, capsys: pytest.CaptureFixture[str]
) -> None:
    request = make_request()
    roots = request.roots
    words = [f"--{name}={getattr(roots, name)}" for name in ("raw", "preprocessed", "results")]
    assert main(["check_machine", str(request.dataset), "--short", "--device", "cpu", *words]) == 0
    page = capsys.readouterr().out
    assert request.dataset.name in page
    assert "loader" not in page


def test_a_gpu_that_pytorch_cannot_use_falls_short_with_a_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpu_hint", lambda: "/dev/nvidia0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    found = find_hardware(CPU)
    assert not found.good
    assert "update the driver" in found.fix and "PyTorch" in found.said


def test_a_device_that_cannot_multiply_falls_short_and_nothing_else_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(device: torch.device, amp: bool) -> Any:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nand more")

    monkeypatch.setattr(module, "choose_precision", broken)
    found = list(findings(generated_subject(CPU, None), CPU))
    assert [finding.name for finding in found] == ["hardware", "precision"]
    assert "no kernel image" in found[-1].said and "PyTorch" in found[-1].fix and not found[-1].good


def test_products_of_a_device_without_float64_are_compared_on_the_cpu() -> None:
    with PlayedApple():
        finding = module.check_precision(MPS)
    assert finding.good and finding.figures["product_error"] < 1e-6


def test_volumes_are_laid_out_as_training_lays_them_out() -> None:
    """A layout for slices would end with an error."""
    subject = generated_subject(CPU, None)
    configuration = dataclasses.replace(volume_configuration(), batch_size=1)
    volumes = dataclasses.replace(subject, configuration=configuration)
    with closing(subject.loader(0)) as loader:
        model = set_up(volumes, CPU, loader, going=None).run_state.model
    weight = next(parameter for parameter in model.parameters() if parameter.ndim == 5)
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_the_time_of_the_planned_steps_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(Bench, "step", lambda self: None)
    monkeypatch.setattr(module, "_memory", lambda *_: (2**30, 2**30))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))  # a step takes 1 s
    made_up = generated_subject(CPU, None)
    planned = dataclasses.replace(made_up, steps=36_000)
    finding, _ = check_step(planned, CPU, going=None)
    assert "the planned 36,000 steps of a fold take about 10.0 h" in finding.said
    assert finding.figures["planned_s"] == 36_000 and finding.figures["epoch_s"] == 100
    assert "planned_s" not in check_step(planned, CPU, going=None, short=True)[0].figures, (
        "a first step alone"
    )
    assert "planned" not in check_step(made_up, CPU, going=None)[0].said


def test_memory_above_what_was_counted_and_memory_that_runs_out_fall_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = generated_subject(CPU, None)
    monkeypatch.setattr(Bench, "step", lambda self: None)
    monkeypatch.setattr(module, "_memory", lambda *_: (2 * 2**30, 2**30))
    finding, rate = check_step(subject, CPU, going=None)
    assert not finding.good and rate > 0
    assert "--gpu-memory-gb" in finding.fix

    def full(self: Bench) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Bench, "step", full)
    finding, rate = check_step(subject, CPU, going=None)
    assert not finding.good and rate == 0


@pytest.mark.parametrize("lost", ["exp_avg", "step"])
def test_a_resume_that_loses_the_optimisers_state_falls_short_by_a_gpus_measure_too(
    monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """A GPU adds up in another order each time, so equal bits are no measure there."""
    whole = resume_module.load_optimiser_tensors

    def losing(optimiser: Any, names: Any, checkpoint: Any) -> None:
        whole(optimiser, names, checkpoint)
        for state in optimiser.state.values():
            state[lost].zero_()

    monkeypatch.setattr(resume_module, "load_optimiser_tensors", losing)
    finding = check_resume(generated_subject(CPU, None, batch=1), CPU, going=Phase("check"))
    assert not finding.good
    assert finding.figures["share_of_the_way"] > 1.5 * module.RESUME_ERROR["cuda"]


def test_a_loader_slower_than_the_steps_falls_short() -> None:
    subject = generated_subject(CPU, None)
    assert check_loader(subject, CPU, 0, step_rate=1e-3).good
    slow = check_loader(subject, CPU, 0, step_rate=1e9)
    assert not slow.good and "--workers" in slow.fix


def test_a_card_gets_the_largest_batch_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        subject_module,
        "step_memory",
        lambda network, patch, batch: SimpleNamespace(total=batch * hardware.GiB),
    )
    sizes = [
        generated_subject(torch.device("cuda"), int(memory_gb * hardware.GiB)).configuration.batch_size
        for memory_gb in (0.5, 6, 24)
    ]
    assert sizes == [1, 5, 16]


def test_a_line_says_what_to_do_only_where_something_falls_short() -> None:
    good = lines_of(Finding(name="loader", said="x " * 60))
    short = lines_of(Finding(name="loader", said="x", good=False, fix="do this"))
    assert not any("fix" in line for line in good)
    assert short[0].startswith("SHORT") and "fix: do this" in short[1]
