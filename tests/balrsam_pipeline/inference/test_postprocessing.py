"""Rules against scipy's connected components."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.imageio import Geometry
from balrsam_pipeline.inference import (
    Postprocessing,
    PostprocessingStep,
    apply_postprocessing,
    postprocessing,
    read_postprocessing,
    write_postprocessing,
)
from balrsam_pipeline.inference.postprocessing import SizeUnit, size_unit, voxel_size

CORNERS = np.ones((3, 3, 3))


def geometry(shape: tuple[int, ...]) -> Geometry:
    return Geometry(dimension=3, shape_zyx=shape, spacing_mm=(3.0, 1.0, 0.5))


@given(
    label=hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=7),
        elements=st.sampled_from([0, 0, 1, 2, 3]),
        fill=st.just(0),
    ),
    names=st.sampled_from([("l1",), ("l1", "l3")]),
    minimum=st.floats(0, 12),
    unit=st.sampled_from(["mm3", "share"]),
)
@settings(deadline=None, max_examples=80)
def test_what_is_dropped_agrees_with_scipy(
    fakes: SimpleNamespace, label: np.ndarray, names: tuple[str, ...], minimum: float, unit: SizeUnit
) -> None:
    mask = (label == 1) | (label == 3 if len(names) > 1 else False)
    components, count = ndimage.label(mask, structure=CORNERS)
    sizes = ndimage.sum_labels(mask, components, range(1, count + 1))
    one, minimum = (1 / label.size, minimum / 40) if unit == "share" else (1.5, minimum)

    def cleaned(**rule: Any) -> np.ndarray:
        before, step = label.copy(), PostprocessingStep(names=names, **rule)
        after = apply_postprocessing(
            label, geometry(label.shape), fakes.plain_labels(3), Postprocessing(steps=(step,))
        )
        np.testing.assert_array_equal(label, before)
        return after

    small = np.isin(components, 1 + np.flatnonzero(sizes * one < minimum))
    np.testing.assert_array_equal(
        cleaned(kind="minimum_size", minimum_size=minimum, unit=unit), np.where(small, 0, label)
    )
    largest = cleaned(kind="largest_component")
    np.testing.assert_array_equal(largest[~mask], label[~mask])
    rest = mask & (largest != 0)
    assert rest.sum() == (sizes.max() if count else 0)
    assert ndimage.label(rest, structure=CORNERS)[1] == min(count, 1)


def test_only_the_named_label_changes_and_the_input_is_left_alone(fakes: SimpleNamespace) -> None:
    label = np.zeros((1, 5, 9), dtype=np.uint8)
    label[0, 0, :2], label[0, 4, 5:9], label[0, 0, 8] = 1, 1, 2
    before = label.copy()
    rules = Postprocessing(steps=(PostprocessingStep(kind="largest_component", names=("l1",)),))
    cleaned = apply_postprocessing(label, geometry(label.shape), fakes.plain_labels(2), rules)
    np.testing.assert_array_equal(label, before)
    assert cleaned[0, 0, 0] == 0 and cleaned[0, 4, 5] == 1 and cleaned[0, 0, 8] == 2


@pytest.mark.parametrize(("name", "expected"), [("whole", 0), ("core", 1), ("enhancing", 2)])
def test_what_a_region_drops_is_what_holds_it(name: str, expected: int) -> None:
    """A speck of enhancing tumour that is none is necrosis: as background it would be a hole in the core."""
    labels = LabelScheme(
        names=("whole", "core", "enhancing"),
        values=((1, 2, 3), (2, 3), (3,)),
        has_regions=True,
        region_order=(1, 2, 3),
        ignore_value=None,
        largest=3,
    )
    value = {"whole": 1, "core": 2, "enhancing": 3}[name]
    label = np.full((1, 5, 5), expected, dtype=np.uint8)
    label[0, 2, 2] = value
    step = PostprocessingStep(kind="minimum_size", names=(name,), minimum_size=4, unit="pixels")
    cleaned = apply_postprocessing(label, geometry(label.shape), labels, Postprocessing(steps=(step,)))
    np.testing.assert_array_equal(cleaned, expected)


def test_what_a_rule_looks_at_is_the_box_of_its_labels(
    fakes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the whole volume, it would take 18 bytes a voxel and 18 times as long."""
    looked_at: list[tuple[int, ...]] = []

    def noted(mask_zyx: np.ndarray) -> tuple[np.ndarray, int]:
        looked_at.append(mask_zyx.shape)
        return ndimage.label(mask_zyx, structure=CORNERS)

    monkeypatch.setattr(postprocessing, "connected_components", noted)
    label = np.zeros((40, 50, 60), dtype=np.uint8)
    label[3:7, 10:20, 30:33] = label[5, 22, 40] = 1
    label[39, 49, 59] = 2
    steps = [PostprocessingStep(kind="largest_component", names=(name,)) for name in ("l1", "l2", "l3")]
    rules = Postprocessing(steps=tuple(steps))
    cleaned = apply_postprocessing(label, geometry(label.shape), fakes.plain_labels(3), rules)
    assert looked_at == [(4, 13, 11), (1, 1, 1)]
    assert (label != cleaned).sum() == 1 and cleaned[5, 22, 40] == 0


def test_sizes_of_2d_images_are_areas() -> None:
    flat = Geometry(dimension=2, shape_zyx=(1, 4, 4), spacing_mm=(999.0, 0.5, 0.5))
    assert voxel_size(flat) == 0.25
    assert voxel_size(geometry((1, 4, 4))) == 1.5


def test_rules_survive_the_file_and_a_foreign_label_is_refused(
    fakes: SimpleNamespace, tmp_path: Path
) -> None:
    rules = Postprocessing(
        steps=(PostprocessingStep(kind="minimum_size", names=("liver",), minimum_size=2.5),),
        reasons=("because",),
    )
    write_postprocessing(tmp_path / "postprocessing.json", rules)
    assert read_postprocessing(tmp_path / "postprocessing.json") == rules
    with pytest.raises(PredictionError, match="liver"):
        apply_postprocessing(np.zeros((1, 2, 2), np.uint8), geometry((1, 2, 2)), fakes.plain_labels(2), rules)


def test_rules_of_the_first_version_are_read(tmp_path: Path) -> None:
    step = {"kind": "minimum_size", "names": ["liver"], "minimum_mm3": 2.5}
    path = tmp_path / "postprocessing.json"
    path.write_text(json.dumps({"schema_version": 1, "steps": [step], "reasons": []}))
    (found,) = read_postprocessing(path).steps
    assert (found.minimum_size, found.unit) == (2.5, None)


@pytest.mark.parametrize(
    ("dimension", "spacing_mm", "unit"),
    [
        (3, (1.0, 1.0, 1.0), "mm3"),
        (2, (999.0, 1.0, 1.0), "pixels"),
        (2, (499.5, 0.5, 0.5), "mm2"),
    ],
)
def test_sizes_are_named_by_what_the_image_knows(
    dimension: int, spacing_mm: tuple[float, float, float], unit: str
) -> None:
    assert size_unit(Geometry(dimension=dimension, shape_zyx=(1, 4, 4), spacing_mm=spacing_mm)) == unit
