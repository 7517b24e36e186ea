"""One reader for all JSON: what it takes, and what it refuses before anything believes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from balrsam_pipeline.errors import PlanError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.json_text import DEEPEST, JsonTextError, parse_json
from balrsam_pipeline.serialise import from_json


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_text_in_every_encoding_of_json_is_read(encoding: str) -> None:
    assert parse_json('{"ü": 1}'.encode(encoding)) == {"ü": 1}


@pytest.mark.parametrize("digits", [26, 4000, 5000, 200_000])
def test_a_number_of_many_digits_is_refused_before_it_becomes_one(digits: int) -> None:
    with pytest.raises(JsonTextError, match=f"{digits} digits"):
        parse_json(b'{"a": [' + b"9" * digits + b"]}")


def test_a_number_of_64_bits_is_read() -> None:
    assert parse_json(str(2**64)) == 2**64


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [DEEPEST + 1, 100_000])
def test_deep_nesting_is_refused(opening: str, depth: int) -> None:
    closing = "]" if opening == "[" else "}"
    with pytest.raises(JsonTextError, match="deep"):
        parse_json(opening * depth + "1" + closing * depth)


def test_many_shallow_lists_are_read() -> None:
    value = [[[index]] for index in range(1000)]
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"{", b"\x80abc", b"9" * 5000])
def test_whatever_is_no_json_is_one_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(PlanError, match=r"a\.json"):
        read_json(tmp_path / "a.json", PlanError)


def test_a_device_named_like_a_json_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to("/dev/zero")
    with pytest.raises(PlanError, match="plain file"):
        read_json(tmp_path / "a.json", PlanError)


def test_a_whole_number_too_large_for_what_it_counts_is_refused() -> None:
    assert from_json(int, 2**53, "here") == 2**53
    with pytest.raises(PlanError, match="here"):
        from_json(int, 10**20, "here")
