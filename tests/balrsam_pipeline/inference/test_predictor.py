"""The Predictor on arrays, and on files: geometry, failures, continuing."""

from __future__ import annotations

import dataclasses
import errno
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.volumes import volume_network
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from balrsam_pipeline.dataset import CaseFiles, image_cases
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.execution import CaseStalled, run_with_limit
from balrsam_pipeline.imageio import Geometry, Image, read_geometry, read_image, read_label
from balrsam_pipeline.inference import (
    FileOptions,
    Member,
    Postprocessing,
    PostprocessingStep,
    Predictor,
    PredictorOptions,
    export,
    predict,
    predict_array,
    predict_cases,
    predict_files,
)
from balrsam_pipeline.inference import predictor as predictor_module
from balrsam_pipeline.inference import probabilities as probabilities_module
from balrsam_pipeline.inference.export import chunk_spans
from balrsam_pipeline.inference.logits import ArrayLogits, LazyLogits
from balrsam_pipeline.inference.predict_image import label_of_image
from balrsam_pipeline.inference.predictor import count_patches
from balrsam_pipeline.inference.timing import NetworkLock, StageClock
from balrsam_pipeline.inference.volume_window import VolumeLogits
from balrsam_pipeline.network import preset
from balrsam_pipeline.plan import Plan

CPU = PredictorOptions(device="cpu", amp=False)


RAS = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)


class SeesWhere(torch.nn.Module):
    """A network that is told where in the slice it looks, so that turned slices have other label maps."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        place = torch.linspace(-3, 3, image.shape[-1]) + torch.linspace(-1, 2, image.shape[-2])[:, None]
        logits: torch.Tensor = self.network(image)
        return torch.cat([logits[:, :1] + place, logits[:, 1:]], dim=1)


def predictor_of(
    fakes: SimpleNamespace, plan: Plan, models: list[torch.nn.Module], options: PredictorOptions = CPU
) -> Predictor:
    return Predictor(
        models, plan, plan.configuration(plan.default_configuration), fakes.plain_labels(2), options
    )


def test_the_logits_are_the_mean_over_folds(fakes: SimpleNamespace) -> None:
    image = np.random.default_rng(0).normal(size=(1, 4, 16, 16)).astype(np.float32)
    networks = [fakes.WeightedNetwork(1, 3, seed) for seed in range(3)]
    plan = fakes.make_plan(mirror_axes=())
    both = predictor_of(fakes, plan, networks).predict_preprocessed(image)
    each = [predictor_of(fakes, plan, [network]).predict_preprocessed(image) for network in networks]
    np.testing.assert_allclose(both, np.mean(each, axis=0), atol=1e-6)
    assert both.dtype == np.float32
    assert both.shape == (3, 4, 16, 16)


class NoFloat64(TorchDispatchMode):
    """Apple's GPU has no float64: an operation that makes one fails, as it would there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            assert not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.float64, func
        return made


@pytest.mark.parametrize("slicing_axes", [(0,), (0, 1, 2)])
def test_what_the_network_s_device_does_takes_no_float64(
    fakes: SimpleNamespace, slicing_axes: tuple[int, ...]
) -> None:
    image = np.random.default_rng(0).normal(size=(1, 12, 20, 20)).astype(np.float32)
    predictor = predictor_of(fakes, fakes.make_plan(slicing_axes=slicing_axes), [fakes.WeightedNetwork(1, 3)])
    with NoFloat64():
        assert predictor.predict_preprocessed(image).shape == (3, 12, 20, 20)


def test_triplanar_is_the_mean_of_three_orientations(fakes: SimpleNamespace) -> None:
    image = np.random.default_rng(0).normal(size=(1, 12, 13, 14)).astype(np.float32)
    network = fakes.WeightedNetwork(1, 3)
    one_way = fakes.make_plan()
    three_ways = fakes.make_plan(slicing_axes=(0, 1, 2))
    expected = np.zeros((3, 12, 13, 14))
    for axis in range(3):
        turned = np.ascontiguousarray(np.moveaxis(image, axis + 1, 1))
        logits = predictor_of(fakes, one_way, [network]).predict_preprocessed(turned)
        expected += np.moveaxis(logits, 1, axis + 1) / 3
    np.testing.assert_allclose(
        predictor_of(fakes, three_ways, [network]).predict_preprocessed(image), expected, atol=1e-5
    )


@pytest.mark.parametrize(
    ("shape", "changes", "mirror", "patches"),
    [
        ((7, 32, 32), {}, True, 7 * 4 * 3),  # whole: mirrored and rotated
        ((7, 32, 32), {}, False, 7),
        ((7, 20, 30), {}, True, 7 * 4 * 3),
        ((7, 32, 33), {}, True, 7 * 4 * 2),  # in two tiles, which are not rotated
        ((7, 32, 32), {"backbone": "vit_mini"}, True, 7 * 4),
    ],
)
def test_what_prediction_costs_counts_copies(
    fakes: SimpleNamespace,
    shape: tuple[int, ...],
    changes: dict[str, str],
    mirror: bool,
    patches: int,
) -> None:
    plan = fakes.make_plan(mirror_axes=(1, 2), patch_size=(32, 32))
    configuration = plan.configuration(plan.default_configuration)
    network = dataclasses.replace(preset("cnn"), **changes)
    configuration = dataclasses.replace(configuration, network=network)
    assert count_patches(configuration, shape, PredictorOptions(device="cpu", mirror=mirror)) == patches


def volume_plan(fakes: SimpleNamespace, **changes: object) -> Plan:
    """One configuration whose networks see patches of 8 × 16 × 16 voxels."""
    return fakes.make_plan(slicing_axes=(0, 1, 2), network=volume_network(), **changes)


@pytest.mark.parametrize("held_bytes", [2**30, 0])
def test_volumes_are_predicted_patch_by_patch(fakes: SimpleNamespace, held_bytes: int) -> None:
    image = np.random.default_rng(0).normal(size=(1, 11, 20, 14)).astype(np.float32)
    options = PredictorOptions(device="cpu", amp=False, held_bytes=held_bytes)
    predictor = predictor_of(fakes, volume_plan(fakes), [fakes.PixelNetwork()], options)
    source = predictor.logits(image)
    assert isinstance(source, ArrayLogits if held_bytes else LazyLogits)
    logits = torch.cat([source.read(start, min(11, start + 3)) for start in range(0, 11, 3)], dim=1)
    expected = -((image - np.arange(3)[:, None, None, None]) ** 2)
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert count_patches(predictor.configuration, (11, 20, 14)) == 2 * 2 * 1 * 8


def test_patches_of_volumes_are_added_up_where_half_the_room_holds_their_sums_and_a_slab(
    fakes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device without data stands for a GPU that has room; the other half is left to the networks."""
    predictor, sizes = predictor_of(fakes, volume_plan(fakes), [fakes.PixelNetwork()]), []

    def home(size: int, times: int) -> torch.device:
        sizes.append(size * times)
        return torch.device("meta")

    monkeypatch.setattr(predictor, "_home", home)
    slab = predictor._slabs(np.zeros((1, 11, 20, 14), np.float32))(0, 3)
    assert slab.device.type == "meta"
    sums = 4 * (3 + 1) * 11 * 20 * 16  # classes and weights; the patch is 16 wide
    assert sizes == [2 * (sums + 4 * 3 * 11 * 20 * 14)]


class ThreeClasses(torch.nn.Module):
    """The image, thrice; `doing` is called first."""

    def __init__(self, doing: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.doing = doing

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.doing()
        return torch.cat([image] * 3, dim=1)


def large_volume_members(
    fakes: SimpleNamespace, network: torch.nn.Module, held_bytes: int = 0, **changes: object
) -> list[Member]:
    options = PredictorOptions(device="cpu", amp=False, held_bytes=held_bytes)
    return [Member(predictor_of(fakes, volume_plan(fakes, **changes), [network], options))]


def label_of_ones(members: list[Member], lock: NetworkLock, probabilities: Path | None = None) -> None:
    """Predict 24 × 16 × 16 voxels."""
    geometry = Geometry(dimension=3, shape_zyx=(24, 16, 16), spacing_mm=(1.0,) * 3)
    image = Image(np.ones((1, *geometry.shape_zyx), np.float32), geometry)
    label_of_image("case", image, members, network_lock=lock, probabilities=probabilities)


def nobody_holds_sums(lock: NetworkLock) -> bool:
    def take(_: None) -> None:
        with lock.hold_sums():
            pass

    try:
        run_with_limit(take, None, 0.3)
    except CaseStalled:
        return False
    return True


@pytest.mark.parametrize(
    ("held_bytes", "at_once"),
    [
        (4 * (3 + 1) * 8 * 16 * 16 - 1, 1),  # classes and weights, a patch deep
        (4 * (3 + 1) * 8 * 16 * 16, 3),  # no more than any case may hold
    ],
)
def test_cases_take_turns_at_sums_of_volumes_that_are_larger_than_what_each_may_hold(
    fakes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, held_bytes: int, at_once: int
) -> None:
    """They are a patch deep, for every class: cases in flight took turns at the network, slab by slab."""
    monkeypatch.setattr(predictor_module, "SLAB_BYTES", 1)
    monkeypatch.setattr(export, "chunk_spans", lambda classes, shape, _: chunk_spans(classes, shape, 1))
    together, read = threading.Barrier(3), LazyLogits.read
    inside: set[int] = set()
    most: list[int] = []

    def read_slowly(self: LazyLogits, start: int, stop: int) -> torch.Tensor:
        inside.add(id(self))
        most.append(len(inside))
        if start == 0 and at_once == 3:
            together.wait(60)
        time.sleep(0.005)  # in which others would come to the network
        slab = read(self, start, stop)
        if stop == 24:
            inside.remove(id(self))
        return slab

    monkeypatch.setattr(LazyLogits, "read", read_slowly)
    members = large_volume_members(fakes, ThreeClasses(), held_bytes)
    lock = NetworkLock(StageClock())
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: label_of_ones(members, lock), range(3)))
    assert max(most) == at_once


def test_a_case_that_fails_leaves_the_sums_to_the_next(fakes: SimpleNamespace) -> None:
    def fail() -> None:
        raise RuntimeError("the card is gone")

    lock = NetworkLock(StageClock())
    with pytest.raises(RuntimeError, match="gone"):
        label_of_ones(large_volume_members(fakes, ThreeClasses(fail)), lock)
    assert nobody_holds_sums(lock)


def test_sums_are_gone_and_left_to_the_next_case_before_the_file_of_probabilities_is_finished(
    fakes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Checksum and sync of gigabytes take a while."""
    made: weakref.WeakSet[VolumeLogits] = weakref.WeakSet()
    lock, seen, checksum = NetworkLock(StageClock()), [], probabilities_module._crc32

    def checksum_noted(array: object) -> int:
        seen.append((nobody_holds_sums(lock), len(made)))
        return checksum(array)  # type: ignore[arg-type]

    class Noted(VolumeLogits):
        def __init__(self, *words: object) -> None:
            super().__init__(*words)  # type: ignore[arg-type]
            made.add(self)

    monkeypatch.setattr(probabilities_module, "_crc32", checksum_noted)
    monkeypatch.setattr(predictor_module, "VolumeLogits", Noted)
    label_of_ones(large_volume_members(fakes, ThreeClasses()), lock, tmp_path / "p_probabilities.b2nd")
    assert seen == [(True, 0)]


def test_logits_of_a_volume_in_one_piece_wait_for_the_sums_of_others(fakes: SimpleNamespace) -> None:
    """As an ensemble over other slicing axes computes them: they are added up just so."""
    lock, seen = NetworkLock(StageClock()), []
    slices = predictor_of(fakes, fakes.make_plan(), [fakes.PixelNetwork()])
    network = ThreeClasses(lambda: seen or seen.append(nobody_holds_sums(lock)))
    turned = large_volume_members(fakes, network, transpose=(1, 0, 2))
    label_of_ones([Member(slices), *turned], lock)
    assert seen == [False]
    assert nobody_holds_sums(lock)


def test_a_case_that_hangs_beyond_its_time_takes_no_other_along(
    fakes: SimpleNamespace,
    image_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its thread cannot be stopped, so nobody may wait for the sums that it has."""
    released, hangs, read = threading.Event(), iter([True]), LazyLogits.read

    def read_or_hang(self: LazyLogits, start: int, stop: int) -> torch.Tensor:
        slab = read(self, start, stop)
        if next(hangs, False):
            released.wait(120)
        return slab

    monkeypatch.setattr(LazyLogits, "read", read_or_hang)
    (member,) = large_volume_members(fakes, ThreeClasses())
    try:
        report = predict_files(
            member.predictor,
            image_cases(image_folder(5), ".nii.gz", 1),
            tmp_path / "out",
            FileOptions(workers=2, case_timeout_s=6.0),
        )
    finally:
        released.set()
    assert len(report.failed) == 1
    assert len(report.written) == 4


class Slow(torch.nn.Module):
    """Takes a while over each batch: `seconds` are used up in turn, then the last is."""

    def __init__(self, network: torch.nn.Module, *seconds: float) -> None:
        super().__init__()
        self.network, self.seconds = network, list(seconds)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0])
        made: torch.Tensor = self.network(image)
        return made


def test_waiting_for_the_network_does_not_count_to_a_case_s_time(
    fakes: SimpleNamespace, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """Four cases of a second at the network, all at once: the last waits for three."""
    plan = fakes.make_plan(patch_size=(32, 32), mirror_axes=())
    predictor = predictor_of(fakes, plan, [Slow(fakes.PixelNetwork(), 1.0)])
    cases = image_cases(image_folder(4, shape=(1, 20, 18)), ".nii.gz", 1)
    report = predict_files(predictor, cases, tmp_path / "out", FileOptions(workers=4, case_timeout_s=2.8))
    assert report.failed == {}
    assert report.seconds["waiting"] > 2.8


def test_a_case_that_was_given_up_writes_nothing_and_leaves_the_network_to_the_others(
    fakes: SimpleNamespace, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    plan = fakes.make_plan(patch_size=(32, 32), mirror_axes=())
    predictor = predictor_of(fakes, plan, [Slow(fakes.PixelNetwork(), 4.0, 0.0)])
    cases = image_cases(image_folder(3, shape=(1, 20, 18)), ".nii.gz", 1)
    out, options = tmp_path / "out", FileOptions(workers=1, case_timeout_s=3.0, save_probabilities=True)
    report = predict_files(predictor, cases, out, options)
    assert list(report.failed) == ["case0"]
    for thread in threading.enumerate():
        if thread.name == "case":  # which would write now
            thread.join(60)
    assert {path.name.partition("_")[0].partition(".")[0] for path in out.iterdir()} == {
        "case1",
        "case2",
        "prediction",
    }


def test_cases_that_wait_for_one_that_hangs_at_the_network_end_too(
    fakes: SimpleNamespace, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    released = threading.Event()

    class Hangs(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            released.wait(60)
            return image

    predictor = predictor_of(fakes, fakes.make_plan(), [Hangs()])
    cases = image_cases(image_folder(3), ".nii.gz", 1)
    try:
        report = predict_files(predictor, cases, tmp_path / "out", FileOptions(workers=3, case_timeout_s=0.5))
    finally:
        released.set()
    assert len(report.failed) == 3


def test_slabs_that_were_computed_on_several_devices_make_one() -> None:
    """A GPU may have no room for a later one; the device without data stands for another."""
    devices = iter(["cpu", "meta"])
    source = LazyLogits(lambda *span: torch.zeros(2, 2, 4, 4, device=next(devices)), 2, (4, 4, 4), slab=2)
    source.read(0, 2)
    assert source.read(1, 4).shape == (2, 3, 4, 4)


def test_slices_and_volumes_make_one_ensemble(fakes: SimpleNamespace) -> None:
    image = np.random.default_rng(0).integers(0, 3, size=(1, 11, 20, 14)).astype(np.float32)
    members = [
        Member(predictor_of(fakes, plan, [fakes.PixelNetwork()]))
        for plan in (fakes.make_plan(), volume_plan(fakes))
    ]
    geometry = Geometry(dimension=3, shape_zyx=(11, 20, 14), spacing_mm=(1.0, 1.0, 1.0))
    label = label_of_image("case", Image(image, geometry), members)
    np.testing.assert_array_equal(label, image[0])


def test_a_full_temporary_folder_is_an_error_and_not_the_end_of_the_process(
    fakes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing into a sparse map of a full disk is SIGBUS."""
    asked: list[int] = []

    def full(descriptor: int, start: int, size: int) -> None:
        asked.append(size)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    options = PredictorOptions(device="cpu", amp=False, held_bytes=0)
    predictor = predictor_of(fakes, fakes.make_plan(slicing_axes=(0, 1, 2)), [fakes.PixelNetwork()], options)
    with pytest.raises(OSError, match="No space left"):
        predictor.logits(np.zeros((1, 7, 16, 16), np.float32))
    assert asked == [3 * 7 * 16 * 16 * np.dtype(np.float16).itemsize]


@pytest.mark.parametrize("slicing_axes", [(0,), (0, 1, 2)])
def test_logits_too_large_to_hold_are_the_same(fakes: SimpleNamespace, slicing_axes: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).normal(size=(1, 7, 16, 16)).astype(np.float32)
    plan = fakes.make_plan(slicing_axes=slicing_axes)
    network = fakes.WeightedNetwork(1, 3)
    whole = predictor_of(fakes, plan, [network]).logits(image)
    bounded = predictor_of(
        fakes, plan, [network], PredictorOptions(device="cpu", amp=False, held_bytes=0)
    ).logits(image)
    assert isinstance(whole, ArrayLogits)
    assert isinstance(bounded, LazyLogits if slicing_axes == (0,) else ArrayLogits)
    torch.testing.assert_close(
        bounded.read(0, 7), whole.read(0, 7), atol=2e-3, rtol=2e-3
    )  # the file on disk is float16


def test_an_array_is_segmented_on_its_own_grid(fakes: SimpleNamespace) -> None:
    image = np.random.default_rng(0).integers(0, 3, (1, 4, 20, 15)).astype(np.uint8)
    label = predict_array(
        predictor_of(fakes, fakes.make_plan(), [fakes.PixelNetwork()]), image, (2.0, 1.0, 1.0)
    )
    np.testing.assert_array_equal(label, image[0])


def test_an_array_is_taken_as_stored_like_the_training_volumes(fakes: SimpleNamespace) -> None:
    """Without a header nobody knows how it lies: the file whose header says RAS, as in training, is the
    oracle; "LPS" would be turned twice around."""
    plan = dataclasses.replace(fakes.make_plan(mirror_axes=()), orientations=("RAS",))
    predictor = predictor_of(fakes, plan, [SeesWhere(fakes.WeightedNetwork(1, 3))])
    data = np.random.default_rng(0).normal(size=(1, 5, 6, 7)).astype(np.float32)
    stored = Geometry(dimension=3, shape_zyx=(5, 6, 7), spacing_mm=(1.0, 1.0, 1.0), direction=RAS)
    expected = label_of_image("file", Image(data, stored), [Member(predictor)])
    np.testing.assert_array_equal(predict_array(predictor, data, stored.spacing_mm), expected)
    np.testing.assert_array_equal(predict(data, predictor, spacing_mm=stored.spacing_mm), expected)


def test_a_single_slice_of_a_volume_is_as_thick_as_it_is_said_to_be(fakes: SimpleNamespace) -> None:
    """The same slice from a file is the oracle; a picture would be 999 mm thick."""
    predictor = predictor_of(fakes, fakes.make_plan(transpose=(1, 0, 2)), [fakes.WeightedNetwork(1, 3)])
    data = np.random.default_rng(0).normal(size=(1, 1, 16, 16)).astype(np.float32)
    grid = Geometry(dimension=3, shape_zyx=(1, 16, 16), spacing_mm=(2.0, 1.0, 1.0))
    expected = label_of_image("file", Image(data, grid), [Member(predictor)])
    np.testing.assert_array_equal(predict_array(predictor, data, grid.spacing_mm), expected)


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 1.0, 1.0, 1.0)])
def test_a_spacing_of_other_numbers_of_axes_is_refused(
    fakes: SimpleNamespace, spacing: tuple[float, ...]
) -> None:
    predictor = predictor_of(fakes, fakes.make_plan(), [fakes.PixelNetwork()])
    with pytest.raises(PredictionError, match=r"three numbers in mm \(z, y, x\), or two"):
        predict_array(predictor, np.zeros((1, 1, 16, 16), np.float32), spacing)


def test_files_are_predicted_with_the_geometry_of_their_images(
    fakes: SimpleNamespace, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    cases = image_cases(image_folder(4), ".nii.gz", 1)
    report = predict_files(
        predictor_of(fakes, fakes.make_plan(transpose=(1, 0, 2)), [fakes.PixelNetwork()]),
        cases,
        tmp_path / "out",
    )
    assert [path.name for path in report.written] == [f"case{index}.nii.gz" for index in range(4)]
    assert not report.failed
    for case, files in cases.items():
        label = tmp_path / "out" / f"{case}.nii.gz"
        assert read_geometry(label) == read_geometry(files.images[0])
        np.testing.assert_array_equal(read_label(label).data, read_image(files.images).data)
    assert {"read", "preprocess", "network", "export", "write"} <= set(report.seconds)
    assert "network" in report.table()


def test_a_broken_case_is_reported_and_the_others_finish(
    fakes: SimpleNamespace, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder(3)
    (folder / "case1_0000.nii.gz").write_bytes(b"no image")
    report = predict_files(
        predictor_of(fakes, fakes.make_plan(), [fakes.PixelNetwork()]),
        image_cases(folder, ".nii.gz", 1),
        tmp_path / "out",
    )
    assert list(report.failed) == ["case1"]
    assert len(report.written) == 2
    assert sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz")) == [
        "case0.nii.gz",
        "case2.nii.gz",
    ]


def test_an_image_with_other_channels_is_refused_with_both_numbers(
    fakes: SimpleNamespace, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    plan = fakes.make_plan(normalization=("none", "none"), normalize_inside_mask=(False, False))
    cases = image_cases(image_folder(1), ".nii.gz", 1)
    report = predict_files(
        predictor_of(fakes, plan, [fakes.PixelNetwork(channels=2)]), cases, tmp_path / "out"
    )
    assert report.failed["case0"].found == "1 channel(s)"
    assert report.failed["case0"].expected.startswith("2")


def test_continuing_skips_what_is_there_and_refuses_another_model(
    fakes: SimpleNamespace, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    cases, output = image_cases(image_folder(3), ".nii.gz", 1), tmp_path / "out"
    predictor = predictor_of(fakes, fakes.make_plan(), [fakes.PixelNetwork()])
    predict_files(predictor, {"case1": cases["case1"]}, output)
    (output / ".tmp-99999-case2.nii.gz").write_bytes(b"half a file")
    report = predict_files(predictor, cases, output, FileOptions(skip_existing=True))
    assert report.skipped == ("case1",)
    assert len(report.written) == 2
    assert not list(output.glob(".tmp*"))
    other = predictor_of(fakes, fakes.make_plan(patch_size=(24, 24)), [fakes.PixelNetwork()])
    with pytest.raises(PredictionError, match="made otherwise"):
        predict_files(other, cases, output, FileOptions(skip_existing=True))


def test_a_case_that_fails_leaves_no_older_prediction_behind(
    fakes: SimpleNamespace, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    plan, images = fakes.make_plan(), image_folder(2)
    predictor = Predictor(
        [fakes.PixelNetwork()],
        plan,
        plan.configuration("2d"),
        fakes.plain_labels(2),
        PredictorOptions(device="cpu"),
    )
    cases = {name: CaseFiles(name, (images / f"{name}_0000.nii.gz",)) for name in ("case0", "case1")}
    predict_files(predictor, cases, tmp_path / "out", FileOptions(save_probabilities=True))
    (images / "case1_0000.nii.gz").write_bytes(b"no image")
    assert list(predict_files(predictor, cases, tmp_path / "out").failed) == ["case1"]
    assert {path.name for path in (tmp_path / "out").glob("case*")} == {"case0.nii.gz"}


def test_postprocessing_is_applied_to_what_is_written(
    fakes: SimpleNamespace, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    rules = Postprocessing(steps=(PostprocessingStep(kind="minimum_size", names=("l1",), minimum_size=1e9),))
    cases = image_cases(image_folder(1), ".nii.gz", 1)
    predict_files(
        predictor_of(fakes, fakes.make_plan(), [fakes.PixelNetwork()]),
        cases,
        tmp_path,
        FileOptions(postprocessing=rules),
    )
    assert set(np.unique(read_label(tmp_path / "case0.nii.gz").data)) == {0, 2}


def test_an_ensemble_of_other_slicing_is_the_mean_of_probabilities(
    fakes: SimpleNamespace, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """One member slices along another axis; the oracle predicts each alone and averages."""
    files = image_cases(image_folder(1, (6, 7, 8)), ".nii.gz", 1)
    plans = [fakes.make_plan(mirror_axes=()), fakes.make_plan(mirror_axes=(), transpose=(2, 0, 1))]
    networks = [fakes.WeightedNetwork(1, 3, seed) for seed in (0, 1)]
    members = [
        Member(predictor_of(fakes, plan, [network]), weight)
        for plan, network, weight in zip(plans, networks, (1.0, 3.0), strict=True)
    ]
    predict_cases(members, files, tmp_path / "out")
    image = read_image(files["case0"].images).data
    mean = np.zeros((3, 6, 7, 8))
    for member in members:
        order = member.predictor.configuration.transpose
        turned = np.ascontiguousarray(image.transpose(0, *(1 + axis for axis in order)))
        logits = member.predictor.predict_preprocessed(turned).transpose(
            0, *(1 + axis for axis in np.argsort(order))
        )
        mean += member.weight * np.exp(logits) / np.exp(logits).sum(0)
    np.testing.assert_array_equal(read_label(tmp_path / "out" / "case0.nii.gz").data[0], mean.argmax(0))


def test_folds_hold_their_equal_weights_once(fakes: SimpleNamespace) -> None:
    plan = fakes.make_plan()
    models = [fakes.WeightedNetwork(1, 3, seed=0) for _ in range(2)]
    models[1].layer.bias.data += 1
    image = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    settings = (
        plan,
        plan.configuration("2d"),
        fakes.plain_labels(2),
        PredictorOptions(device="cpu", amp=False),
    )
    apart = np.mean([Predictor([model], *settings).predict_preprocessed(image) for model in models], axis=0)
    together = Predictor((model for model in models), *settings)
    np.testing.assert_allclose(together.predict_preprocessed(image), apart, atol=1e-5)
    first, second = (model.layer for model in together.models)
    assert first.weight.data_ptr() == second.weight.data_ptr()
    assert first.bias.data_ptr() != second.bias.data_ptr()


def test_a_cpu_takes_few_batches_of_equal_size(fakes: SimpleNamespace) -> None:
    plan, seen = fakes.make_plan(), []
    network = fakes.WeightedNetwork(1, 3)
    network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    predictor = Predictor(
        [network], plan, plan.configuration("2d"), fakes.plain_labels(2), PredictorOptions(device="cpu")
    )
    predictor.predict_preprocessed(
        np.zeros((1, 75, 16, 16), np.float32)
    )  # 75 slices in 4 mirrored copies; 256 patches of 32×32 fit
    assert seen == [150, 150]


def test_how_many_patches_memory_holds_is_learnt_once_for_all_cases(fakes: SimpleNamespace) -> None:
    plan, seen = fakes.make_plan(), []
    network = fakes.WeightedNetwork(1, 3)

    def refuse(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(len(inputs[0]))
        if len(inputs[0]) > 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    network.register_forward_pre_hook(refuse)
    predictor = predictor_of(fakes, plan, [network])
    image = np.zeros((1, 2, 16, 16), np.float32)  # 2 slices in 4 mirrored copies
    predictor.predict_preprocessed(image)
    predictor.predict_preprocessed(image)
    assert seen == [8, 4, 4, 4, 4]


@pytest.mark.parametrize(("free", "idle", "home"), [(100, 0, "cpu"), (400, 0, "cuda"), (100, 300, "cuda")])
def test_logits_wait_on_the_card_where_free_and_idle_memory_hold_them_four_times(
    fakes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, free: int, idle: int, home: str
) -> None:
    """What the allocator keeps of earlier batches counts: a card that was full once is not so for ever."""
    predictor = predictor_of(fakes, fakes.make_plan(), [fakes.WeightedNetwork(1, 3)])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 50 + idle)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 50)
    predictor.device = torch.device("cuda", 1)
    assert predictor._home(100).type == home
    assert predictor._home(200, times=2).type == home
    predictor.device = torch.device("cpu")
    assert predictor._home(1).type == "cpu"
