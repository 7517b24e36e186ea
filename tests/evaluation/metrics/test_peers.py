"""Agreement with other libraries: MONAI and surface-distance where they are installed, and the values that
the test suites of these, of MetricsReloaded, MedPy and seg-metrics state. Other definitions are named."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from balrsam_pipeline.dataset.labels import LabelScheme
from evaluation import EvaluationOptions, score_pair
from evaluation.metrics.normalized_surface_dice import element_areas, neighbourhood_codes, surface_dice
from evaluation.metrics.surface_distance import surface_metrics

Mask = npt.NDArray[np.bool_]
SPACINGS = ((1.0, 1.0, 1.0), (5.0, 0.8, 0.8), (0.5, 1.5, 2.0))


def blobs(seed: int, shape: tuple[int, int, int]) -> Mask:
    """Smooth random shapes with rough edges, some of them cut off by the image edge."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal(shape), 3)
    return np.asarray(field + 0.1 * field.std() * rng.standard_normal(shape) > 0.8 * field.std())


def pairs() -> Iterator[tuple[Mask, Mask, tuple[float, float, float]]]:
    for seed in range(12):
        shape = (18 + seed, 40 - seed, 30)
        first = blobs(seed, shape)
        second = np.roll(first, seed % 4, axis=1) ^ (np.random.default_rng(seed).random(shape) < 0.002)
        yield first, second, SPACINGS[seed % 3]


def test_hd95_is_monais() -> None:
    monai = pytest.importorskip("monai.metrics", reason="MONAI is not installed")
    torch = pytest.importorskip("torch")
    for first, second, spacing_mm in pairs():
        batch = [torch.from_numpy(mask)[None, None].float() for mask in (first, second)]
        theirs = monai.compute_hausdorff_distance(
            *batch, include_background=True, percentile=95, spacing=spacing_mm
        ).item()
        assert surface_metrics(first, second, spacing_mm)["hd95"] == pytest.approx(theirs, abs=1e-4)


def test_nsd_is_that_of_surface_distance() -> None:
    peer = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    for first, second, spacing_mm in pairs():
        theirs = peer.compute_surface_distances(second, first, spacing_mm=spacing_mm)
        for tolerance_mm in (0.5, 1.0, 2.0, 5.0):
            expected = peer.compute_surface_dice_at_tolerance(theirs, tolerance_mm)
            assert surface_dice(first, second, spacing_mm, (tolerance_mm,))[0] == pytest.approx(
                expected, abs=1e-3
            )
        ours = element_areas(spacing_mm)[neighbourhood_codes(first)].sum()
        assert ours == pytest.approx(theirs["surfel_areas_pred"].sum(), rel=1e-6)


# ---- values that the peers' own test suites state, as plain numbers


def sphere(radius: float, centre: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Mask:
    """A ball in 99 x 99 x 99 voxels, radius and centre in mm, as MONAI's tests draw it."""
    axes = np.ogrid[:99, :99, :99]
    squares = [(axis * mm - middle) ** 2 for axis, mm, middle in zip(axes, spacing_mm, centre, strict=True)]
    return np.asarray(sum(squares) <= radius**2)


ONE = (1.0, 1.0, 1.0)
THIN = (0.85, 1.2, 0.9)


@pytest.mark.parametrize(
    ("first", "second", "spacing_mm", "key", "expected"),
    [
        ((20, (49, 49, 49)), (20, (49, 49, 49)), ONE, "hd", 0.0),
        ((20, (20, 20, 20)), (20, (19, 19, 19)), ONE, "hd", 1.7320508075688772),
        ((33, (19, 33, 22)), (33, (20, 33, 22)), ONE, "hd", 1.0),
        ((20, (20, 33, 22)), (40, (20, 33, 22)), ONE, "hd", 20.223748416156685),
        ((20, (20, 33, 22)), (40, (20, 33, 22)), ONE, "hd95", 20.09975124224178),
        ((20, (20, 20, 20)), (20, (19, 19, 19)), THIN, "hd", 2.2671568),
        ((15, (20, 33, 22)), (30, (20, 33, 22)), THIN, "hd", 15.62594),
    ],
)
def test_hausdorff_values_of_monais_own_tests(
    first: tuple[float, tuple[int, int, int]],
    second: tuple[float, tuple[int, int, int]],
    spacing_mm: tuple[float, float, float],
    key: str,
    expected: float,
) -> None:
    """Source: MONAI, tests/test_hausdorff_distance.py, Euclidean and not directed."""
    masks = (sphere(*first, spacing_mm), sphere(*second, spacing_mm))
    assert surface_metrics(*masks, spacing_mm)[key] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def dots(shape: tuple[int, ...], *places: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape, dtype=np.bool_)
    for place in places:
        mask[place] = True
    return mask


def test_values_of_surface_distances_own_tests() -> None:
    """Source: DeepMind, surface_distance_test.py. Its average distances run over surface elements, our ASSD
    over border voxels: there two voxels 2 mm apart have 1.5, here 2."""
    flat = dots((1, 128, 128), (0, 50, 70)), dots((1, 128, 128), (0, 50, 72))
    deep = dots((128,) * 3, (50, 60, 70)), dots((128,) * 3, (50, 60, 72))
    for (one, other), spacing_mm, flat_axes in ((flat, (1.0, 2.0, 1.0), (0,)), (deep, (3.0, 2.0, 1.0), ())):
        assert surface_dice(one, other, spacing_mm, (1.0,), flat_axes) == pytest.approx((0.5,))
        found = surface_metrics(one, other, spacing_mm, flat_axes)
        assert (found["hd"], found["hd95"], found["assd"]) == (2.0, 2.0, 2.0)
    first, second = np.zeros((2, 100, 100, 100), dtype=np.bool_)
    first[:50], second[:51] = True, True
    assert surface_dice(second, first, (2.0, 1.0, 1.0), (1.0,))[0] == pytest.approx(0.836, abs=5e-4)
    found = surface_metrics(second, first, (2.0, 1.0, 1.0))
    assert (found["hd"], found["hd95"]) == (2.0, 2.0)
    assert score(second, first)["dice"] == pytest.approx(0.990, abs=5e-4)


def score(prediction: Mask, reference: Mask) -> dict[str, float | None]:
    """All of our numbers of two masks; lines and planes become volumes of one slice, 1 mm voxels."""
    shape = (1,) * (3 - prediction.ndim) + prediction.shape
    one = LabelScheme(
        names=("x",), values=((1,),), has_regions=False, region_order=(), ignore_value=None, largest=1
    )
    options = EvaluationOptions(tolerances_mm=(1.0, 2.0))
    maps = (mask.reshape(shape).astype(np.uint8) for mask in (prediction, reference))
    return score_pair("case", *maps, ONE, one, options)[0].values


def ones_then_zeros(*runs: int) -> Mask:
    """Runs of True, False, True … of these lengths."""
    return np.repeat(np.arange(len(runs)) % 2 == 0, runs)


def test_values_of_metricsreloadeds_own_tests() -> None:
    """Source: MetricsReloaded, test_pairwise_measures.py; the figures are of Reinke et al., Pitfalls."""
    cross, square = np.zeros((2, 11, 11), dtype=np.bool_)
    square[3:8, 3:8] = cross[3:8, 3:8] = cross[5, 1:10] = cross[1:10, 5] = True
    found = score(cross, square)
    assert found["dice"] == pytest.approx(0.862, abs=1e-3) and found["iou"] == pytest.approx(0.76, abs=0.01)
    assert found["nsd_1"] == pytest.approx(0.89, abs=0.01) and found["nsd_2"] == 1.0
    assert found["assd"] == pytest.approx(0.44, abs=0.01)
    assert found["volume_difference"] == pytest.approx(8 / 25)
    block, with_dot = np.zeros((2, 14, 14), dtype=np.bool_)
    block[9:12, 9:12] = with_dot[9:12, 9:12] = with_dot[1, 1] = True
    found = score(block, with_dot)
    assert found["hd"] == pytest.approx(11.31, abs=0.01) and found["hd95"] == pytest.approx(6.79, abs=0.01)
    precision = score(ones_then_zeros(45, 5, 10, 40), ones_then_zeros(50, 50))["precision"]
    assert precision == pytest.approx(0.82, abs=0.01)
    assert score(ones_then_zeros(81, 9, 2, 8), ones_then_zeros(90, 10))["precision"] == pytest.approx(
        0.98, abs=0.01
    )
    assert score(ones_then_zeros(40, 30, 1), ones_then_zeros(70, 1))["recall"] == pytest.approx(
        0.57, abs=0.01
    )


def test_monai_counts_border_pixels_in_nsd_where_we_measure_contours() -> None:
    """A difference of definition. Source: MONAI, test_surface_dice.py (test_tolerance_all_distances).

    Two columns of three pixels, their centres 5.39, 5.83 and 6.40 pixels from the other column: MONAI finds 1
    of 3 border pixels on each side within 5.5. A contour runs between the pixels, parts of it nearer.
    """
    first, second = np.zeros((2, 1, 10, 10), dtype=np.bool_)
    first[0, 1:4, 1] = second[0, 5:8, 6] = True
    assert surface_metrics(first, second, ONE, (0,))["hd"] == pytest.approx(np.sqrt(5**2 + 4**2))
    share = surface_dice(first, second, ONE, (5.5,), (0,))[0]
    assert 1 / 3 < share < 1


def test_values_of_medpys_own_tests() -> None:
    """Source: MedPy, tests/metric_/binary.py. Where masks are empty MedPy raises, here values are None."""
    left, right = dots((1, 1, 2), (0, 0, 0)), dots((1, 1, 2), (0, 0, 1))
    assert surface_metrics(left, left, ONE, (0, 1))["assd"] == 0
    assert surface_metrics(left, right, ONE, (0, 1))["assd"] == 1.0
    assert surface_metrics(left, right, (1.0, 1.0, 2.0), (0, 1))["assd"] == 2.0


def test_values_of_seg_metrics_own_tests() -> None:
    """Source: seg-metrics, test_tptnfpfn.py and test_write_metrics_itk_or_array.py: equal masks, and one
    corner missing (999 of 1000 voxels). For that it states rounded overlaps and HD 0 (printed, not asserted);
    with the image's edge as border, the corner is 1 voxel away."""
    full = np.ones((10, 10, 10), dtype=np.bool_)
    cut = full.copy()
    cut[0, 0, 0] = False
    same = score(full, full)
    assert {same[key] for key in ("dice", "iou", "precision", "recall")} == {1.0}
    assert {same[key] for key in ("hd", "hd95", "hd95_pooled", "assd")} == {0.0}
    found = score(cut, full)
    assert found["precision"] == 1 and found["recall"] == 999 / 1000
    assert found["dice"] == 2 * 999 / 1999 and found["hd95"] == 0 and found["hd"] == 1.0
