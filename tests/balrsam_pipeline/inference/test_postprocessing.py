"""Rules against scipy's connected components."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

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
    read_postprocessing,
    write_postprocessing,
)
from balrsam_pipeline.inference.postprocessing import dropped_voxels, size_unit, voxel_size

CORNERS = np.ones((3, 3, 3))


def geometry(shape: tuple[int, ...]) -> Geometry:
    return Geometry(dimension=3, shape_zyx=shape, spacing_mm=(3.0, 1.0, 0.5))


@given(mask=hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)), minimum=st.floats(0, 12))
@settings(deadline=None, max_examples=80)
def test_what_is_dropped_agrees_with_scipy(mask: np.ndarray, minimum: float) -> None:
    components, count = ndimage.label(mask, structure=CORNERS)
    sizes = ndimage.sum_labels(mask, components, range(1, count + 1))
    small = dropped_voxels(
        mask,
        geometry(mask.shape),
        PostprocessingStep(kind="minimum_size", names=("l1",), minimum_size=minimum),
    )
    np.testing.assert_array_equal(small, np.isin(components, 1 + np.flatnonzero(sizes * 1.5 < minimum)))
    rest = mask & ~dropped_voxels(
        mask, geometry(mask.shape), PostprocessingStep(kind="largest_component", names=("l1",))
    )
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
