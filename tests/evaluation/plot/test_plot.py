"""Pictures show what is there: colours where labels are, the worst case first."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from balrsam_pipeline.cli import main
from balrsam_pipeline.imageio import Geometry, Image, read_image, write_image, write_label
from balrsam_pipeline.layout import PREDICTION
from balrsam_pipeline.outdated import STALE_NS
from evaluation.view import Plane, coloured, colours_of, disagreement, grey, view_of
from evaluation.view.colours import MISSED, SPURIOUS, WRONG
from evaluation.view.hanging import slices_to_show

GEOMETRY = Geometry(dimension=3, shape_zyx=(5, 10, 20), spacing_mm=(1.0, 2.0, 1.0))


def test_disagreement_is_coloured_by_kind_and_agreement_left_alone() -> None:
    picture = np.zeros((1, 4, 3), np.uint8)
    drawn = disagreement(picture, np.array([[1, 0, 1, 2]]), np.array([[1, 1, 0, 1]]))
    expected = [(0, 0, 0)] + [tuple(value // 2 for value in colour) for colour in (MISSED, SPURIOUS, WRONG)]
    assert [tuple(int(value) for value in pixel) for pixel in drawn[0]] == expected


def test_background_stays_grey_and_labels_get_colours_of_their_own() -> None:
    picture = grey(np.array([[[0.0, 5.0, 10.0]]]), (0.0, 10.0))
    assert picture[0].tolist() == [[0, 0, 0], [127, 127, 127], [255, 255, 255]]
    drawn = coloured(picture, np.array([[0, 1, 2]]), dict(zip((1, 2), colours_of(2), strict=True)))
    assert drawn[0, 0].tolist() == [0, 0, 0]
    assert drawn[0, 1].tolist() != drawn[0, 2].tolist()


def test_slices_of_most_disagreement_are_chosen() -> None:
    reference = np.zeros((5, 4, 4), int)
    prediction = reference.copy()
    prediction[3, :2], prediction[1, 0] = 1, 1
    assert slices_to_show(prediction, reference, 2) == [1, 3]
    assert slices_to_show(prediction, None, 1) == [3]
    assert slices_to_show(prediction[:1], None, 3) == [0]


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
        2 * 22 + 2 * (320 + 6 + 22) + 22 + 6,
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


@pytest.mark.parametrize("code", ["LPS", "RAS", "LAI", "PIR"])
@pytest.mark.parametrize(
    ("plane", "order"), [("axial", "LPS"), ("coronal", "LIP"), ("sagittal", "PIL")], ids=lambda text: text
)
def test_planes_hang_as_simpleitk_turns_them(tmp_path: Path, plane: Plane, order: str, code: str) -> None:
    """SimpleITK's own reorientation is the oracle: columns, rows and slices go the way of `order`."""
    import SimpleITK as sitk

    array = np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(np.int16)
    stored = sitk.DICOMOrient(sitk.GetImageFromArray(array), code)
    sitk.WriteImage(stored, str(tmp_path / "image.nii.gz"))
    image = read_image([tmp_path / "image.nii.gz"])
    view = view_of(image.geometry, plane)
    wanted = sitk.GetArrayFromImage(sitk.DICOMOrient(stored, "LPS"))  # (S, P, L), all growing
    turned = wanted.transpose(["SPL".index(_AXIS[letter]) for letter in reversed(order)])
    flips = tuple(slice(None, None, 1 if letter in "SPL" else -1) for letter in reversed(order))
    np.testing.assert_array_equal(view.turn(image.data[0]), turned[flips])
    assert view.marks[1] == order[0] and view.marks[3] == order[1]


_AXIS = {"L": "L", "R": "L", "P": "P", "A": "P", "S": "S", "I": "S"}


def test_a_ct_is_drawn_in_three_planes_with_window_and_legend(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for case in "abc":
        path = folders / "images" / f"{case}_0000.nii.gz"
        write_image(path, Image(np.full((1, *GEOMETRY.shape_zyx), -1000, np.int16), GEOMETRY))
    (folders / "dataset.json").write_text(
        '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "numTraining": 3, '
        '"file_ending": ".nii.gz"}'
    )
    words = [str(folders / "predictions"), str(folders / "references"), "--images", str(folders / "images")]
    words += ["--cases", "b", "--slices", "1", "--planes", "axial", "coronal", "sagittal"]
    for window, expected in ((["lung"], 59), (["-2000", "0"], 127), (["soft-tissue"], 0)):
        assert main(["plot", *words, "-o", str(folders / "out"), "--window", *window]) == 0
        drawn = np.asarray(Pillow.open(folders / "out" / "b.png"))
        assert drawn[2 * 22 + 22 + 25, 25].tolist() == [expected] * 3
    assert main(["plot", *words, "-o", str(folders / "out"), "--window", "nonsense"]) == 2
    assert "soft-tissue" in capsys.readouterr().err


def test_a_prediction_of_an_earlier_run_is_not_drawn(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = folders / "predictions"
    (predictions / PREDICTION).write_text("{}")
    os.utime(predictions / "b.nii.gz", ns=(STALE_NS, STALE_NS))
    words = ["plot", str(predictions), "--images", str(folders / "images"), "-o", str(folders / "out")]
    assert main([*words, "--cases", "b"]) == 2
    assert "to be predicted again: b" in capsys.readouterr().err
    assert main([*words, "--cases", "a"]) == 0


@pytest.mark.parametrize("linked", ["images", "predictions", "references"])
def test_files_that_links_lead_to_are_not_drawn_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], linked: str
) -> None:
    label = np.eye(8, dtype=np.uint8)
    for name in ("images", "predictions", "references"):
        (tmp_path / name).mkdir()
        real = tmp_path / ("real" if name == linked else name) / "a.png"
        real.parent.mkdir(exist_ok=True)
        Pillow.fromarray(label).save(real)
        if name == linked:
            (tmp_path / name / "a.png").symlink_to(real)
    before = (tmp_path / "real" / "a.png").read_bytes()
    words = ["plot", str(tmp_path / "predictions"), str(tmp_path / "references")]
    assert main([*words, "--images", str(tmp_path / "images"), "-o", str(tmp_path / "real")]) == 2
    assert "the folder that the images are in" in capsys.readouterr().err
    assert (tmp_path / "real" / "a.png").read_bytes() == before


def test_somebody_elses_pictures_are_not_drawn_over_and_ours_are(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, out = folders / "out" / "c.png", folders / "out"
    mine.parent.mkdir()
    Pillow.new("RGB", (3, 3)).save(mine)
    before = mine.read_bytes()
    words = ["plot", str(folders / "predictions"), "--images", str(folders / "images"), "-o", str(out)]
    assert main(words) == 2
    assert "c.png" in (message := capsys.readouterr().err) and "not made by this command" in message
    assert [path.name for path in out.iterdir()] == ["c.png"] and mine.read_bytes() == before
    mine.unlink()
    for _ in range(2):  # what this command made it may make again
        assert main(words) == 0


def test_somebody_elses_picture_of_very_many_pixels_is_not_drawn_over(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pillow refuses to open it: a header of 20000 x 20000 pixels is enough."""
    path, out = folders / "out" / "c.png", folders / "out"
    path.parent.mkdir()
    Pillow.new("L", (3, 3)).save(path)
    small, header = path.read_bytes(), struct.pack(">II5B", 20_000, 20_000, 8, 0, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path.write_bytes(before := small[:16] + header + checksum + small[33:])
    words = ["plot", str(folders / "predictions"), "--images", str(folders / "images"), "-o", str(out)]
    assert main(words) == 2
    assert "not made by this command" in capsys.readouterr().err and path.read_bytes() == before


def test_a_case_in_npz_among_volumes_is_drawn(folders: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder, name in (("images", "b_0000"), ("predictions", "b")):
        path = folders / folder / f"{name}.nii.gz"
        (write_image if folder == "images" else write_map)(path.with_name(f"{name}.npz"), read_image([path]))
        path.unlink()
    words = ["plot", str(folders / "predictions"), "--images", str(folders / "images")]
    assert main([*words, "-o", str(folders / "out")]) == 0
    assert sorted(path.name for path in (folders / "out").iterdir()) == ["a.png", "b.png", "c.png"]
    image = folders / "images" / "b_0000.nii.gz"
    moved = replace(GEOMETRY, origin_mm=(0.0, 0.0, 90.0))
    write_image(image, Image(read_image([image.with_name("b_0000.npz")]).data, moved))
    assert main([*words, "-o", str(folders / "out")]) == 0
    assert "drawn voxel by voxel" not in caplog.text  # an .npz label map holds no origin


def write_map(path: Path, label: Image) -> None:
    write_label(path, label.data[0], label.geometry)


@pytest.mark.parametrize("turned", ["predictions", "references"])
def test_label_maps_stored_in_another_orientation_are_drawn_alike(folders: Path, turned: str) -> None:
    """The picture of the label map as its image is stored is the oracle; "b" is the worst either way."""
    import SimpleITK as sitk

    words = ["plot", str(folders / "predictions"), str(folders / "references")]
    words += ["--images", str(folders / "images"), "--worst", "1"]
    assert main([*words, "-o", str(folders / "before")]) == 0
    for path in (folders / turned).iterdir():
        sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "RIA"), str(path))
    assert main([*words, "-o", str(folders / "after")]) == 0
    before, after = (Pillow.open(folders / name / "b.png").convert("RGB") for name in ("before", "after"))
    np.testing.assert_array_equal(np.asarray(before), np.asarray(after))


def test_a_label_map_that_lies_elsewhere_than_its_image_is_told(
    folders: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folders / "predictions" / "a.nii.gz"
    words = ["plot", str(folders / "predictions"), "--images", str(folders / "images")]
    words += ["-o", str(folders / "out"), "--cases", "a"]
    assert main(words) == 0
    assert "drawn voxel by voxel" not in caplog.text
    write_label(path, read_image([path]).data[0], replace(GEOMETRY, origin_mm=(0.0, 0.0, 90.0)))
    assert main(words) == 0
    assert "origin 0 × 0 × 90 mm" in caplog.text and "drawn voxel by voxel" in caplog.text
