"""Pictures show what is there: colours where labels are, the worst case first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from balrsam_pipeline.cli import main
from balrsam_pipeline.imageio import Geometry, Image, write_image, write_label
from evaluation.plot.figure import choose_slices
from evaluation.plot.overlay import MISSED, SPURIOUS, WRONG, coloured, disagreement, grey

GEOMETRY = Geometry(dimension=3, shape_zyx=(5, 10, 20), spacing_mm=(1.0, 2.0, 1.0))


def test_disagreement_is_coloured_by_kind_and_agreement_left_alone() -> None:
    picture = np.zeros((1, 4, 3), np.uint8)
    drawn = disagreement(picture, np.array([[1, 0, 1, 2]]), np.array([[1, 1, 0, 1]]))
    expected = [(0, 0, 0)] + [tuple(value // 2 for value in colour) for colour in (MISSED, SPURIOUS, WRONG)]
    assert [tuple(int(value) for value in pixel) for pixel in drawn[0]] == expected


def test_background_stays_grey_and_labels_get_colours_of_their_own() -> None:
    picture = grey(np.array([[[0.0, 5.0, 10.0]]]), (0.0, 10.0))
    assert picture[0].tolist() == [[0, 0, 0], [127, 127, 127], [255, 255, 255]]
    drawn = coloured(picture, np.array([[0, 1, 2]]))
    assert drawn[0, 0].tolist() == [0, 0, 0]
    assert drawn[0, 1].tolist() != drawn[0, 2].tolist()


def test_slices_of_most_disagreement_are_chosen() -> None:
    reference = np.zeros((5, 4, 4), int)
    prediction = reference.copy()
    prediction[3, :2], prediction[1, 0] = 1, 1
    assert choose_slices(prediction, reference, 2) == [1, 3]
    assert choose_slices(prediction, None, 1) == [3]
    assert choose_slices(prediction[:1], None, 3) == [0]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three cases, of which "b" is predicted worst."""
    truth = np.zeros(GEOMETRY.shape_zyx, np.uint8)
    truth[1:4, 2:8, 4:16] = 1
    for case, missing in (("a", 4), ("b", 10), ("c", 0)):
        prediction = truth.copy()
        prediction[..., :missing] = 0
        write_image(
            tmp_path / "images" / f"{case}_0000.nii.gz", Image(truth[None].astype(np.float32), GEOMETRY)
        )
        write_label(tmp_path / "predictions" / f"{case}.nii.gz", prediction, GEOMETRY)
        write_label(tmp_path / "references" / f"{case}.nii.gz", truth, GEOMETRY)
    return tmp_path


def test_the_worst_case_is_drawn_with_true_proportions(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(folders / "predictions"), str(folders / "references"), "--images", str(folders / "images")]
    assert main(["plot", *words, "-o", str(folders / "out"), "--worst", "1", "--slices", "2"]) == 0
    assert [path.name for path in (folders / "out").iterdir()] == ["b.png"]
    width, height = Pillow.open(folders / "out" / "b.png").size
    assert (width, height) == (
        4 * 320 + 3 * 6,
        3 * 22 + 2 * 320 + 6,
    )  # 10 rows of 2 mm are as long as 20 columns of 1 mm
    assert "b.png" in capsys.readouterr().out


def test_chosen_cases_are_drawn_without_references(folders: Path) -> None:
    words = [str(folders / "predictions"), "--images", str(folders / "images"), "-o", str(folders / "out")]
    assert main(["plot", *words, "--cases", "a", "c"]) == 0
    assert sorted(path.name for path in (folders / "out").iterdir()) == ["a.png", "c.png"]


def test_a_case_that_is_not_there_is_named(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(folders / "predictions"), "--images", str(folders / "images"), "-o", str(folders / "out")]
    assert main(["plot", *words, "--cases", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err
