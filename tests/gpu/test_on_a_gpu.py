"""On a CUDA card: `pytest -m gpu` is a verdict on it. What can be tested without one stands elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from balrsam_pipeline.cli import main
from balrsam_pipeline.hardware import find_accelerator, found_gpus, half_precision
from balrsam_pipeline.inference import Predictor, PredictorOptions
from balrsam_pipeline.inference.export import ImageGrid, WeightedSource, export_label
from balrsam_pipeline.inference.logits import ArrayLogits
from balrsam_pipeline.network import preset, step_memory
from balrsam_pipeline.network.attention import one_hot_positions, positional_attention
from balrsam_pipeline.network.loss_sums import TargetScheme, class_sums
from balrsam_pipeline.progress import phase
from trainers.augmentation import augment_intensity_batch
from trainers.augmentation_config import AugmentationConfig
from trainers.check_machine.bench import Bench, set_up
from trainers.check_machine.findings import check_prediction, check_resume, check_step
from trainers.check_machine.subject import Subject, generated_subject
from trainers.data import DeviceBatches, copy_stream
from trainers.optimisation import Precision, choose_precision

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
CARD = torch.device("cuda", 0)


def small_subject(batch: int = 4) -> Subject:
    """The made-up volume with a small network, on the card."""
    subject = generated_subject(torch.device("cpu"), None, batch=batch)
    config = replace(subject.config, augmentation=subject.config.augmentation.on("cuda"))
    return replace(subject, config=config)


def make_bench(subject: Subject) -> Bench:
    with phase("test") as going:
        return set_up(subject, CARD, subject.loader(0), going)


def test_the_card_is_found_by_every_part() -> None:
    found = find_accelerator()
    assert found is not None and found.kind == "cuda"
    assert found_gpus()[0] == "cuda:0"
    assert found.memory_gb == pytest.approx(torch.cuda.get_device_properties(0).total_memory / 2**30, abs=0.1)


def test_half_precision_is_what_the_card_computes_without_emulation() -> None:
    ampere = torch.cuda.get_device_capability(0) >= (8, 0)
    assert (half_precision(CARD) == torch.bfloat16) == ampere


def test_steps_make_the_loss_smaller() -> None:
    bench = make_bench(small_subject())
    losses = []
    for _ in range(30):
        before = bench.state.loss_sum
        bench.step()
        losses.append(bench.state.loss_sum - before)
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_float16_with_its_scaler_trains_too() -> None:
    bench = make_bench(small_subject())
    precision = Precision(CARD, torch.float16, torch.amp.GradScaler("cuda"))
    object.__setattr__(bench.trainer._parts, "precision", precision)
    for _ in range(25):
        bench.step()
    assert bench.state.loss_steps >= 5
    assert precision.scaler.get_scale() >= 1


def test_a_resumed_training_goes_on_as_it_was() -> None:
    with phase("test") as going:
        assert check_resume(small_subject(), CARD, going).good


@pytest.mark.parametrize("classes", [3, 118])
def test_the_peak_of_a_step_is_no_more_than_was_counted(classes: int) -> None:
    subject = generated_subject(CARD, None, classes, batch=2)
    network = replace(subject.configuration.network, mask_stride=1)
    configuration = replace(subject.configuration, network=network)
    subject = replace(subject, configuration=configuration)
    torch.cuda.empty_cache()
    bench = make_bench(subject)
    bench.step()
    torch.cuda.reset_peak_memory_stats(CARD)
    bench.step()
    counted = step_memory(network, configuration.patch_size, 2)
    peak = torch.cuda.max_memory_allocated(CARD)
    assert 0.7 * peak < counted.total - counted.overhead < 1.5 * peak


def test_memory_that_runs_out_divides_the_batch_and_goes_on() -> None:
    bench = make_bench(small_subject(batch=16))
    bench.step()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(CARD)
    held, total = torch.cuda.memory_reserved(CARD), torch.cuda.get_device_properties(0).total_memory
    bench.step()
    room = held + 0.6 * (torch.cuda.max_memory_reserved(CARD) - held)  # of what a step takes beside
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(room / total, CARD)
    try:
        bench.step()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, CARD)
    assert bench.state.pieces > 1
    assert bench.state.skipped_in_a_row == 0


def test_a_step_waits_for_the_device_at_most_once() -> None:
    bench = make_bench(small_subject())
    for _ in range(3):
        bench.step()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning) as warned:
            bench.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [warning for warning in warned if "synchroniz" in str(warning.message)]
    assert len(waits) <= 1, [str(warning.message) for warning in waits]


def test_batches_brought_ahead_are_those_brought_at_once() -> None:
    subject = small_subject()
    with_stream, without = (
        DeviceBatches(subject.loader(0).batches(0), CARD, lambda image, seeds: image, stream)
        for stream in (copy_stream(CARD), None)
    )
    for _ in range(6):
        ours, plain = with_stream.take(), without.take()
        with_stream.fetch()
        torch.testing.assert_close(ours.inputs[0], plain.inputs[0], rtol=0, atol=0)
        torch.testing.assert_close(ours.label_bhw, plain.label_bhw, rtol=0, atol=0)


def test_intensities_change_on_the_card_as_on_the_cpu() -> None:
    image, seeds = torch.randn(8, 2, 64, 64), np.arange(8, dtype=np.uint32)
    config = AugmentationConfig(noise_probability=0.0)  # whose numbers come from the device
    there = augment_intensity_batch(image.to(CARD), 2, seeds, config).cpu()
    torch.testing.assert_close(there, augment_intensity_batch(image, 2, seeds, config), rtol=1e-3, atol=1e-3)


def test_sums_of_the_loss_are_those_of_the_cpu() -> None:
    logits, label = torch.randn(2, 118, 64, 64), torch.randint(118, (2, 64, 64), dtype=torch.int16)
    scheme, results = TargetScheme(classes=118), []
    for device in (CARD, torch.device("cpu")):
        own = logits.to(device).requires_grad_()
        sums = class_sums(own, label.to(device), scheme)
        sums.square().sum().backward()
        assert own.grad is not None
        results.append((sums.detach().cpu(), own.grad.cpu()))
    torch.testing.assert_close(results[0], results[1], rtol=1e-3, atol=1e-3)


def test_prediction_keeps_logits_on_the_card_and_labels_agree_with_the_cpus() -> None:
    subject = small_subject()
    model = make_bench(subject).run_state.model
    image = np.random.default_rng(0).normal(size=(1, 3, 150, 140)).astype(np.float32)
    predictors = {
        device: Predictor(
            [model],
            subject.plan,
            subject.configuration,
            subject.labels,
            PredictorOptions(device=device, amp=False),
        )
        for device in ("cuda",)
    }
    source = predictors["cuda"].logits(image)
    assert isinstance(source, ArrayLogits) and source.read(0, 1).device.type == "cuda"
    grid = ImageGrid(shape_zyx=(4, 200, 190), crop_zyx=((0, 4), (0, 200), (0, 190)), transpose=(0, 1, 2))
    there = export_label([WeightedSource(source)], grid, subject.labels)
    held = ArrayLogits(torch.from_numpy(predictors["cuda"].predict_preprocessed(image)))
    here = export_label([WeightedSource(held)], grid, subject.labels)
    assert (there == here).mean() > 0.999


def test_a_planned_step_and_a_prediction_of_vit_b_are_good() -> None:
    subject = generated_subject(CARD, torch.cuda.get_device_properties(0).total_memory)
    with phase("test") as going:
        step, rate = check_step(subject, CARD, going)
        assert step.good, step
        assert rate > 0
        assert check_prediction(subject, CARD, going).good


def test_the_machine_is_ready(tmp_path: Path) -> None:
    assert main(["check_machine", "--json", str(tmp_path / "machine.json")]) == 0
    assert json.loads((tmp_path / "machine.json").read_text())["good"]


def test_precision_follows_the_settings() -> None:
    assert choose_precision(CARD, amp=False).dtype == torch.float32
    assert choose_precision(CARD, amp=True).dtype == half_precision(CARD)
    assert preset("vit_b").backbone == "vit_b"


@pytest.mark.parametrize("grid", [(14, 14), (28, 28), (56, 56)])
def test_attention_with_positions_is_that_of_the_cpu(grid: tuple[int, int]) -> None:
    """Queries of 96, 120 and 176 numbers beside values of 64."""
    tokens, dimension, results = grid[0] * grid[1], 64, []
    parts = [torch.randn(2, 3, tokens, dimension) for _ in range(3)]
    tables = [0.1 * torch.randn(2 * side - 1, dimension) for side in grid]
    for device, dtype in ((CARD, half_precision(CARD)), (torch.device("cpu"), torch.float32)):
        own = [tensor.to(device, dtype).requires_grad_() for tensor in (*parts, *tables)]
        places = one_hot_positions(grid).to(device)
        out = positional_attention(own[0], own[1], own[2], (own[3], own[4]), places)
        out.float().square().mean().backward()
        results.append([out.detach(), *(tensor.grad for tensor in own)])
    for there, here in zip(*results, strict=True):
        assert there is not None and here is not None
        assert (there.cpu().float() - here).norm() < 0.05 * here.norm()
