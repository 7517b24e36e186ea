"""Samples in a file are those that were measured, whatever wrote it and in which order."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from balrsam_pipeline.plan import CaseFingerprint
from planners.case_fingerprint import Measurement
from planners.measured import places_of, read_values, start_measuring

SAMPLES = {
    "b": np.array([[1, 2, 3], [4, 5, 6]], np.float32),
    "a": np.array([[7], [8]], np.float32),
    "c": np.arange(10, dtype=np.float32).reshape(2, 5),
}
CHANNELS = dict.fromkeys(("a", "b", "c"), 2)


def measurement(case: str) -> Measurement:
    fingerprint = CaseFingerprint(
        case=case,
        shape_zyx=(1, 8, 8),
        cropped_shape_zyx=(1, 8, 8),
        spacing_mm=(999.0, 1.0, 1.0),
        orientation="2D",
        dtype="uint8",
        content_sha256=case,
        label_voxels={"organ": 3},
        label_thickness_px={"organ": 1.5},
    )
    return Measurement(fingerprint=fingerprint, values_cn=SAMPLES[case])


def written(folder: Path) -> BytesIO:
    file = BytesIO()
    with start_measuring(folder) as measured:
        for case in SAMPLES:
            measured.add(measurement(case))
        measured.write(file, ["a", "b", "c"])
    return file


def test_samples_are_read_back_by_case_and_channel(tmp_path: Path) -> None:
    with start_measuring(tmp_path) as measured:
        for case in SAMPLES:
            measured.add(measurement(case))
        second = measured.samples(["c", "a", "b"], 1)
        assert [values.tolist() for values in second] == [[5, 6, 7, 8, 9], [8], [4, 5, 6]]
        assert measured.fingerprints["b"] == measurement("b").fingerprint
        assert measured.fingerprints["b"].shape_zyx is measured.fingerprints["a"].shape_zyx
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_one_array_that_tells_where_each_case_lies(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.seek(0)
    assert np.load(file)[:4].tolist() == [1, 7, 8, 3]  # a: one value of two channels; b: three …
    file.seek(0)
    places = places_of(file, CHANNELS)
    assert {case: read_values(file, places[case]).tolist() for case in "abc"} == {
        case: SAMPLES[case].tolist() for case in "abc"
    }


def test_a_file_of_an_older_version_is_read(tmp_path: Path) -> None:
    old = np.random.default_rng(0).random((3, 2, 4096), np.float32)
    np.save(tmp_path / "old.npy", old)
    with (tmp_path / "old.npy").open("rb") as file:
        assert np.array_equal(read_values(file, places_of(file, CHANNELS)["c"]), old[2])


@pytest.mark.parametrize("damage", ["cut", "longer", "count", "nan", "cases"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    content = bytearray(written(tmp_path).getvalue())
    if damage == "cut":
        del content[-4:]
    elif damage == "longer":
        content += bytes(4)
    elif damage in ("count", "nan"):
        content[128:132] = np.float32(1e9 if damage == "count" else np.nan).tobytes()
    channels = {"a": 2, "b": 2} if damage == "cases" else CHANNELS
    with pytest.raises(ValueError, match=r"byte|values|NaN"):
        places_of(BytesIO(content), channels)
