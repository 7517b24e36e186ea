"""Where outputs may go: no file, name of a file, or name that libraries cannot take is made a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.protect import require_folder_place, require_utf8

LATIN1 = os.fsdecode(b"gr\xf6\xdfe")  # no UTF-8


@pytest.mark.parametrize("name", ["mask.nii.gz", "picture.PNG", "out.html", "cmp.json", "t.csv", "f.zip"])
def test_a_new_folder_is_not_named_like_a_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="the name of a file") as refused:
        require_folder_place(tmp_path / name, "--output")
    assert refused.value.fix == f"give --output {tmp_path / name.split('.')[0]}"
    (tmp_path / name).mkdir()
    require_folder_place(tmp_path / name)  # somebody wants it so


def test_a_file_is_no_place_for_a_folder_and_other_names_are(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("")
    with pytest.raises(UsageError, match="a file"):
        require_folder_place(tmp_path / "notes")
    for name in ("out", "run_1.0", "v2.json.d", "zip", ".."):
        require_folder_place(tmp_path / name)


@pytest.mark.parametrize(
    "words",
    [
        "ensemble -i a b -o mask2.nii.gz",
        "postprocess -i a --rules r.json -o mask.nii.gz",
        "plot a --images b -o pic.png",
        "evaluate a b --output out.html",
        "compare a b --output cmp.json",
        "verify Dataset001_Any --raw . --fix fixed.zip",
        "predict -i a --model m -o out.txt",
    ],
)
def test_commands_make_no_folder_that_is_named_like_a_file(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Dataset001_Any").mkdir()
    (tmp_path / "Dataset001_Any" / "dataset.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    assert "the name of a file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["Dataset001_Any"]


@pytest.mark.parametrize(
    "words",
    [
        "predict -i a --model m -o",
        "ensemble -i a b -o",
        "postprocess -i a --rules r.json -o",
        "submit --format plain -p a --images b -o",
    ],
)
def test_a_name_that_is_not_utf8_is_refused_before_anything_is_read(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words.split(), LATIN1 + (".zip" if "submit" in words else "")]) == 2
    told = capsys.readouterr().err
    assert "not UTF-8" in told and "udcf6" in told
    require_utf8(tmp_path / "größe")
