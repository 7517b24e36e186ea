"""The generated folder of images and masks: pairs of two pictures a patient, the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from balrsam_pipeline.cli import main
from balrsam_pipeline.demo.pictures import generate_pictures
from balrsam_pipeline.errors import UsageError


def test_every_image_has_a_mask_of_0_and_255_that_shows_something(tmp_path: Path) -> None:
    assert generate_pictures(tmp_path / "organs", patients=3) == 6
    for image in (tmp_path / "organs" / "images").iterdir():
        mask = np.asarray(Image.open(tmp_path / "organs" / "masks" / f"{image.stem}_mask.png"))
        assert set(np.unique(mask)) == {0, 255} and (mask > 0).mean() > 0.02
        assert np.asarray(Image.open(image)).shape == mask.shape


def test_pictures_are_the_same_every_time_and_differ_between_patients(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        generate_pictures(tmp_path / name, patients=2)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name / "images").iterdir()})
    assert contents[0] == contents[1] and len(set(contents[0].values())) == 4


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="it exists"):
        generate_pictures(tmp_path)
    assert main(["demo", "--pictures", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == [] and "it exists" in capsys.readouterr().err


@pytest.mark.parametrize("link", [True, False])
def test_nothing_under_a_name_that_can_be_guessed_is_written_to_or_removed(
    tmp_path: Path, link: bool
) -> None:
    theirs = tmp_path / "theirs"
    for folder in (theirs, tmp_path / "raw"):
        folder.mkdir()
    planted = tmp_path / "raw" / ".tmp-organs"
    planted.symlink_to(theirs) if link else planted.mkdir()
    (planted / "notes.txt").write_text("precious")
    generate_pictures(tmp_path / "raw" / "organs", patients=1)
    assert [path.name for path in planted.iterdir()] == ["notes.txt"]
    assert {path.name for path in (tmp_path / "raw").iterdir()} == {planted.name, "organs"}
