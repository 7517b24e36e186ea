"""Scoring folders: pairs by name, and every way in which files can fail to be a pair."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
import tifffile

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import BalrsamError, EvaluationError
from balrsam_pipeline.imageio import Geometry, write_label
from balrsam_pipeline.layout import PREDICTION
from balrsam_pipeline.outdated import STALE_NS
from evaluation import (
    EvaluationOptions,
    evaluate_folders,
    pool,
    read_summary,
    summary_table,
    write_reports,
)
from evaluation.pairs import Pair, find_pairs, label_files, read_pair
from evaluation.request import resolve
from evaluation.scoring import score_pairs

Make = Callable[..., LabelScheme]
LABELS = {"organ": 1, "lesion": 2}


def test_predictions_of_an_earlier_run_are_not_scored(folder_pair: tuple[Path, Path]) -> None:
    os.utime(folder_pair[0] / "case_1.nii.gz", ns=(STALE_NS, STALE_NS))
    assert len(find_pairs(*folder_pair, ".nii.gz")) == 4  # nobody of ours dated it
    (folder_pair[0] / PREDICTION).write_text("{}")
    with pytest.raises(EvaluationError, match="to be predicted again: case_1"):
        find_pairs(*folder_pair, ".nii.gz")
    assert len(find_pairs(*folder_pair, ".nii.gz", ["case_0"])) == 1
    old, new = ([folder / f"case_{number}.nii.gz" for folder in folder_pair] for number in (1, 0))
    with pytest.raises(EvaluationError, match="to be predicted again: case_1"):
        resolve(*old, None, None, missing_as_empty=False)
    assert len(resolve(*new, None, None, missing_as_empty=False).pairs) == 1
    os.utime(
        folder_pair[0] / PREDICTION, ns=(STALE_NS, STALE_NS)
    )  # all unpacked from an archive without dates
    assert len(find_pairs(*folder_pair, ".nii.gz")) == 4


def test_the_summary_of_a_folder_is_that_of_its_cases(
    folder_pair: tuple[Path, Path], make_scheme: Make
) -> None:
    summary = evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz")
    assert summary.cases == ("case_0", "case_1", "case_2", "case_3")
    status = {(row.case, row.label): row.status for row in summary.rows}
    assert (
        status["case_2", "lesion"] == "missed"
        and status["case_3", "lesion"] == "spurious"
        and status["case_0", "lesion"] == "scored"
    )
    per_case = [row.values["dice"] or 0.0 for row in summary.rows if row.label == "organ"]
    assert summary.per_label["organ"]["dice"].mean == pytest.approx(np.mean(per_case))
    means = [summary.per_label[label]["dice"].mean or 0.0 for label in LABELS]
    assert summary.foreground_mean["dice"] == pytest.approx(np.mean(means))
    table = summary_table(summary)
    assert "organ" in table and "4 cases" in table and "nan" not in table.lower()
    assert max(map(len, table.splitlines())) <= 80
    assert "lesion: 1 missed, 1 spurious" in table


def test_cases_scored_in_parallel_give_the_same_summary(
    folder_pair: tuple[Path, Path], make_scheme: Make
) -> None:
    one = evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz", EvaluationOptions(workers=1))
    two = evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz", EvaluationOptions(workers=2))
    assert one.rows == two.rows


def test_a_missing_prediction_is_an_error_that_names_it(
    folder_pair: tuple[Path, Path], make_scheme: Make
) -> None:
    (folder_pair[0] / "case_1.nii.gz").unlink()
    with pytest.raises(EvaluationError, match="no prediction for case_1"):
        evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz")


def test_a_missing_prediction_counts_as_missed_where_that_is_asked_for(
    folder_pair: tuple[Path, Path], make_scheme: Make
) -> None:
    (folder_pair[0] / "case_1.nii.gz").unlink()
    summary = evaluate_folders(
        *folder_pair, make_scheme(LABELS), ".nii.gz", EvaluationOptions(missing_as_empty=True)
    )
    rows = [row for row in summary.rows if row.case == "case_1"]
    assert [row.status for row in rows] == ["missed", "missed"] and all(
        row.values["dice"] == 0 for row in rows
    )
    assert summary.files["case_1"].prediction is None


def test_a_prediction_without_a_reference_is_an_error_even_then(
    folder_pair: tuple[Path, Path], make_scheme: Make
) -> None:
    (folder_pair[1] / "case_1.nii.gz").unlink()
    with pytest.raises(EvaluationError, match="no reference for case_1"):
        evaluate_folders(
            *folder_pair, make_scheme(LABELS), ".nii.gz", EvaluationOptions(missing_as_empty=True)
        )


def test_named_cases_alone_are_scored(folder_pair: tuple[Path, Path], make_scheme: Make) -> None:
    (folder_pair[0] / "case_1.nii.gz").unlink()
    summary = evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz", cases=["case_3", "case_0"])
    assert summary.cases == ("case_0", "case_3")


def test_empty_folders_are_an_error(tmp_path: Path, make_scheme: Make) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(EvaluationError, match="no file ending"):
        evaluate_folders(tmp_path / "a", tmp_path / "a", make_scheme(LABELS), ".nii.gz")
    with pytest.raises(EvaluationError, match="no such folder"):
        evaluate_folders(tmp_path / "b", tmp_path / "a", make_scheme(LABELS), ".nii.gz")


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("shape", {"array": np.zeros((12, 20, 21), dtype=np.uint8)}),
        ("spacing", {"spacing_xyz": (0.8, 0.8, 2.1)}),
        ("origin", {"origin": (1.0, 0.0, 0.0)}),
        ("direction", {"direction": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}),
    ],
)
def test_a_prediction_on_another_grid_is_refused(
    folder_pair: tuple[Path, Path],
    make_scheme: Make,
    write_map: Callable[..., Path],
    what: str,
    change: dict[str, object],
) -> None:
    geometry = {"array": np.zeros((12, 20, 20), dtype=np.uint8), "spacing_xyz": (0.8, 0.8, 2.0)} | change
    write_map(folder_pair[0] / "case_2.nii.gz", **geometry)
    with pytest.raises(EvaluationError, match=what):
        evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz")


OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("ending", "place", "refused"),
    [
        (".npz", {"origin": (5.0, 0.0, 0.0), "direction": OBLIQUE}, ""),
        (".gipl", {"direction": OBLIQUE}, ""),
        (".gipl", {"origin": (5.0, 0.0, 0.0)}, "origin"),
        (".mha", {"direction": OBLIQUE}, "direction"),
    ],
)
def test_what_a_format_does_not_hold_of_the_place_is_not_compared(
    tmp_path: Path,
    make_scheme: Make,
    write_map: Callable[..., Path],
    ending: str,
    place: dict[str, object],
    refused: str,
) -> None:
    label = (np.arange(3 * 4 * 5).reshape(3, 4, 5) % 3).astype(np.uint8)
    reference = write_map(tmp_path / "x.nii.gz", label, (0.8, 0.8, 2.0), **place)
    prediction = tmp_path / f"y{ending}"
    grid = Geometry(dimension=3, shape_zyx=label.shape, spacing_mm=(2.0, 0.8, 0.8))
    write_label(prediction, label, grid)
    pair = Pair(case="x", prediction=prediction, reference=reference)
    if refused:
        with pytest.raises(EvaluationError, match=refused):
            read_pair(pair, make_scheme(LABELS))
    else:
        np.testing.assert_array_equal(read_pair(pair, make_scheme(LABELS)).prediction_zyx, label)
        write_label(prediction, label, dataclasses.replace(grid, spacing_mm=(3.0, 0.8, 0.8)))
        with pytest.raises(EvaluationError, match="spacing"):
            read_pair(pair, make_scheme(LABELS))


def test_the_spacing_of_npz_files_is_compared_where_they_hold_one(
    tmp_path: Path, make_scheme: Make, write_map: Callable[..., Path]
) -> None:
    label = np.ones((3, 4, 5), np.uint8)
    reference = write_map(tmp_path / "x.nii.gz", label, (0.8, 0.8, 2.0))
    np.savez(tmp_path / "x.npz", segs=label)
    pair = Pair(case="x", prediction=tmp_path / "x.npz", reference=reference)
    assert read_pair(pair, make_scheme(LABELS)).spacing_mm == pytest.approx((2.0, 0.8, 0.8))


@pytest.mark.parametrize("orientation", ["RAI", "PLS"])
def test_a_prediction_stored_in_another_orientation_is_turned_by_its_header(
    folder_pair: tuple[Path, Path], make_scheme: Make, orientation: str
) -> None:
    upright = evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz")
    for path, other in ((folder_pair[0] / "case_1.nii.gz", "LPS"), (folder_pair[1] / "case_2.nii.gz", "LPS")):
        stored = sitk.ReadImage(str(path))
        assert sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(stored.GetDirection()) == other
        sitk.WriteImage(sitk.DICOMOrient(stored, orientation), str(path))
    assert evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz").rows == upright.rows


@pytest.mark.parametrize(
    "change", [{"origin": (50.0, 0.0, 0.0)}, {"direction": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}]
)
def test_pairs_by_index_of_other_places_are_scored_as_stored_with_a_warning(
    folder_pair: tuple[Path, Path],
    make_scheme: Make,
    write_map: Callable[..., Path],
    change: dict[str, object],
) -> None:
    plain = [dataclasses.replace(pair, by_index=True) for pair in find_pairs(*folder_pair, ".nii.gz")]
    before, _ = score_pairs(plain, make_scheme(LABELS), EvaluationOptions())
    lost = sitk.GetArrayFromImage(sitk.ReadImage(str(plain[2].reference)))
    write_map(plain[2].reference, lost, (0.8, 0.8, 2.0), **change)
    after, problems = score_pairs(plain, make_scheme(LABELS), EvaluationOptions())
    assert not problems and after.rows == before.rows
    assert len(after.warnings) == 1 and "case_2" in after.warnings[0]
    assert next(iter(change)) in after.warnings[0] and not before.warnings


def test_pairs_by_index_of_another_shape_or_spacing_are_refused(
    folder_pair: tuple[Path, Path], make_scheme: Make, write_map: Callable[..., Path]
) -> None:
    pair = dataclasses.replace(find_pairs(*folder_pair, ".nii.gz")[0], by_index=True)
    for shape, spacing in (((12, 20, 21), (0.8, 0.8, 2.0)), ((12, 20, 20), (0.8, 0.8, 3.0))):
        write_map(pair.reference, np.ones(shape, np.uint8), spacing)
        with pytest.raises(EvaluationError, match=r"shape|spacing"):
            read_pair(pair, make_scheme(LABELS))


def test_rounding_of_a_header_is_no_other_grid(
    folder_pair: tuple[Path, Path], make_scheme: Make, write_map: Callable[..., Path]
) -> None:
    write_map(
        folder_pair[0] / "case_2.nii.gz",
        np.ones((12, 20, 20), dtype=np.uint8),
        (0.80001, 0.8, 2.0),
        origin=(0.001, 0.0, 0.0),
    )
    assert len(evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz").cases) == 4


def test_labels_that_are_no_whole_numbers_are_refused(
    folder_pair: tuple[Path, Path], make_scheme: Make, write_map: Callable[..., Path]
) -> None:
    write_map(folder_pair[0] / "case_2.nii.gz", np.full((12, 20, 20), 0.5, dtype=np.float32), (0.8, 0.8, 2.0))
    with pytest.raises(BalrsamError, match="case_2"):
        evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz")


def test_whole_numbers_stored_as_floats_are_labels(
    folder_pair: tuple[Path, Path], make_scheme: Make, write_map: Callable[..., Path]
) -> None:
    before = evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz")
    import SimpleITK as sitk

    path = folder_pair[0] / "case_0.nii.gz"
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat32), str(path))
    assert evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz").rows == before.rows


def test_a_label_that_is_not_listed_is_reported(folder_pair: tuple[Path, Path], make_scheme: Make) -> None:
    summary = evaluate_folders(*folder_pair, make_scheme({"organ": 1}), ".nii.gz")
    assert any("case_0" in warning and "label values 2 " in warning for warning in summary.warnings)


def test_other_files_in_the_folder_are_not_looked_at(
    folder_pair: tuple[Path, Path], make_scheme: Make
) -> None:
    for name in ("dataset.json", "plans.json", "case_0.npz", ".tmp-1-case_9.nii.gz"):
        (folder_pair[0] / name).write_text("{}")
    assert len(evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz").cases) == 4


@pytest.mark.parametrize("ending", [".nii", ".NII.GZ", ".mha", ".nrrd"])
@pytest.mark.parametrize("changed", [0, 1], ids=["predictions", "references"])
def test_cases_are_paired_whatever_the_endings_of_their_files(
    folder_pair: tuple[Path, Path], make_scheme: Make, ending: str, changed: int
) -> None:
    import SimpleITK as sitk

    before = evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz")
    path = folder_pair[changed] / "case_2.nii.gz"
    stored = sitk.ReadImage(str(path))
    path.unlink()
    image = sitk.GetImageFromArray(sitk.GetArrayFromImage(stored))  # without NIfTI's own header fields
    image.CopyInformation(stored)
    if ending.lower() == ".nii.gz":
        sitk.WriteImage(image, str(path))
        path.rename(path.with_name(f"case_2{ending}"))
    else:
        sitk.WriteImage(image, str(path.with_name(f"case_2{ending}")))
    for options in (EvaluationOptions(), EvaluationOptions(missing_as_empty=True)):
        assert evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz", options).rows == before.rows


def test_two_files_of_one_case_are_refused_by_name(folder_pair: tuple[Path, Path], make_scheme: Make) -> None:
    (folder_pair[0] / "case_1.nii").write_bytes(b"")
    with pytest.raises(EvaluationError, match=r"case_1\.nii"):
        evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz")


def test_pictures_among_volumes_are_no_cases(folder_pair: tuple[Path, Path], make_scheme: Make) -> None:
    for name in ("overview.png", "._case_0.nii.gz", ".DS_Store"):
        (folder_pair[0] / name).write_bytes(b"")
    assert len(evaluate_folders(*folder_pair, make_scheme(LABELS), ".nii.gz").cases) == 4


@pytest.mark.parametrize(("wanted", "name"), [(".nii.gz", "c.tif"), (".nii.gz", "c.npz"), (".png", "c.mha")])
def test_a_case_of_another_kind_of_file_is_a_case_too(tmp_path: Path, wanted: str, name: str) -> None:
    for file in (f"a{wanted}", f"b{wanted}", name):
        (tmp_path / file).write_bytes(b"")
    assert {case: path.name for case, path in label_files(tmp_path, wanted).items()} == {
        "a": f"a{wanted}",
        "b": f"b{wanted}",
        "c": name,
    }


def test_files_that_are_no_cases_though_they_look_like_label_maps_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = ("c.mhd", "d.nii.bz2", "overview.png")
    for name in ("a.nii.gz", "a.png", "a.webp", "b.nii.gz", "b.tif", "b.json", "notes.txt", *odd):
        (tmp_path / name).write_bytes(b"")
    assert sorted(label_files(tmp_path, ".nii.gz")) == ["a", "b"]
    assert all(name in caplog.text for name in odd)
    assert not any(name in caplog.text for name in ("a.png", "a.webp", "b.tif", "b.json", "notes.txt"))


def test_an_odd_case_is_named_and_the_others_are_scored(
    folder_pair: tuple[Path, Path], make_scheme: Make
) -> None:
    labels = make_scheme(LABELS)
    whole = evaluate_folders(*folder_pair, labels, ".nii.gz")
    (folder_pair[0] / "case_1.nii.gz").write_bytes(b"half a file")
    pairs = find_pairs(*folder_pair, ".nii.gz")
    summary, problems = score_pairs(pairs, labels, EvaluationOptions())
    assert list(problems) == ["case_1"] and summary.warnings[0].startswith("case_1 was not scored")
    assert summary.rows == tuple(row for row in whole.rows if row.case != "case_1")
    assert summary.cases == tuple(summary.files) == ("case_0", "case_2", "case_3")


@pytest.mark.parametrize("flat", ["prediction", "reference"])
def test_a_2d_image_and_a_volume_of_one_slice_are_the_same_grid(
    tmp_path: Path, make_scheme: Make, write_map: Callable[..., Path], flat: str
) -> None:
    label = np.zeros((20, 30), dtype=np.uint8)
    label[5:15, 5:15] = 1
    for folder in ("prediction", "reference"):
        array, spacing = (label, (0.7, 0.9)) if folder == flat else (label[None], (0.7, 0.9, 4.0))
        write_map(tmp_path / folder / "x.nii.gz", array, spacing)
    folders = (tmp_path / "prediction", tmp_path / "reference")
    summary = evaluate_folders(*folders, make_scheme({"a": 1}), ".nii.gz")
    assert summary.foreground_mean["dice"] == 1 and summary.foreground_mean["hd95"] == 0
    write_map(tmp_path / "prediction" / "x.nii.gz", label, (0.7, 1.1))
    with pytest.raises(EvaluationError, match="spacing"):
        evaluate_folders(*folders, make_scheme({"a": 1}), ".nii.gz")


def test_pictures_are_measured_in_pixels(
    tmp_path: Path, make_scheme: Make, write_map: Callable[..., Path]
) -> None:
    first, second = np.zeros((30, 40), dtype=np.uint8), np.zeros((30, 40), dtype=np.uint8)
    first[5:15, 5:15], second[5:15, 8:18] = 1, 1
    write_map(tmp_path / "a" / "x.png", first)
    write_map(tmp_path / "b" / "x.png", second)
    summary = evaluate_folders(tmp_path / "a", tmp_path / "b", make_scheme({"vessel": 1}), ".png")
    assert summary.unit == "px" and summary.foreground_mean["hd95"] == 3.0


def boxes(place: Path) -> dict[Path, npt.NDArray[np.uint8]]:
    """Two folders, each with what its file is to hold: a box, moved by three pixels in its plane."""
    labels: dict[Path, npt.NDArray[np.uint8]] = {}
    for name, moved in (("a", 3), ("b", 0)):
        (place / name).mkdir()
        labels[place / name] = np.zeros((6, 30, 40), dtype=np.uint8)
        labels[place / name][1:5, 5:15, 5 + moved : 15 + moved] = 1
    return labels


@pytest.mark.parametrize(("spacing", "unit", "hd95"), [(None, "px", 3.0), ([5.0, 0.5, 0.5], "mm", 1.5)])
def test_stacks_of_tiff_are_measured_in_mm_where_they_have_a_spacing(
    tmp_path: Path, make_scheme: Make, spacing: list[float] | None, unit: str, hd95: float
) -> None:
    for folder, label in boxes(tmp_path).items():
        tifffile.imwrite(folder / "x.tif", label, metadata={"axes": "ZYX"})
        if spacing is not None:
            (folder / "x.json").write_text(json.dumps({"spacing": spacing}))
    summary = evaluate_folders(tmp_path / "a", tmp_path / "b", make_scheme({"cell": 1}), ".tif")
    assert summary.unit == unit and summary.foreground_mean["hd95"] == pytest.approx(hd95)


@pytest.mark.parametrize(("spacing", "unit", "hd95"), [(None, "px", 3.0), ([0.5, 0.5, 5.0], "mm", 1.5)])
def test_npz_files_are_measured_in_mm_where_they_have_a_spacing(
    tmp_path: Path, make_scheme: Make, spacing: list[float] | None, unit: str, hd95: float
) -> None:
    for folder, label in boxes(tmp_path).items():
        more = {} if spacing is None else {"spacing": np.array(spacing)}
        np.savez_compressed(folder / "x.npz", segs=label, **more)
    summary = evaluate_folders(tmp_path / "a", tmp_path / "b", make_scheme({"cell": 1}), ".npz")
    assert summary.unit == unit and summary.foreground_mean["hd95"] == pytest.approx(hd95)


@pytest.mark.parametrize(
    ("name", "spacing", "ml"), [("x.png", None, None), ("x.nii.gz", (2.0, 3.0, 5.0), 1.5)]
)
def test_pictures_have_no_millilitres(
    tmp_path: Path,
    make_scheme: Make,
    write_map: Callable[..., Path],
    name: str,
    spacing: tuple[float, ...] | None,
    ml: float | None,
) -> None:
    label = np.zeros((12, 20) if ml is None else (4, 12, 20), dtype=np.uint8)
    label[..., :5, :10] = 1
    if ml is not None:
        label[1:] = 0  # 50 voxels of 30 mm³
    for folder in ("a", "b"):
        write_map(tmp_path / folder / name, label, spacing)
    folders, scheme = (tmp_path / "a", tmp_path / "b"), make_scheme({"cell": 1, "never": 2})
    options = EvaluationOptions(metrics=("overlap", "detection"))
    summary = evaluate_folders(*folders, scheme, name[1:], options)
    assert summary.to_frame()["reference_ml"].isna().all() == (ml is None)
    assert ml is None or summary.to_frame()["reference_ml"][0] == pytest.approx(ml)
    paths = write_reports(summary, tmp_path / "out")
    page = paths["report.html"].read_text()
    assert ("0.1 to 1 ml" in page) == (ml is not None) and ("any size" in page) == (ml is None)
    assert read_summary(tmp_path / "out") == summary


def test_2d_images_in_mm_have_no_millilitres_either(
    tmp_path: Path, make_scheme: Make, write_map: Callable[..., Path]
) -> None:
    path = write_map(tmp_path / "a" / "x.nii.gz", np.ones((12, 20), dtype=np.uint8), (0.7, 0.9))
    summary = evaluate_folders(path.parent, path.parent, make_scheme({"cell": 1}), ".nii.gz")
    assert summary.unit == "mm" and summary.to_frame()["predicted_ml"].isna().all()


def test_cases_in_mm_and_in_pixels_are_not_averaged_without_a_word(tmp_path: Path, make_scheme: Make) -> None:
    label = np.zeros((6, 30, 40), dtype=np.uint8)
    label[1:5, 5:15, 5:15] = 1
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for case in ("one", "two", "three"):
            more = {} if case == "two" else {"spacing": np.ones(3)}
            np.savez_compressed(tmp_path / folder / f"{case}.npz", segs=label, **more)

    def warnings(**changes: object) -> tuple[str, ...]:
        options = EvaluationOptions(**changes)
        folders = tmp_path / "a", tmp_path / "b"
        return evaluate_folders(*folders, make_scheme({"cell": 1}), ".npz", options).warnings

    assert len(found := warnings()) == 1
    assert "1 of 3 cases" in found[0] and "two" in found[0] and "pixels" in found[0] and "one" not in found[0]
    assert not warnings(metrics=("overlap",)) and not warnings(protocol="transunet"), "no length in mm"


def test_folds_pool_into_one_summary_and_refuse_a_case_twice(
    folder_pair: tuple[Path, Path], make_scheme: Make
) -> None:
    labels = make_scheme(LABELS)
    halves = [
        evaluate_folders(*folder_pair, labels, ".nii.gz", cases=cases)
        for cases in (["case_1", "case_3"], ["case_0", "case_2"])
    ]
    whole = evaluate_folders(*folder_pair, labels, ".nii.gz")
    pooled = pool(halves)
    assert pooled.rows == whole.rows and pooled.foreground_mean == whole.foreground_mean
    assert pooled.groups == {"case_1": "fold 0", "case_3": "fold 0", "case_0": "fold 1", "case_2": "fold 1"}
    with pytest.raises(EvaluationError, match="two parts"):
        pool([whole, halves[0]])
    with pytest.raises(EvaluationError, match="none"):
        pool([])
    with pytest.raises(EvaluationError, match="alike"):
        pool(
            [
                halves[0],
                evaluate_folders(
                    *folder_pair, labels, ".nii.gz", EvaluationOptions(protocol="brats"), ["case_0"]
                ),
            ]
        )
