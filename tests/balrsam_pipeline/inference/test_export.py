"""Export against skimage's resize and NumPy's argmax."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize
from torch.overrides import TorchFunctionMode

from balrsam_pipeline.dataset import LabelScheme
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.inference.export import (
    ImageGrid,
    WeightedSource,
    chunk_spans,
    export_label,
    resampled_chunk,
)
from balrsam_pipeline.inference.logits import ArrayLogits, LazyLogits

shapes = st.tuples(st.integers(1, 9), st.integers(2, 12), st.integers(2, 12))


def oracle_resize(logits: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    return np.stack(
        [
            resize(channel, shape, order=1, mode="edge", clip=False, anti_aliasing=False)
            for channel in logits.astype(np.float64)
        ]
    )


def random_logits(classes: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(classes, *shape)).astype(np.float32)


@given(shape_in=shapes, shape_out=shapes, chunk_bytes=st.sampled_from([1, 2000, 10**6]), lazy=st.booleans())
@settings(max_examples=60, deadline=None)
def test_resampled_chunks_are_those_of_skimage_resize(
    shape_in: tuple[int, int, int], shape_out: tuple[int, int, int], chunk_bytes: int, lazy: bool
) -> None:
    logits = random_logits(2, shape_in)
    tensor = torch.from_numpy(logits)
    source = (
        LazyLogits(lambda start, stop: tensor[:, start:stop], 2, shape_in, slab=2)
        if lazy
        else ArrayLogits(tensor)
    )
    chunks = [
        resampled_chunk(source, shape_out, start, stop).numpy()
        for start, stop in chunk_spans(2, shape_out, chunk_bytes)
    ]
    np.testing.assert_allclose(np.concatenate(chunks, axis=1), oracle_resize(logits, shape_out), atol=1e-5)


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
def test_labels_land_where_crop_and_transpose_say(
    fakes: SimpleNamespace, transpose: tuple[int, int, int]
) -> None:
    grid = ImageGrid(shape_zyx=(9, 10, 11), crop_zyx=((1, 7), (2, 10), (0, 5)), transpose=transpose)
    logits = random_logits(4, (5, 6, 7))
    label = export_label(
        [WeightedSource(ArrayLogits(torch.from_numpy(logits)))], grid, fakes.plain_labels(3), chunk_bytes=500
    )
    expected = np.zeros((9, 10, 11), dtype=np.uint8)
    inside = oracle_resize(logits, grid.cropped_shape).argmax(0)
    expected[1:7, 2:10, 0:5] = inside.transpose(np.argsort(transpose))
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, expected)


def test_regions_are_painted_in_their_order(fakes: SimpleNamespace) -> None:
    logits = random_logits(2, (3, 4, 5))
    grid = ImageGrid(shape_zyx=(3, 4, 5), crop_zyx=((0, 3), (0, 4), (0, 5)), transpose=(0, 1, 2))
    label = export_label([WeightedSource(ArrayLogits(torch.from_numpy(logits)))], grid, fakes.region_labels())
    np.testing.assert_array_equal(label, np.where(logits[1] > 0, 2, np.where(logits[0] > 0, 1, 0)))


@pytest.mark.parametrize("regions", [False, True])
def test_an_ensemble_decodes_the_weighted_mean_of_probabilities(
    fakes: SimpleNamespace, regions: bool
) -> None:
    labels = fakes.region_labels() if regions else fakes.plain_labels(2)
    shape = (4, 5, 6)
    logits = [random_logits(labels.classes, shape, seed) for seed in range(3)]
    weights = [1.0, 2.0, 0.5]
    grid = ImageGrid(shape_zyx=shape, crop_zyx=((0, 4), (0, 5), (0, 6)), transpose=(0, 1, 2))
    got: list[np.ndarray] = []
    sources = [
        WeightedSource(ArrayLogits(torch.from_numpy(item)), weight)
        for item, weight in zip(logits, weights, strict=True)
    ]
    label = export_label(
        sources, grid, labels, lambda start, stop, values: got.append(values.numpy().copy()), chunk_bytes=300
    )
    if regions:
        each = [1 / (1 + np.exp(-item.astype(np.float64))) for item in logits]
    else:
        each = [np.exp(item.astype(np.float64)) / np.exp(item.astype(np.float64)).sum(0) for item in logits]
    mean = np.average(each, axis=0, weights=weights)
    np.testing.assert_allclose(np.concatenate(got, axis=1), mean, atol=1e-6)
    expected = np.where(mean[1] > 0.5, 2, np.where(mean[0] > 0.5, 1, 0)) if regions else mean.argmax(0)
    np.testing.assert_array_equal(label, expected)


def test_labels_above_255_are_kept(fakes: SimpleNamespace) -> None:
    logits = torch.zeros(301, 1, 2, 2)
    logits[300, 0, 1, 1] = 5
    grid = ImageGrid(shape_zyx=(1, 2, 2), crop_zyx=((0, 1), (0, 2), (0, 2)), transpose=(0, 1, 2))
    label = export_label([WeightedSource(ArrayLogits(logits))], grid, fakes.plain_labels(300))
    assert label.dtype == np.uint16
    assert label.tolist() == [[[0, 0], [0, 300]]]


def test_slabs_that_were_forgotten_are_refused() -> None:
    source = LazyLogits(lambda start, stop: torch.zeros(1, stop - start, 2, 2), 1, (6, 2, 2), slab=1)
    source.read(3, 4)
    with pytest.raises(ValueError, match="forgotten"):
        source.read(1, 2)


class CopiesOut(TorchFunctionMode):
    """What is copied out of a device: arguments of `cpu`, and that nothing else is."""

    def __init__(self) -> None:
        super().__init__()
        self.copied: list[torch.Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        assert name not in ("item", "tolist"), "a value was waited for"
        if name == "cpu":
            self.copied.append(args[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("regions", [False, True])
def test_of_a_case_only_the_finished_labels_are_copied_out_of_the_device(
    fakes: SimpleNamespace, regions: bool
) -> None:
    labels = fakes.region_labels() if regions else fakes.plain_labels(2)
    source = ArrayLogits(torch.from_numpy(random_logits(labels.classes, (4, 5, 6))))
    grid = ImageGrid(shape_zyx=(7, 9, 8), crop_zyx=((0, 7), (0, 9), (0, 8)), transpose=(0, 1, 2))
    with CopiesOut() as copies:
        export_label([WeightedSource(source)], grid, labels, chunk_bytes=500)
    assert [(tensor.dtype, tuple(tensor.shape)) for tensor in copies.copied] == [(torch.uint8, (7, 9, 8))]


def test_logits_on_several_devices_make_one_label_map(
    fakes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU may have no room for later slabs; the device without data, which copies as zeros, stands for
    it."""
    monkeypatch.setattr(
        torch.Tensor, "cpu", lambda self: torch.zeros(self.shape, dtype=self.dtype) if self.is_meta else self
    )
    monkeypatch.setattr("balrsam_pipeline.inference.export._require_finite", lambda values: None)
    devices = iter(["meta", "cpu"])
    here = torch.tensor([0.0, 1.0, 0.0])[:, None, None, None].expand(3, 1, 4, 4)
    source = LazyLogits(lambda *_: here.to(next(devices)), 3, (2, 4, 4), slab=1)
    grid = ImageGrid(shape_zyx=(2, 4, 4), crop_zyx=((0, 2), (0, 4), (0, 4)), transpose=(0, 1, 2))
    label = export_label([WeightedSource(source)], grid, fakes.plain_labels(2), chunk_bytes=1)
    np.testing.assert_array_equal(label, np.stack([np.zeros((4, 4)), np.ones((4, 4))]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize("labels", ["plain_labels", "region_labels"])
def test_logits_that_are_no_numbers_are_an_error_and_no_background(
    fakes: SimpleNamespace, labels: str, models: int, value: float
) -> None:
    scheme: LabelScheme = getattr(fakes, labels)()
    logits = random_logits(scheme.classes, (3, 4, 5))
    logits[-1, 2, 3, 4] = value
    source = WeightedSource(ArrayLogits(torch.from_numpy(logits)))
    other = WeightedSource(ArrayLogits(torch.zeros(scheme.classes, 3, 4, 5)))
    grid = ImageGrid(shape_zyx=(3, 4, 5), crop_zyx=((0, 3), (0, 4), (0, 5)), transpose=(0, 1, 2))
    if labels == "region_labels" and models == 2 and value == np.inf:
        return  # a probability of 1, as it should be
    with pytest.raises(PredictionError, match="--no-amp"):
        export_label([source, other][:models], grid, scheme)
