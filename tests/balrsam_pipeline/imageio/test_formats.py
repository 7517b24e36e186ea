"""Which files of a folder are images, and which look like some."""

from __future__ import annotations

from pathlib import Path

import pytest

from balrsam_pipeline.imageio.formats import ALL_ENDINGS, place_held, unread_images

UNREAD = ("a.mhd", "b.nii.bz2", "c_0000.WEBP", "d.hdr", "e.img")


@pytest.mark.parametrize("name", UNREAD)
def test_images_of_formats_that_are_not_read_are_known_by_their_endings(name: str) -> None:
    files = [Path(name), Path("x.nii.gz"), Path("x.json"), Path("notes.txt"), Path(f".{name}")]
    assert unread_images(files) == [Path(name)]


def test_one_beside_an_image_of_the_same_name_is_a_copy_of_it() -> None:
    files = [Path(name) for name in ("a_0000.nii.gz", "a_0000.webp", "a.mhd", "b.mhd")]
    assert unread_images(files) == files[3:]


def test_what_files_hold_of_the_place_of_their_voxels() -> None:
    both = {ending for ending in ALL_ENDINGS if place_held(Path(f"a{ending}")) == ("direction", "origin")}
    assert both == {".nii.gz", ".nii", ".mha", ".nrrd"}
    assert [ending for ending in ALL_ENDINGS if place_held(Path(f"a{ending}")) == ("origin",)] == [".gipl"]
    assert place_held(Path("a.nii.gz"), Path("b.gipl")) == ("origin",)
    assert place_held(Path("a.nii.gz"), Path("b.png")) == ()
