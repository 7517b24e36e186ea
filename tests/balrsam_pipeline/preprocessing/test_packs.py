"""Packs: many small cases in one file, as good as files of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.stored import LABELS, make_case

from balrsam_pipeline.errors import PreprocessingError
from balrsam_pipeline.layout import pack_paths
from balrsam_pipeline.preprocessing import (
    CaseStore,
    is_small,
    pack_case,
    pack_of,
    read_entry,
    read_index,
    write_case,
    write_pack,
)
from balrsam_pipeline.preprocessing.pack_index import read_indices

NAMES = ("a", "b_label", "__metadata__", "caf\udce9")  # the last is no UTF-8 on disk


def make_pack(store: Path, names: tuple[str, ...] = NAMES) -> Path:
    path = pack_of(store, 0)
    write_pack(path, {name: pack_case(store, name, make_case((2, 9, 11)), LABELS, "r") for name in names})
    return path


def test_a_packed_case_reads_like_one_in_files_of_its_own(tmp_path: Path) -> None:
    packed, loose = tmp_path / "packed", tmp_path / "loose"
    packed.mkdir()
    make_pack(packed)
    write_case(loose, "a", make_case((2, 9, 11)), LABELS, "r")
    assert [path.suffix for path in packed.iterdir()] == [".safetensors"]
    one, other = CaseStore(packed), CaseStore(loose)
    assert one.cases == tuple(sorted(NAMES))
    for name in NAMES:
        assert one.properties(name) == other.properties("a")
        assert (one.shape(name), one.recipe(name)) == ((2, 9, 11), "r")
        np.testing.assert_array_equal(one.read_image(name), other.read_image("a"))
        np.testing.assert_array_equal(one.read_slice(name, 1, 1, axis=2), other.read_slice("a", 1, 1, axis=2))
        np.testing.assert_array_equal(one.read_label_slice(name, 1), other.read_label_slice("a", 1))
        for label, rows in one.foreground(name).items():
            np.testing.assert_array_equal(rows, other.foreground("a")[label])


def test_the_same_cases_give_the_same_bytes_also_when_they_are_written_anew(tmp_path: Path) -> None:
    path = make_pack(tmp_path)
    before = path.read_bytes()
    assert set(load_file(path)) == {"0", "1", "2", "3"}  # any reader of safetensors opens it
    write_pack(path, {case: read_entry(packed) for case, packed in reversed(list(read_index(path).items()))})
    assert path.read_bytes() == before
    write_pack(path, {})
    assert pack_paths(tmp_path) == ()


def test_every_flipped_byte_is_an_error_that_names_the_pack_or_changes_nothing(tmp_path: Path) -> None:
    path = make_pack(tmp_path, ("a", "b"))
    content = path.read_bytes()
    expected = make_case((2, 9, 11)).image_czyx
    found = 0
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        store = CaseStore(tmp_path)
        try:
            images = [store.read_image(case) for case in store.cases]
            labels = [store.read_label_slice(case, 0) for case in store.cases]
            rows = [store.foreground(case) for case in store.cases]
        except PreprocessingError as problem:
            found += 1
            assert path.name in str(problem)
            continue
        assert len(labels) == len(rows) <= 2
        for image in images:
            np.testing.assert_array_equal(image, expected)
    assert found > len(content) // 7 * 0.9


def test_a_shortened_pack_is_named(tmp_path: Path) -> None:
    path = make_pack(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PreprocessingError, match=path.name):
        _ = CaseStore(tmp_path).cases


def test_a_damaged_pack_goes_so_that_it_is_made_again(tmp_path: Path) -> None:
    path = make_pack(tmp_path, ("a",))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    store = CaseStore(tmp_path)
    with pytest.raises(PreprocessingError, match="damaged content of a_foreground"):
        store.foreground("a")
    assert CaseStore(tmp_path).cases == ()


def test_small_is_what_has_at_most_65536_values() -> None:
    assert is_small(np.zeros((1, 1, 256, 256), np.float32))
    assert not is_small(np.zeros((1, 1, 256, 257), np.float32))


def test_an_index_over_several_packs_knows_every_case_and_the_later_pack_counts(tmp_path: Path) -> None:
    packs = {0: {"a": (1, 4, 5), "b": (2, 3, 4)}, 1: {"b": (1, 6, 7), "c": (1, 4, 5)}}
    for number, cases in packs.items():
        entries = {
            name: pack_case(tmp_path, name, make_case(shape), LABELS, "r") for name, shape in cases.items()
        }
        write_pack(pack_of(tmp_path, number * 256), entries)
    index = read_indices(tmp_path)
    assert list(index) == ["a", "b", "c"] and len(index) == 3
    assert "a" in index and "d" not in index and index.get("d") is None
    assert {case: packed.shape for case, packed in index.items()} == packs[0] | packs[1]
    assert index["b"].path == pack_of(tmp_path, 256)
    for case in index:
        assert index[case] == read_index(index[case].path)[case]
    assert read_indices(tmp_path / "none") == {}


@pytest.mark.parametrize(
    "line",
    [
        [2, 9, 11, 10**30, 1, "r", 0],
        [2, 9, 11, 2**63 - 1, 1, "r", 0],
        [2, 9, 11, -1, 1, "r", 0],
        [2, 9, 11, [[]], 1, "r", 0],
        [2, 9, None, 10, 1, "r", 0],
        [2, 9, 11, 10, 1, "r" * 65, 0],
        [2, 9, 11, 10, 1, "r"],
        {},
        7,
    ],
)
def test_an_index_that_says_what_cannot_be_is_refused(tmp_path: Path, line: object) -> None:
    path = pack_of(tmp_path, 0)
    index = {"a": [2, 9, 11, 10, 1, "r", 0], "b": line}
    tensors = {str(number): np.zeros(20, np.uint8) for number in range(2)}
    save_file(tensors, path, {"cases": json.dumps(index)})
    with pytest.raises(PreprocessingError, match=path.name):
        read_index(path)
