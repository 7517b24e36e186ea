"""DICOM series become volumes in Hounsfield units on their own grid; labels come as NIfTI or DICOM-SEG."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from balrsam_pipeline.dataset import check_dataset, open_dataset, read_case
from balrsam_pipeline.dataset.converters import CONVERTERS, Conversion
from balrsam_pipeline.errors import DatasetError, ImageError
from balrsam_pipeline.imageio import read_image, write_image
from balrsam_pipeline.imageio.dicom import find_series, read_series

SHAPE = (6, 16, 20)
LABEL = np.zeros(SHAPE, np.uint8)
LABEL[1:4, 3:9, 4:10], LABEL[2:5, 10:13, 12:17] = 1, 2
OBLIQUE = (1.0, 0.0, 0.0, 0.0, 0.8, -0.6, 0.0, 0.6, 0.8)


def volume(seed: int, direction: tuple[float, ...] = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)) -> sitk.Image:
    image = sitk.GetImageFromArray(np.random.default_rng(seed).integers(-1000, 1500, SHAPE).astype(np.int16))
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-50.0, 20.0, 100.0))
    image.SetDirection(direction)
    return image


def write_series(folder: Path, image: sitk.Image, uid: str, number: int = 1) -> None:
    folder.mkdir(parents=True)
    direction = image.GetDirection()
    tags = {
        "0008|0060": "CT",
        "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
        "0010|0010": "Test^Patient",
        "0010|0020": "P1",
        "0020|000d": f"1.2.826.0.1.3680043.2.1125.{uid}",
        "0020|000e": f"1.2.826.0.1.3680043.2.1125.{uid}.{number}",
        "0020|0052": f"1.2.826.0.1.3680043.2.1125.{uid}.9",
        "0020|0011": str(number),
        "0020|0037": "\\".join(str(direction[index]) for index in (0, 3, 6, 1, 4, 7)),
        "0028|1052": "-1024",
        "0028|1053": "1",
        "0018|0050": "2.5",
        "0008|0020": "20260101",
        "0008|0030": "120000",
    }
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index in range(image.GetDepth()):
        part = image[:, :, index]
        for tag, value in tags.items():
            part.SetMetaData(tag, value)
        part.SetMetaData(
            "0020|0032",
            "\\".join(f"{value:.6f}" for value in image.TransformIndexToPhysicalPoint((0, 0, index))),
        )
        part.SetMetaData("0020|0013", str(index + 1))
        part.SetMetaData("0008|0018", f"1.2.826.0.1.3680043.2.1125.{uid}.{number}.{index + 1}")
        writer.SetFileName(str(folder / f"{(index * 7) % 11:03d}.dcm"))  # names say nothing about the order
        writer.Execute(part)


def write_label(path: Path, like: sitk.Image, orientation: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    label = sitk.GetImageFromArray(LABEL)
    label.CopyInformation(like)
    sitk.WriteImage(sitk.DICOMOrient(label, orientation) if orientation else label, str(path))


def make_source(
    folder: Path, orientation: str = "", direction: tuple[float, ...] = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
) -> Path:
    for index in range(3):
        write_series(
            folder / "images" / f"patient{index}" / "series", volume(index, direction), f"{index + 1}"
        )
        write_label(folder / "masks" / f"patient{index}.nii.gz", volume(index, direction), orientation)
    return folder


def convert(tmp_path: Path, folder: Path, **options: object) -> Path:
    return CONVERTERS["dicom"](Conversion(source=folder, target=tmp_path / "Dataset001_CT", **options)).target  # type: ignore[arg-type]


@pytest.mark.parametrize("direction", [(1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0), OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize("orientation", ["", "RAS", "LAI"])
def test_voxels_geometry_and_label_are_kept_however_the_label_is_stored(
    tmp_path: Path, orientation: str, direction: tuple
) -> None:
    target = convert(
        tmp_path, make_source(tmp_path / "source", orientation, direction), labels={"liver": 1, "spleen": 2}
    )
    dataset = open_dataset(target)
    image, label = read_case(dataset.training_cases()["patient1"], dataset.description)
    np.testing.assert_array_equal(image.data[0], sitk.GetArrayFromImage(volume(1)))
    np.testing.assert_allclose(image.geometry.spacing_mm, (2.5, 0.8, 0.7), rtol=1e-6)
    np.testing.assert_allclose(image.geometry.origin_mm, (-50.0, 20.0, 100.0), atol=1e-4)
    np.testing.assert_allclose(image.geometry.direction, direction, atol=1e-5)
    assert label is not None
    np.testing.assert_array_equal(label.data[0], LABEL)
    assert dataset.description.channel_names == ("CT",)
    assert check_dataset(target).errors == ()


def test_a_missing_slice_is_noticed(tmp_path: Path) -> None:
    folder = make_source(tmp_path / "source")
    sorted((folder / "images" / "patient1" / "series").iterdir())[3].unlink()
    with pytest.raises(DatasetError, match="mm apart"):
        convert(tmp_path, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_belongs_to_no_folder_of_a_case_is_named_and_hidden_folders_are_no_cases(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_source(tmp_path / "source")
    (folder / "images" / ".ipynb_checkpoints").mkdir()
    write_label(folder / "images" / "d.nii.gz", volume(0))
    (folder / "images" / "e.zip").write_bytes(b"an archive")
    for name in ("d.nii.gz", "e.nii.gz", "._patient0.nii.gz"):
        write_label(folder / "masks" / name, volume(0))
    target = convert(tmp_path, folder, labels={"liver": 1, "spleen": 2})
    assert set(open_dataset(target).training_cases()) == {"patient0", "patient1", "patient2"}
    assert f"{folder / 'images'}: no folders of a case, passed over: d.nii.gz, e.zip" in caplog.messages
    assert f"{folder / 'masks'}: masks without a case, passed over: d.nii.gz, e.nii.gz" in caplog.messages


def test_a_source_without_folders_of_cases_is_refused(tmp_path: Path) -> None:
    write_label(tmp_path / "source" / "masks" / "a.nii.gz", volume(0))
    with pytest.raises(DatasetError, match="no folder of a case"):
        convert(tmp_path, tmp_path / "source", images=".", labels={"liver": 1})


def test_a_label_on_another_grid_is_refused(tmp_path: Path) -> None:
    folder = make_source(tmp_path / "source")
    moved = volume(1)
    moved.SetOrigin((0.0, 0.0, 0.0))
    write_label(folder / "masks" / "patient1.nii.gz", moved)
    with pytest.raises(DatasetError, match=r"patient1\.nii\.gz"):
        convert(tmp_path, folder)


def test_two_series_are_two_channels_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = make_source(tmp_path / "source")
    for index in range(3):
        write_series(
            folder / "images" / f"patient{index}" / "a_later_one",
            volume(50 + index),
            f"{index + 1}",
            number=2,
        )
    dataset = open_dataset(convert(tmp_path, folder, channel_names=("early", "late")))
    image, _ = read_case(dataset.training_cases()["patient2"], dataset.description)
    np.testing.assert_array_equal(image.data[1], sitk.GetArrayFromImage(volume(52)))


def test_a_case_without_label_or_with_another_number_of_series_is_named(tmp_path: Path) -> None:
    folder = make_source(tmp_path / "source")
    write_series(folder / "images" / "patient1" / "other", volume(9), "2", number=2)
    with pytest.raises(DatasetError, match="patient1"):
        convert(tmp_path, folder)
    (folder / "masks" / "patient0.nii.gz").unlink()
    with pytest.raises(DatasetError, match="no label"):
        convert(tmp_path, folder)


def write_segmentation(path: Path, series: Path, names: tuple[str, ...], values: tuple[int, ...]) -> None:
    """A DICOM-SEG as highdicom writes it, its segments numbered in the order of `names`."""
    highdicom = pytest.importorskip("highdicom")
    pydicom = pytest.importorskip("pydicom")
    from pydicom.sr.codedict import codes

    slices = sorted(
        (pydicom.dcmread(file) for file in series.iterdir()), key=lambda file: file.InstanceNumber
    )
    for file in slices:
        (
            file.PatientBirthDate,
            file.PatientSex,
            file.AccessionNumber,
            file.StudyID,
            file.ReferringPhysicianName,
        ) = "", "", "", "", ""
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(names, 1)
    ]
    segmentation = highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=np.stack([value == LABEL for value in values], axis=-1).astype(np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=highdicom.UID(),
        series_number=100,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
    )
    segmentation.save_as(path)


@pytest.mark.parametrize("direction", [(1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0), OBLIQUE], ids=["axial", "oblique"])
def test_a_dicom_seg_is_placed_by_position_and_its_segments_by_name(tmp_path: Path, direction: tuple) -> None:
    folder = make_source(tmp_path / "source", direction=direction)
    for index in range(3):
        (folder / "masks" / f"patient{index}.nii.gz").unlink()
        names, values = (
            (("liver", "spleen"), (1, 2)) if index != 1 else (("spleen", "liver"), (2, 1))
        )  # numbers differ between files
        case = folder / "images" / f"patient{index}"
        write_segmentation(case / "seg.dcm", case / "series", names, values)
    dataset = open_dataset(convert(tmp_path, folder))
    assert dataset.description.labels.names == ("liver", "spleen")
    for case in dataset.training_cases().values():
        _, label = read_case(case, dataset.description)
        assert label is not None
        np.testing.assert_array_equal(label.data[0], LABEL)


def test_a_label_behind_a_link_is_found_and_a_hidden_file_is_none(tmp_path: Path) -> None:
    folder = make_source(tmp_path / "source")
    (folder / "masks").rename(tmp_path / "elsewhere")
    for index in range(3):
        (tmp_path / f"labels{index}").mkdir()
        (tmp_path / "elsewhere" / f"patient{index}.nii.gz").rename(tmp_path / f"labels{index}" / "a.nii.gz")
        (tmp_path / f"labels{index}" / "._a.nii.gz").write_bytes(b"of macOS")
        (folder / "images" / f"patient{index}" / "labels").symlink_to(tmp_path / f"labels{index}")
    dataset = open_dataset(convert(tmp_path, folder, labels={"liver": 1, "spleen": 2}))
    _, label = read_case(dataset.training_cases()["patient1"], dataset.description)
    assert label is not None
    np.testing.assert_array_equal(label.data[0], LABEL)


def edit(file: Path, **fields: object) -> None:
    """Change (or with None remove) attributes of one DICOM file."""
    dataset = pydicom.dcmread(file)
    for name, value in fields.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(file)


@pytest.mark.parametrize("modality", ["RTDOSE", "RTSTRUCT", "PR", "KO"])
def test_what_was_made_of_images_is_no_channel_and_is_named_once_for_all_cases(
    tmp_path: Path, modality: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Treatment plans bring some for every case."""
    folder = make_source(tmp_path / "source")
    for number in range(3):
        made = folder / "images" / f"patient{number}" / "made"
        write_series(made, volume(number), f"{number + 1}", 2)
        for file in made.iterdir():
            edit(file, Modality=modality)
    dataset = open_dataset(convert(tmp_path, folder, labels={"liver": 1, "spleen": 2}))
    assert dataset.description.channel_names == ("CT",)
    assert [said for said in caplog.messages if modality in said] == [
        f"{folder / 'images'}: {modality} is no image, 3 series left out, of patient0, patient1, patient2"
    ]


def slices(folder: Path, case: str = "patient1") -> list[Path]:
    """The files of a case's series in the order of their positions."""
    files = (folder / "images" / case).rglob("*.dcm")
    return sorted(files, key=lambda file: pydicom.dcmread(file).ImagePositionPatient[2])


def test_every_file_counts_each_slice_has_its_own_slope_and_intercept(tmp_path: Path) -> None:
    folder = make_source(tmp_path / "source")
    expected = sitk.GetArrayFromImage(volume(1)).astype(float)
    for z, file in enumerate(slices(folder)):
        edit(file, RescaleSlope=f"{0.5 * (z + 1):g}", RescaleIntercept=f"{10 * z}")
        expected[z] = (expected[z] + 1024) * 0.5 * (z + 1) + 10 * z
    dataset = open_dataset(convert(tmp_path, folder, labels={"liver": 1, "spleen": 2}))
    image, _ = read_case(dataset.training_cases()["patient1"], dataset.description)
    np.testing.assert_allclose(image.data[0], expected)


ODD = {
    "orientation": {"ImageOrientationPatient": ["0", "1", "0", "0", "0", "-1"]},
    "rows": {"Rows": 8, "PixelData": bytes(8 * 20 * 2)},
    "pixel spacing": {"PixelSpacing": ["0.9", "0.7"]},
    "photometric": {"PhotometricInterpretation": "MONOCHROME1"},
    "modality": {"Modality": "MR"},
    "description": {"SeriesDescription": "delayed"},
    "frame of reference": {"FrameOfReferenceUID": "1.2.3.4"},
    "PixelSpacing": {"PixelSpacing": None},
    "ImagePositionPatient": {"ImagePositionPatient": None},
}


@pytest.mark.parametrize("what", ODD)
def test_every_file_counts_one_that_differs_is_named(tmp_path: Path, what: str) -> None:
    folder = make_source(tmp_path / "source")
    file = slices(folder)[2]
    edit(file, **ODD[what])
    with pytest.raises(DatasetError) as refused:
        convert(tmp_path, folder, labels={"liver": 1, "spleen": 2})
    assert file.name in str(refused.value) and "patient1" in str(refused.value)


def test_a_series_without_pixel_spacing_is_refused(tmp_path: Path) -> None:
    folder = make_source(tmp_path / "source")
    for file in slices(folder):
        edit(file, PixelSpacing=None)
    with pytest.raises(DatasetError, match="no PixelSpacing"):
        convert(tmp_path, folder)


UNSCALED = {
    "no slope": {"RescaleSlope": None},
    "no intercept": {"RescaleIntercept": None},
    "slope of 0": {"RescaleSlope": "0"},
    "another unit": {"RescaleType": "OD"},
}


@pytest.mark.parametrize("what", UNSCALED)
def test_a_slice_whose_values_are_scaled_otherwise_is_named(tmp_path: Path, what: str) -> None:
    write_series(tmp_path / "series", volume(1), "1")
    files = sorted((tmp_path / "series").iterdir())
    for file in files:
        edit(file, RescaleSlope="2", RescaleType="HU")
    edit(files[2], **UNSCALED[what])
    with pytest.raises(ImageError, match=rf"(?s){files[2].name}.*Rescale"):
        read_series(find_series(tmp_path)[0])


@pytest.mark.parametrize("lacking", [["RescaleSlope", "RescaleIntercept"], ["RescaleType"]])
def test_slices_that_lack_what_changes_nothing_are_one_volume(tmp_path: Path, lacking: list[str]) -> None:
    write_series(tmp_path / "series", volume(1), "1")
    files = sorted((tmp_path / "series").iterdir())
    for file in files:
        edit(file, RescaleSlope="1", RescaleIntercept="0", RescaleType="HU")
    edit(files[2], **dict.fromkeys(lacking))
    image = read_series(find_series(tmp_path)[0])
    np.testing.assert_array_equal(image.data[0], sitk.GetArrayFromImage(volume(1)) + 1024)


ROUNDED = {
    # the places of six slices, in steps: each at most 0.1 off an even line, gaps of 0.85 to 1.15
    "places": [
        {"ImagePositionPatient": ["-50", "20", f"{100 + 2.5 * step:g}"]}
        for step in (0, 1.07, 1.92, 3.07, 3.93, 5)
    ],
    # directions beside an edge of rounding
    "orientation": [
        {"ImageOrientationPatient": ["1", "0", f"{0.0005 + sign * 1e-6:.7f}", "0", "1", "0"]}
        for sign in (1, -1, 1, -1, 1, -1)
    ],
    "pixel spacing": [{"PixelSpacing": ["0.8", f"{0.7005 + sign * 1e-6:.7f}"]} for sign in (1, -1) * 3],
}


@pytest.mark.parametrize("what", ROUNDED)
def test_slices_that_differ_by_rounding_are_one_volume(tmp_path: Path, what: str) -> None:
    write_series(tmp_path / "series", volume(1), "1")
    files = sorted(
        (tmp_path / "series").iterdir(), key=lambda file: pydicom.dcmread(file).ImagePositionPatient[2]
    )
    for file, changes in zip(files, ROUNDED[what], strict=True):
        edit(file, **changes)
    image = read_series(find_series(tmp_path)[0])
    np.testing.assert_array_equal(image.data[0], sitk.GetArrayFromImage(volume(1)))
    np.testing.assert_allclose(image.geometry.spacing_mm, (2.5, 0.8, 0.7), atol=1e-3)


@pytest.mark.parametrize("missing", range(1, 5))
def test_any_missing_slice_is_noticed(tmp_path: Path, missing: int) -> None:
    folder = make_source(tmp_path / "source")
    slices(folder)[missing].unlink()
    with pytest.raises(ImageError, match="mm apart"):
        read_series(find_series(folder / "images" / "patient1")[0])


def test_a_multi_frame_file_is_named(tmp_path: Path) -> None:
    folder = make_source(tmp_path / "source")
    first, *rest = slices(folder)
    for file in rest:
        file.unlink()
    edit(first, NumberOfFrames=3, PixelData=bytes(3 * 16 * 20 * 2))
    with pytest.raises(DatasetError, match="multi-frame"):
        convert(tmp_path, folder)


@pytest.mark.parametrize("own_series", [True, False])
def test_a_scout_is_left_out_with_a_note_that_names_it(
    tmp_path: Path, own_series: bool, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_source(tmp_path / "source")
    for index in range(3):
        scout = folder / "images" / f"patient{index}" / "series" / "overview.dcm"
        shutil.copy(slices(folder, f"patient{index}")[0], scout)
        changes = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], **ODD["rows"], **ODD["orientation"]}
        edit(scout, **changes, **({"SeriesInstanceUID": "1.2.3.9"} if own_series else {}))
    target = convert(tmp_path, folder, labels={"liver": 1, "spleen": 2}, workers=1)
    dataset = open_dataset(target)
    image, _ = read_case(dataset.training_cases()["patient1"], dataset.description)
    np.testing.assert_array_equal(image.data[0], sitk.GetArrayFromImage(volume(1)))
    assert ("series 1 left out" if own_series else "overview.dcm") in caplog.text


def test_the_tilt_of_a_gantry_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_source(tmp_path / "source", direction=OBLIQUE)
    files = slices(folder)
    for z, file in enumerate(files):
        edit(file, ImagePositionPatient=["-50", "20", f"{100 + 2.5 * z:g}"])
    image = read_series(find_series(folder / "images" / "patient1")[0])
    assert "tilt of 36.9 degrees" in caplog.text
    direction = np.array(image.geometry.direction).reshape(3, 3)
    np.testing.assert_allclose(direction[:, 2], (0, 0, 1), atol=1e-6)
    np.testing.assert_allclose(image.geometry.spacing_mm, (2.5, 0.8, 0.7))
    write_image(tmp_path / "a.nii.gz", image)
    again = read_image([tmp_path / "a.nii.gz"])
    np.testing.assert_allclose(again.geometry.direction, image.geometry.direction, atol=1e-6)
    np.testing.assert_array_equal(again.data, image.data)


def two_series(folder: Path, orders: list[tuple[str, str]]) -> Path:
    """Patients with two MR series of these descriptions, in this order of series numbers."""
    for index, descriptions in enumerate(orders):
        for number, description in enumerate(descriptions, 1):
            place = folder / "images" / f"patient{index}" / str(number)
            write_series(place, volume(len(description)), f"{index + 1}", number)
            for file in place.iterdir():
                edit(file, SeriesDescription=description, Modality="MR")
        write_label(folder / "masks" / f"patient{index}.nii.gz", volume(0))
    return folder


@pytest.mark.parametrize("words", [("T1", "FLAIR"), ("t1 mprage", "Ax FLAIR fs"), ("mprage", "Ax FLAIR fs")])
def test_what_files_say_decides_which_series_is_which_channel(tmp_path: Path, words: tuple[str, str]) -> None:
    folder = two_series(tmp_path / "source", [words, words[::-1], words])
    target = convert(tmp_path, folder, channel_names=("T1", "FLAIR"), labels={"liver": 1, "spleen": 2})
    dataset = open_dataset(target)
    for files in dataset.training_cases().values():
        image, _ = read_case(files, dataset.description)
        for channel, word in zip(image.data, words, strict=True):
            np.testing.assert_array_equal(channel, sitk.GetArrayFromImage(volume(len(word))))


@pytest.mark.parametrize(
    "orders",
    [
        [("T1", "FLAIR"), ("unknown", "unknown one"), ("T1", "FLAIR")],
        [("T1", "FLAIR"), ("aa", "T1"), ("aa", "FLAIR")],
        [("aa", "bbb"), ("bbb", "aa"), ("aa", "bbb")],
        [("aa", "bbb"), ("bbb", "aa one"), ("aa", "bbb")],
    ],
    ids=["unknown", "one description for two channels", "another order", "one description moved"],
)
def test_series_that_leave_it_open_which_channel_they_are_are_refused(
    tmp_path: Path, orders: list[tuple[str, str]]
) -> None:
    folder = two_series(tmp_path / "source", orders)
    with pytest.raises(DatasetError, match="case patient1"):
        convert(tmp_path, folder, channel_names=("T1", "FLAIR"), labels={"liver": 1, "spleen": 2})


def test_order_decides_where_no_description_stands_elsewhere_and_cases_described_otherwise_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = two_series(tmp_path / "source", [("aa", "bbb"), ("aa", "bbb two"), ("aa", "aa")])
    target = convert(tmp_path, folder, channel_names=("T1", "FLAIR"), labels={"liver": 1, "spleen": 2})
    image, _ = read_case(open_dataset(target).training_cases()["patient1"], open_dataset(target).description)
    np.testing.assert_array_equal(image.data[1], sitk.GetArrayFromImage(volume(len("bbb two"))))
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text for text in warned if "patient1, patient2" in text and "1 'aa', 2 'bbb'" in text]


def test_modalities_that_change_places_are_refused(tmp_path: Path) -> None:
    folder = two_series(tmp_path / "source", [("aa", "bbb"), ("ccc", "dd")])
    for case, number in (("patient0", "2"), ("patient1", "1")):
        for file in (folder / "images" / case / number).iterdir():
            edit(file, Modality="PT")
    with pytest.raises(DatasetError, match="case patient1"):
        convert(tmp_path, folder, channel_names=("one", "other"), labels={"liver": 1, "spleen": 2})
