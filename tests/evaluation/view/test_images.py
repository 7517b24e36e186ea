"""The images behind pictures of label maps."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.view import images_beside
from evaluation.view.images import image_of_case


@pytest.mark.parametrize(
    ("inside", "path"), [("labelsTr", "."), ("labelsTr/deeper", ".."), (".", "labelsTr")]
)
def test_images_are_found_beside_references_however_these_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str, path: str
) -> None:
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / inside)
    found = images_beside(Path(path))
    assert found is not None and found.samefile(tmp_path / "imagesTr")


def test_images_are_found_beside_a_link_and_nowhere_else(tmp_path: Path) -> None:
    for name in ("imagesTs", "masks", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "labelsTs").symlink_to(tmp_path / "masks")
    assert images_beside(tmp_path / "labelsTs") == tmp_path / "imagesTs"
    assert images_beside(tmp_path / "masks") is None


def test_an_npz_image_is_found_behind_those_of_the_usual_endings(tmp_path: Path) -> None:
    for name in ("a.npz", "a.nii.gz", "b_0000.npz", "c.NPZ"):
        (tmp_path / name).write_bytes(b"")
    found = [image_of_case(case, tmp_path) for case in "abc"]
    assert [path.name if path else None for path in found] == ["a.nii.gz", "b_0000.npz", "c.NPZ"]


@pytest.mark.parametrize("name", ["c_0_0000.NII.GZ", "c_0.PNG", "c_0_0000.nii.gz"])
def test_an_image_is_found_whatever_the_letters_of_its_ending(tmp_path: Path, name: str) -> None:
    for other in (name, "c_00_0000.NII.GZ", "c_0.TXT"):
        (tmp_path / other).write_bytes(b"")
    assert image_of_case("c_0", tmp_path) == tmp_path / name
    assert image_of_case("c", tmp_path) is None and image_of_case("c", tmp_path / "none") is None


def test_of_other_cases_nothing_is_looked_at_but_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at each of 100,000 images, for each case without one, takes longer than the report."""
    for other in ("c_1_0000.NII.GZ", "c_2.PNG", "c_00.NII.GZ"):
        (tmp_path / other).write_bytes(b"")
    asked, is_file = list[str](), Path.is_file

    def noted(path: Path) -> bool:
        asked.append(path.name)
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", noted)
    assert image_of_case("c_0", tmp_path) is None
    assert asked and not any(name in asked for name in ("c_1_0000.NII.GZ", "c_2.PNG", "c_00.NII.GZ"))
