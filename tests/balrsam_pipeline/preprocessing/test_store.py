"""The store of preprocessed cases: slices along every axis, locations, damage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.stored import LABELS, make_case

from balrsam_pipeline.errors import PreprocessingError
from balrsam_pipeline.preprocessing import CaseStore, write_case


@pytest.mark.parametrize(
    ("shape", "all_axes"), [((7, 9, 11), False), ((40, 70, 70), False), ((40, 70, 70), True)]
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_with_its_neighbours_comes_back_along_any_axis(
    tmp_path: Path, shape: tuple[int, int, int], all_axes: bool, axis: int
) -> None:
    case = make_case(shape)
    write_case(tmp_path, "a", case, LABELS, all_axes=all_axes)
    store = CaseStore(tmp_path)
    for index in (0, 3, shape[axis] - 1):
        neighbours = [min(max(index + step, 0), shape[axis] - 1) for step in (-1, 0, 1)]
        expected = np.concatenate([case.image_czyx.take(neighbour, axis + 1) for neighbour in neighbours])
        np.testing.assert_array_equal(store.read_slice("a", index, context=1, axis=axis), expected)
        assert case.label_zyx is not None
        np.testing.assert_array_equal(
            store.read_label_slice("a", index, axis), case.label_zyx.take(index, axis)
        )


def test_a_single_slice_volume_repeats_it_as_its_own_neighbour(tmp_path: Path) -> None:
    case = make_case((1, 8, 8), channels=3)
    write_case(tmp_path, "a", case, LABELS)
    np.testing.assert_array_equal(
        CaseStore(tmp_path).read_slice("a", 0, context=1), np.concatenate([case.image_czyx[:, 0]] * 3)
    )


def test_locations_are_those_of_each_region(tmp_path: Path) -> None:
    case = make_case((5, 6, 7))
    write_case(tmp_path, "a", case, LABELS)
    found = CaseStore(tmp_path).foreground("a")
    assert case.label_zyx is not None
    np.testing.assert_array_equal(found["whole"], np.argwhere(case.label_zyx > 0))
    np.testing.assert_array_equal(found["core"], np.argwhere(case.label_zyx == 2))


def test_a_case_without_foreground_has_no_locations(tmp_path: Path) -> None:
    case = make_case((5, 6, 7))
    assert case.label_zyx is not None
    case.label_zyx[:] = 0
    write_case(tmp_path, "a", case, LABELS)
    assert {name: rows.shape for name, rows in CaseStore(tmp_path).foreground("a").items()} == {
        "whole": (0, 3),
        "core": (0, 3),
    }


def test_many_voxels_are_thinned_to_ten_thousand_of_their_own(tmp_path: Path) -> None:
    case = make_case((30, 30, 40))
    write_case(tmp_path, "a", case, LABELS)
    rows = CaseStore(tmp_path).foreground("a")["core"]
    assert len(rows) == len(np.unique(rows, axis=0)) == 10_000
    assert case.label_zyx is not None
    assert (case.label_zyx[tuple(rows.T)] == 2).all()


def test_only_whole_cases_are_listed(tmp_path: Path) -> None:
    write_case(tmp_path, "b", make_case((2, 3, 4)), LABELS)
    write_case(tmp_path, "a", make_case((2, 3, 4)), LABELS)
    (tmp_path / "b.json").unlink()
    assert CaseStore(tmp_path).cases == ("a",)


@pytest.mark.parametrize("name", ["a.b2nd", "a_label.b2nd", "a.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    write_case(tmp_path, "a", make_case((9, 30, 40)), LABELS)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(PreprocessingError, match=name):
        CaseStore(tmp_path).read_slice("a", 0)


@pytest.mark.parametrize("number", ["1e999", "Infinity", "NaN", '"9"'])
def test_facts_with_a_shape_of_no_numbers_are_named(tmp_path: Path, number: str) -> None:
    write_case(tmp_path, "a", make_case((9, 30, 40)), LABELS)
    facts = json.loads((tmp_path / "a.json").read_text())
    facts["properties"]["shape"][0] = "NUMBER"
    (tmp_path / "a.json").write_text(json.dumps(facts).replace('"NUMBER"', number))
    with pytest.raises(PreprocessingError, match=r"a\.json"):
        CaseStore(tmp_path).properties("a")
    if number != '"9"':  # text that is a number counts as one where no more is asked
        with pytest.raises(PreprocessingError, match=r"a\.json"):
            CaseStore(tmp_path).shape("a")


def test_an_array_of_another_shape_than_the_facts_say_is_named(tmp_path: Path) -> None:
    write_case(tmp_path, "a", make_case((9, 30, 40)), LABELS)
    facts = json.loads((tmp_path / "a.json").read_text())
    facts["stored_crc32"] = {}  # as older versions wrote it
    facts["stored_bytes"]["a_label.b2nd"] = (tmp_path / "a_foreground.b2nd").stat().st_size
    (tmp_path / "a.json").write_text(json.dumps(facts))
    (tmp_path / "a_label.b2nd").write_bytes((tmp_path / "a_foreground.b2nd").read_bytes())
    with pytest.raises(PreprocessingError, match=r"a_label\.b2nd"):
        CaseStore(tmp_path).read_label_slice("a", 0)


def test_overwritten_bytes_are_an_error_and_no_crash(tmp_path: Path) -> None:
    write_case(tmp_path, "a", make_case((9, 30, 40)), LABELS)
    path = tmp_path / "a.b2nd"
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(PreprocessingError, match=r"a\.b2nd"):
        CaseStore(tmp_path).read_slice("a", 0)


@pytest.mark.parametrize("name", ["a.b2nd", "a_label.b2nd", "a_foreground.b2nd"])
@pytest.mark.parametrize("has_checksum", [True, False])
def test_one_flipped_bit_is_found_by_the_checksum_and_the_case_is_made_again(
    tmp_path: Path, name: str, has_checksum: bool
) -> None:
    write_case(tmp_path, "a", make_case((7, 9, 11)), LABELS)
    facts = json.loads((tmp_path / "a.json").read_text())
    if not has_checksum:  # as older versions wrote it: still read
        del facts["stored_crc32"]
        (tmp_path / "a.json").write_text(json.dumps(facts))
        CaseStore(tmp_path).read_image("a")
        return
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    store = CaseStore(tmp_path)
    with pytest.raises(PreprocessingError, match=rf"(?s){name}.*case a"):
        store.read_image("a")
        store.read_label_slice("a", 0)
        store.foreground("a")
    assert CaseStore(tmp_path).cases == ()
