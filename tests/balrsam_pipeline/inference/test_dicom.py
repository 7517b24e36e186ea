"""DICOM in, DICOM-SEG and RTSTRUCT out, on series of every kind; the oracles are the positions that were
written, highdicom's reader, and polygons filled again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from skimage.draw import polygon2mask
from support.dicom import (
    CT,
    KINDS,
    SHAPE,
    SPACING,
    Kind,
    files_of,
    position,
    voxels_of,
    write_kind,
    write_segments,
)

from balrsam_pipeline.cli import main
from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import ImageError, PredictionError
from balrsam_pipeline.imageio import dicom_headers, read_geometry, read_image, read_label
from balrsam_pipeline.imageio.dicom import find_series, read_series
from balrsam_pipeline.imageio.dicom_files import folders_of
from balrsam_pipeline.inference.dicom import inputs as inputs_module
from balrsam_pipeline.inference.dicom.codes import codes_of
from balrsam_pipeline.inference.dicom.segmentation import write_segmentation
from balrsam_pipeline.inference.dicom.sources import read_sources
from balrsam_pipeline.inference.dicom.structures import contours, write_structures
from balrsam_pipeline.inference.dicom.studies import find_studies, holds_dicom

LABELS = LabelScheme(
    names=("liver", "vessel"),
    values=((1,), (2,)),
    has_regions=False,
    region_order=(),
    ignore_value=None,
    largest=2,
)
LIVER = ("10200004", "SCT", "Liver")
ALL = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
Folders = Callable[..., Path]


def label_of(kind: Kind) -> Any:
    """A liver with a hole and an island, and a vessel in one slice; the last slice is empty."""
    label = np.zeros((kind.slices, *SHAPE[1:]), np.uint8)
    label[:4, 3:12, 2:15] = 1
    label[:4, 6:9, 5:9] = 0
    label[0, 13:15, 16:19] = 1
    label[0, 7, 6] = 2
    return label


@ALL
def test_voxels_and_places_are_those_of_the_files(kind: Kind, tmp_path: Path) -> None:
    write_kind(tmp_path, kind)
    image = read_series(find_series(tmp_path)[0])
    np.testing.assert_array_equal(image.data[0], voxels_of(kind))
    geometry = image.geometry
    direction = np.array(geometry.direction).reshape(3, 3)
    np.testing.assert_allclose(geometry.spacing_mm, SPACING, atol=1e-6)
    for z in range(kind.slices):
        place = np.array(geometry.origin_mm) + z * geometry.spacing_mm[0] * direction[:, 2]
        np.testing.assert_allclose(place, position(kind, z), atol=1e-3)


def test_a_frame_without_the_slope_of_the_others_is_refused(tmp_path: Path) -> None:
    write_kind(tmp_path, KINDS["multi-frame"])
    (dataset,) = files_of(tmp_path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for frame in dataset.PerFrameFunctionalGroupsSequence[1:]:
        frame.PixelValueTransformationSequence = shared.PixelValueTransformationSequence
    del shared.PixelValueTransformationSequence
    dataset.save_as(tmp_path / "1.dcm")
    with pytest.raises(ImageError, match=r"(?s)frame 1\b.*no RescaleSlope|no RescaleIntercept.*frame 1\b"):
        read_series(find_series(tmp_path)[0])


@pytest.mark.parametrize(
    "code",
    [
        {"type": LIVER, "colour": [300, 0, 0]},
        {"type": LIVER, "colour": [0, -1, 0]},
        {"type": ["1" * 17, "SCT", "Liver"]},  # a short string of DICOM has 16 characters
        {"type": ["1", "SCT", "L" * 65]},
        {"type": ["1\\2", "SCT", "Liver"]},  # which would be two values
        {"type": ["1", "SCT", "Liver\x1b[2J"]},
        {"type": LIVER, "category": ["", "SCT", "Organ"]},
    ],
)
def test_codes_that_dicom_has_no_room_for_are_refused_by_label(tmp_path: Path, code: Any) -> None:
    (tmp_path / "codes.json").write_text(json.dumps({"liver": code}))
    with pytest.raises(PredictionError, match=r"codes\.json: liver"):
        codes_of(LABELS.names, tmp_path / "codes.json")


@ALL
def test_a_dicom_seg_opened_by_highdicom_has_the_same_voxels_and_codes(kind: Kind, tmp_path: Path) -> None:
    write_kind(tmp_path / "series", kind)
    (tmp_path / "codes.json").write_text(json.dumps({"liver": {"type": LIVER, "colour": [200, 10, 10]}}))
    label, sources = label_of(kind), read_sources(find_series(tmp_path / "series")[0])
    codes = codes_of(LABELS.names, tmp_path / "codes.json")
    write_segmentation(tmp_path / "seg.dcm", label, LABELS, sources, codes)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    files = files_of(tmp_path / "series")
    if kind.frames:
        read = seg.get_pixels_by_source_frame(
            files[0].SOPInstanceUID, [number + 1 for number in sources.order or ()]
        )
    else:  # in the order of places, which the file names may run against
        ordered = files[::-1] if kind.names_reversed else files
        read = seg.get_pixels_by_source_instance([one.SOPInstanceUID for one in ordered])
    for segment, value in ((0, 1), (1, 2)):
        np.testing.assert_array_equal(read[..., segment], label == value)
    liver, vessel = (seg.get_segment_description(number) for number in (1, 2))
    coded = liver.segmented_property_type
    assert (coded.value, coded.scheme_designator, coded.meaning) == LIVER
    assert liver.segment_label == "liver" and vessel.segmented_property_type.meaning == "vessel"
    colour = highdicom.color.CIELabColor.from_dicom_value(liver.RecommendedDisplayCIELabValue).to_rgb()
    assert np.abs(np.array(colour) - (200, 10, 10)).max() <= 2
    assert seg.StudyInstanceUID == files[0].StudyInstanceUID


def test_regions_that_overlap_are_segments_of_their_own(tmp_path: Path) -> None:
    kind = KINDS["multi-frame"]
    write_kind(tmp_path / "series", kind)
    label, sources = label_of(kind), read_sources(find_series(tmp_path / "series")[0])
    regions = LabelScheme(
        names=("all", "vessel"),
        values=((1, 2), (2,)),
        has_regions=True,
        region_order=(1, 2),
        ignore_value=None,
        largest=2,
    )
    write_segmentation(tmp_path / "seg.dcm", label, regions, sources, codes_of(regions.names, None))
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    uid = files_of(tmp_path / "series")[0].SOPInstanceUID
    read = seg.get_pixels_by_source_frame(uid, [number + 1 for number in sources.order or ()])
    np.testing.assert_array_equal(read, np.stack([label > 0, label == 2], axis=-1))


@ALL
def test_an_rtstruct_filled_again_is_the_mask(kind: Kind, tmp_path: Path) -> None:
    write_kind(tmp_path / "series", kind)
    series = find_series(tmp_path / "series")[0]
    label, geometry = label_of(kind), read_series(series).geometry
    grid = (geometry, read_sources(series))
    write_structures(tmp_path / "rt.dcm", label, LABELS, grid, codes_of(LABELS.names, None))
    read = pydicom.dcmread(tmp_path / "rt.dcm")
    known = {str(one.SOPInstanceUID) for one in files_of(tmp_path / "series")}
    to_index = np.linalg.inv(np.asarray(kind.directions) * np.array(SPACING[::-1]))
    for roi, value in zip(read.ROIContourSequence, (1, 2), strict=True):
        filled = np.zeros(label.shape, bool)
        for contour in roi.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            x, y, z = to_index @ (points - position(kind, 0)).T
            assert np.abs(z - round(float(z[0]))).max() * SPACING[0] < 1e-3
            filled[round(float(z[0]))] ^= polygon2mask(SHAPE[1:], np.column_stack([y, x]))
            assert str(contour.ContourImageSequence[0].ReferencedSOPInstanceUID) in known
        both = (filled & (label == value)).sum()
        assert 2 * both / (filled.sum() + (label == value).sum()) >= 0.99
    assert [roi.ROIName for roi in read.StructureSetROISequence] == ["liver", "vessel"]
    assert read.Modality == "RTSTRUCT"


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 144", "Иванов^Иван"),
        ("ISO_IR 192", "山田^太郎"),
        ("GB18030", "王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
    ],
)
def test_names_of_patients_and_labels_in_any_alphabet_are_kept(
    characters: Any, name: str, tmp_path: Path
) -> None:
    write_kind(tmp_path / "series", KINDS["upright"])
    for file in (tmp_path / "series").iterdir():
        dataset = pydicom.dcmread(file)
        dataset.SpecificCharacterSet, dataset.PatientName = characters, name
        dataset.save_as(file)
    series, labels = find_series(tmp_path / "series")[0], replace(LABELS, names=("Läsion", "血管"))
    label, sources, codes = label_of(KINDS["upright"]), read_sources(series), codes_of(labels.names, None)
    write_structures(tmp_path / "rt.dcm", label, labels, (read_series(series).geometry, sources), codes)
    write_segmentation(tmp_path / "seg.dcm", label, labels, sources, codes)
    structures, segments = pydicom.dcmread(tmp_path / "rt.dcm"), pydicom.dcmread(tmp_path / "seg.dcm")
    assert [str(each.PatientName) for each in (structures, segments)] == [name, name]
    assert tuple(roi.ROIName for roi in structures.StructureSetROISequence) == labels.names
    assert tuple(one.SegmentLabel for one in segments.SegmentSequence) == labels.names


@pytest.mark.parametrize("seed", range(5))
def test_contours_of_any_mask_filled_by_odd_and_even_are_that_mask(seed: int) -> None:
    mask = np.random.default_rng(seed).random((12, 15)) < 0.5
    filled = np.zeros_like(mask)
    for line in contours(mask):
        filled ^= polygon2mask(mask.shape, line)
    np.testing.assert_array_equal(filled, mask)


def test_studies_are_told_apart_by_header_and_series_by_their_words(tmp_path: Path) -> None:
    for name, study in (("anna", "1"), ("bert", "2")):
        write_kind(tmp_path / name / "a", KINDS["upright"], 1, "T1 mprage", study)
        write_kind(tmp_path / name / "b", KINDS["upright"], 2, "T2 tse", study)
    write_kind(tmp_path / "carl", KINDS["single"], 7, "T2 flair", "3")
    assert holds_dicom([tmp_path])
    unclear = find_studies([tmp_path], ("MR",))
    assert list(unclear.cases) == ["carl"] and set(unclear.refused) == {"anna", "bert"}
    with pytest.raises(PredictionError, match=r"1 'T1 mprage' \(6 files\), 2 'T2 tse'.*\n.*\n.*--series"):
        raise unclear.refused["anna"]
    chosen = find_studies([tmp_path], ("MR",), ("t2",))
    assert {case: series[0].number for case, series in chosen.cases.items()} == {
        "anna": 2,
        "bert": 2,
        "carl": 7,
    }
    assert set(find_studies([tmp_path], ("MR",), ("²",)).refused) == {"anna", "bert", "carl"}
    both = find_studies([tmp_path], ("one", "other"), ("t2", "1"))
    assert [one.number for one in both.cases["anna"]] == [2, 1]
    assert set(find_studies([tmp_path], ("T2", "T1")).cases) == {"anna", "bert"}


@pytest.mark.parametrize("place", [".", "anna"])
def test_pictures_beside_series_are_passed_over_for_a_model_of_volumes(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_kind(tmp_path / place, KINDS["upright"])
    for name in ("logo.png", "preview.JPG"):
        (tmp_path / name).write_bytes(b"a picture")
    assert holds_dicom([tmp_path], volumes=True)
    assert "2 image(s), such as logo.png, are passed over beside 1 DICOM series" in caplog.messages


@pytest.mark.parametrize(("name", "volumes"), [("a.png", False), ("a.nii.gz", True), ("a.tif", True)])
def test_images_that_could_be_meant_beside_series_are_refused_unless_options_say_dicom(
    name: str, volumes: bool, tmp_path: Path
) -> None:
    write_kind(tmp_path / "anna", KINDS["upright"])
    (tmp_path / name).write_bytes(b"an image")
    with pytest.raises(PredictionError, match=rf"1 image\(s\), such as {name}, beside 1 DICOM.*\n.*\n.*-i"):
        holds_dicom([tmp_path], volumes=volumes)
    assert holds_dicom([tmp_path], volumes=volumes, meant=True)


def test_images_beside_files_that_are_no_series_of_images_are_the_input(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"an image")
    (tmp_path / "notes.txt").write_text("of no use")
    assert not holds_dicom([tmp_path])
    write_segments(tmp_path / "a_seg.dcm", KINDS["upright"])
    assert not holds_dicom([tmp_path])


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut in the header": lambda whole: whole[:200],
    "cut before its class": lambda whole: whole[:150],
    "cut in the pixels": lambda whole: whole[:-300],
    "a web page": lambda whole: b"<html>please sign in</html>" * 40,
}


def damage(file: Path, how: str) -> None:
    file.write_bytes(DAMAGED[how](file.read_bytes()))


@pytest.mark.parametrize("ending", [".dcm", ".IMA", ""])
@pytest.mark.parametrize("place", [2, 5])
@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_slice_is_named_wherever_it_lies(how: str, place: int, ending: str, tmp_path: Path) -> None:
    write_kind(tmp_path, KINDS["upright"])
    for file in tmp_path.iterdir():
        file.rename(file.with_suffix(ending))
    file = sorted(tmp_path.iterdir())[place]
    damage(file, how)
    (series,) = find_series(tmp_path)
    with pytest.raises(ImageError, match=rf"(?s){file.name}.*found:.*cannot be read.*fix:.*again"):
        read_series(series)


def test_a_link_to_a_slice_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_kind(tmp_path, KINDS["upright"])
    (tmp_path / "1_006.dcm").unlink()
    (tmp_path / "1_006.dcm").symlink_to(tmp_path / "annex")
    with pytest.raises(ImageError, match=r"1_006\.dcm"):
        read_series(find_series(tmp_path)[0])


@pytest.mark.parametrize(("how", "refused"), [("cut in the pixels", {2}), ("empty", {1, 2})])
def test_a_damaged_slice_counts_for_the_series_that_it_names_else_for_all_beside_it(
    how: str, refused: set[int], tmp_path: Path
) -> None:
    for number in (1, 2, 11):
        write_kind(tmp_path / ("other" if number == 11 else "flat"), KINDS["upright"], number)
    damage(tmp_path / "flat" / "2_006.dcm", how)
    assert {series.number for series in find_series(tmp_path) if series.damaged} == refused


def test_slices_without_a_series_beside_them_are_named_in_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for study, name in (("1", "anna"), ("2", "bert")):
        write_kind(tmp_path / name, KINDS["single"], study=study)
    damage(tmp_path / "bert" / "1_001.dcm", "cut in the pixels")
    assert holds_dicom([tmp_path])
    assert set(find_studies([tmp_path], ("CT",)).cases) == {"anna"}
    assert sum("bert" in text and "1_001.dcm" in text for text in caplog.messages) == 1


def test_each_damaged_slice_is_read_once_however_many_series_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        write_kind(tmp_path / f"{number}", KINDS["single"], number)
        (tmp_path / f"{number}" / "damaged.dcm").write_bytes(b"")
    opened, opening = Counter[Path](), Path.open

    def counting(path: Path, *words: Any) -> Any:
        opened[path] += 1
        return opening(path, *words)

    monkeypatch.setattr(Path, "open", counting)
    found = find_series(tmp_path)
    assert [len(series.damaged) for series in found] == [1] * 12
    damaged = {path: times for path, times in opened.items() if path.name == "damaged.dcm"}
    assert len(damaged) == 12 and set(damaged.values()) == {1}


def test_each_slice_is_read_once_however_many_series_lie_in_its_folder(tmp_path: Path) -> None:
    """GDCM, asked for the files of a series, reads all that lie in the folder: 20 series of 300 slices are
    120,000 reads."""
    for number in (1, 2, 3):
        write_kind(tmp_path, KINDS["upright"], number)
    before = dicom_headers._read.cache_info().misses
    assert holds_dicom([tmp_path])
    found = find_series(tmp_path)
    assert [len(series.files) for series in found] == [KINDS["upright"].slices] * 3
    assert dicom_headers._read.cache_info().misses - before == len(list(tmp_path.iterdir()))


def test_a_slice_that_was_changed_is_read_anew(tmp_path: Path) -> None:
    write_kind(tmp_path, KINDS["upright"], 1, "thin")
    assert find_series(tmp_path)[0].description == "thin"
    for file in tmp_path.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.SeriesDescription = "thick"
        dataset.save_as(file)
    assert find_series(tmp_path)[0].description == "thick"


def test_a_slice_less_takes_no_other_along(tmp_path: Path) -> None:
    """Beside a link to nowhere GDCM forgot two more."""
    write_kind(tmp_path, KINDS["upright"])
    (tmp_path / "1_006.dcm").unlink()
    (tmp_path / "1_006.dcm").symlink_to(tmp_path / "annex")
    assert len(find_series(tmp_path)[0].files) == KINDS["upright"].slices - 1


def test_what_else_lies_beside_a_series_is_no_damaged_slice(tmp_path: Path) -> None:
    write_kind(tmp_path, KINDS["upright"])
    write_segments(tmp_path / "boxes.dcm", KINDS["upright"])
    damage(tmp_path / "boxes.dcm", "cut in the pixels")
    (slice_,) = files_of(tmp_path)[:1]
    del slice_.PixelData
    for name, kind in (
        ("rtstruct.dcm", "1.2.840.10008.5.1.4.1.1.481.3"),
        ("report.dcm", "1.2.840.10008.5.1.4.1.1.88.11"),
        ("private", "1.3.12.2.1107.5.9.1"),
        ("DICOMDIR", "1.2.840.10008.1.3.10"),
    ):
        slice_.SOPClassUID = slice_.file_meta.MediaStorageSOPClassUID = kind
        slice_.ReferencedSOPClassUID = CT  # DICOMDIR lists images
        slice_.save_as(tmp_path / name)
    plain = pydicom.dcmread(tmp_path / "report.dcm")
    plain.save_as(tmp_path / "without_preamble.dcm")
    whole = (tmp_path / "without_preamble.dcm").read_bytes()
    (tmp_path / "without_preamble.dcm").write_bytes(whole[whole.index(b"\x08\0\x08\0CS") :])
    for name in ("._1_001.dcm", "README", "DONE", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    series = next(one for one in find_series(tmp_path) if one.modality == "CT")
    np.testing.assert_array_equal(read_series(series).data[0], voxels_of(KINDS["upright"]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", f"Series UID,Modality,SOP Class UID\nSERIES,CT,{CT}\n"),  # of a TCIA download
        ("anna/tags.json", f'{{"00080016": {{"vr": "UI", "Value": ["{CT}"]}}}}'),
        ("anna/dump.txt", f"(0008,0016) UI [{CT}] # 26, 1 SOPClassUID\n"),
    ],
)
def test_a_text_that_names_the_class_of_slices_is_none(name: str, text: str, tmp_path: Path) -> None:
    write_kind(tmp_path / "anna", KINDS["upright"])
    uid = files_of(tmp_path / "anna")[0].SeriesInstanceUID
    (tmp_path / name).write_text(text.replace("SERIES", uid))
    (series,) = find_series(tmp_path)
    np.testing.assert_array_equal(read_series(series).data[0], voxels_of(KINDS["upright"]))


def test_a_damaged_slice_without_a_preamble_is_known_by_its_class(tmp_path: Path) -> None:
    write_kind(tmp_path, KINDS["upright"])
    file = tmp_path / "1_006.dcm"
    whole = file.read_bytes()
    (tmp_path / "last").write_bytes(whole[whole.index(b"\x08\0\x16\0UI") : -300])
    file.unlink()
    with pytest.raises(ImageError, match="last"):
        read_series(find_series(tmp_path)[0])


@pytest.mark.parametrize("place", ["folder", "file"])
def test_names_that_are_not_utf8_are_refused_before_gdcm_ends_the_process(place: str, tmp_path: Path) -> None:
    odd = os.fsdecode(b"M\xfcller")
    folder = tmp_path / (odd if place == "folder" else "anna")
    write_kind(tmp_path / "anna", KINDS["upright"])
    if place == "folder":
        (tmp_path / "anna").rename(folder)
    else:
        (folder / "1_002.dcm").rename(folder / odd)
    code = "from pathlib import Path; from balrsam_pipeline.imageio.dicom import find_series, read_series;"
    code += f"[read_series(one) for one in find_series(Path({str(tmp_path)!r}))]"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "ImageError" in done.stderr and "not UTF-8" in done.stderr


def spread(folder: Path) -> None:
    """Move every other file of a folder into a sub-folder."""
    (folder / "more").mkdir()
    for file in sorted(folder.glob("*.dcm"))[::2]:
        file.rename(folder / "more" / file.name)


@pytest.mark.parametrize("name", ["oblique", "reversed"])
def test_a_series_spread_over_folders_is_one(name: str, tmp_path: Path) -> None:
    write_kind(tmp_path / "anna", KINDS[name])
    write_kind(tmp_path / "anna" / "other", KINDS[name], number=2)
    spread(tmp_path / "anna")
    first, second = find_series(tmp_path)
    assert (len(first.files), len(second.files)) == (KINDS[name].slices,) * 2
    np.testing.assert_array_equal(read_series(first).data[0], voxels_of(KINDS[name]))
    assert list(find_studies([tmp_path], ("MR",), ("1",)).cases) == ["anna"]


@pytest.mark.parametrize("name", ["upright", "multi-frame"])
def test_copies_of_a_series_and_phases_in_folders_of_their_own_stay_apart(name: str, tmp_path: Path) -> None:
    for place in ("a", "b"):
        write_kind(tmp_path / place, KINDS[name])
    assert [series.files[0].parent.name for series in find_series(tmp_path)] == ["a", "b"]


def test_patients_behind_links_are_found_each_once_and_called_as_the_links(tmp_path: Path) -> None:
    studies, archive = tmp_path / "studies", tmp_path / "archive"
    for number, place in enumerate((studies / "anna" / "ct", archive / "bert" / "ct", archive / "carl"), 1):
        write_kind(place, KINDS["upright"], study=str(number))
    (studies / "subject2").symlink_to(archive / "bert")  # whose files lie one folder deeper
    (studies / "subject3").symlink_to(archive / "carl")
    (studies / "a_latest").symlink_to(studies / "anna" / "ct")  # which is there anyway
    (studies / "anna" / "circle").symlink_to(studies)
    (studies / "above").symlink_to(tmp_path)
    cases = find_studies([studies], ("CT",)).cases
    assert set(cases) == {"anna_ct", "subject2_ct", "subject3"}  # as the links are called, and in `convert`
    assert all(len(series) == 1 for series in cases.values())


@pytest.mark.parametrize("beside", [(), ("logo.png",)])
def test_a_folder_that_may_not_be_read_is_named_once_and_passed_over(
    beside: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_kind(tmp_path / "anna", KINDS["upright"])
    (tmp_path / "lost+found").mkdir()
    for name in beside:
        (tmp_path / name).write_bytes(b"a picture")
    listing = Path.iterdir

    def closed(folder: Path) -> Iterator[Path]:  # as root, who may read all, the tests run, too
        if folder.name in ("lost+found", "closed"):
            raise PermissionError(13, "Permission denied", str(folder))
        return listing(folder)

    monkeypatch.setattr(Path, "iterdir", closed)
    assert holds_dicom([tmp_path])
    assert list(find_studies([tmp_path], ("CT",)).cases) == ["anna"]
    assert sum("lost+found" in text for text in caplog.messages) == 1
    (tmp_path / "closed").mkdir()
    with pytest.raises(PermissionError):
        folders_of(tmp_path / "closed")


def test_hundreds_of_links_are_not_sorted_anew_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(300):
        (tmp_path / "archive" / f"{number:03d}").mkdir(parents=True)
        (tmp_path / "in" / f"{number:03d}").symlink_to(tmp_path / "archive" / f"{number:03d}")
    expected = [tmp_path / "in", *sorted((tmp_path / "in").iterdir())]
    compared, less = [0], PurePath.__lt__

    def counting(one: PurePath, other: PurePath) -> bool:
        compared[0] += 1
        return less(one, other)

    with monkeypatch.context() as patched:
        patched.setattr(PurePath, "__lt__", counting)
        found = folders_of(tmp_path / "in")
    assert found == expected
    assert compared[0] < 3 * 300 * np.log2(300)  # sorted for each, 300² / 2 comparisons


def test_dicom_behind_links_beside_images_is_noticed(tmp_path: Path) -> None:
    write_kind(tmp_path / "archive" / "ct", KINDS["upright"])
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "anna").symlink_to(tmp_path / "archive")
    (tmp_path / "in" / "a.nii.gz").write_bytes(b"an image")
    with pytest.raises(PredictionError, match="beside 1 DICOM series"):
        holds_dicom([tmp_path / "in"])


def two_channels(folder: Path, patients: dict[str, tuple[str, str]]) -> Path:
    """Patients with two series of these descriptions, in the order of their numbers."""
    for study, (name, descriptions) in enumerate(patients.items(), 1):
        for number, description in enumerate(descriptions, 1):
            write_kind(folder / name / str(number), KINDS["upright"], number, description, str(study))
    return folder


def test_a_clear_match_decides_and_what_remains_follows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    t2, adc = "AX T2W TSE", "ep2d_diff_ADC"
    two_channels(tmp_path, {"anna": (t2, adc), "bert": (adc, t2)})
    with caplog.at_level("INFO"):
        studies = find_studies([tmp_path], ("T2", "ADC"))
    told = {case: [one.description for one in series] for case, series in studies.cases.items()}
    assert told == {"anna": [t2, adc], "bert": [t2, adc]} and not studies.refused
    assert "bert: ADC <- series 1 'ep2d_diff_ADC'" in caplog.messages


@pytest.mark.parametrize(
    "patients",
    [
        {"anna": ("one", "other")},
        {"anna": ("one", "other"), "bert": ("other", "one")},
        {"anna": ("one", "ADC"), "bert": ("one", "T2")},  # "one" would be T2 here, ADC there
        {"anna": ("T2 fs", "one")},  # which may be the channel T2fs
    ],
)
def test_numbers_of_series_never_decide_which_channel_they_are(
    tmp_path: Path, patients: dict[str, tuple[str, str]]
) -> None:
    channels = ("T2", "T2fs") if patients["anna"][0] == "T2 fs" else ("T2", "ADC")
    studies = find_studies([two_channels(tmp_path, patients)], channels)
    assert not studies.cases and set(studies.refused) == set(patients)
    assert "--series" in str(studies.refused["anna"])
    chosen = find_studies([tmp_path], channels, ("2", "1"))
    assert all([one.number for one in series] == [2, 1] for series in chosen.cases.values())


@ALL
def test_every_kind_of_series_is_predicted_on_its_own_grid_and_comes_back_as_a_seg(
    kind: Kind, model_folder: Folders, tmp_path: Path
) -> None:
    """The oracles: every corner of the grid where the files put it, and highdicom's reading of the SEG."""
    write_kind(tmp_path / "in" / "anna", kind)
    words = ["predict", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--model", str(model_folder(folds=(0,))), "--output-format", "dicom-seg"]) == 0
    label = read_label(tmp_path / "out" / "anna.nii.gz")
    step = np.array(label.geometry.direction).reshape(3, 3) * label.geometry.spacing_mm[::-1]
    directions = np.asarray(kind.directions)
    for z in (0, kind.slices - 1):
        for y, x in ((0, 0), (0, SHAPE[2] - 1), (SHAPE[1] - 1, 0)):
            told = np.array(label.geometry.origin_mm) + step @ (x, y, z)
            real = position(kind, z) + directions[:, 0] * x * SPACING[2] + directions[:, 1] * y * SPACING[1]
            np.testing.assert_allclose(told, real, atol=1e-3)
    seg = highdicom.seg.segread(tmp_path / "out" / "anna_seg.dcm")
    files = files_of(tmp_path / "in" / "anna")
    if kind.frames:  # numbered against the places
        read = seg.get_pixels_by_source_frame(files[0].SOPInstanceUID, list(range(kind.slices, 0, -1)))
    else:
        ordered = files[::-1] if kind.names_reversed else files
        read = seg.get_pixels_by_source_instance([one.SOPInstanceUID for one in ordered])
    assert (label.data[0] == 1).sum() + (label.data[0] == 2).sum() > 0
    for number, segment in enumerate(seg.get_segment_description(n) for n in seg.segment_numbers):
        value = {"l1": 1, "l2": 2}[segment.segment_label]
        np.testing.assert_array_equal(read[..., number], label.data[0] == value)


@pytest.mark.parametrize(("form", "made"), [("dicom-seg", "anna_seg.dcm"), ("rtstruct", "anna_rtstruct.dcm")])
def test_a_folder_of_dicom_is_predicted_and_written_as_dicom(
    form: str, made: str, model_folder: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_folder(folds=(0,))
    write_kind(tmp_path / "in" / "anna", KINDS["oblique"], 1, "thin")
    (tmp_path / "in" / "logo.png").write_bytes(b"a picture")
    words = ["predict", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", str(model)]
    assert main([*words, "--device", "cpu", "--output-format", form]) == 0
    assert {path.name for path in (tmp_path / "out").glob("anna*")} == {"anna.nii.gz", made}
    geometry = read_geometry(tmp_path / "out" / "anna.nii.gz")
    np.testing.assert_allclose(geometry.origin_mm, position(KINDS["oblique"], 0), atol=1e-3)
    np.testing.assert_allclose(
        np.array(geometry.direction).reshape(3, 3), KINDS["oblique"].directions, atol=1e-5
    )
    write_kind(tmp_path / "in" / "anna", KINDS["oblique"], 2, "thick")
    assert main([*words[:4], str(tmp_path / "other"), *words[5:], "--device", "cpu"]) == 2
    assert "1 'thin' (6 files), 2 'thick' (6 files)" in capsys.readouterr().err


def test_a_part_reads_its_own_studies_alone_and_parts_together_are_the_whole(
    model_folder: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("anna", "ben"), 1):
        write_kind(tmp_path / "in" / name, KINDS["upright"], study=str(number))
    read: list[str] = []
    monkeypatch.setattr(
        inputs_module, "read_series", lambda one: read.append(one.files[0].parent.name) or read_series(one)
    )
    words = ["predict", "-i", str(tmp_path / "in"), "--model", str(model_folder(folds=(0,)))]
    words += ["--device", "cpu", "-o", str(tmp_path / "out")]
    for part, own in (("1/3", ["anna"]), ("2/3", ["ben"]), ("3/3", [])):
        read.clear()
        assert main([*words, "--part", part]) == 0
        assert read == own
    assert {path.name for path in (tmp_path / "out").glob("*.nii.gz")} == {"anna.nii.gz", "ben.nii.gz"}


def test_the_copies_that_are_read_once_are_not_compressed(tmp_path: Path) -> None:
    write_kind(tmp_path / "anna", KINDS["oblique"])
    with inputs_module.dicom_inputs([tmp_path], ["CT"], (), volumes=True, meant=False) as inputs:
        assert inputs is not None
        (file,) = inputs.folder.iterdir()
        assert file.stat().st_size > voxels_of(KINDS["oblique"]).nbytes
        given, copied = read_series(find_series(tmp_path)[0]), read_image([file])
    np.testing.assert_array_equal(copied.data, given.data)
    np.testing.assert_allclose(copied.geometry.direction, given.geometry.direction, atol=1e-7)


def test_a_copy_for_which_no_room_is_left_fails_its_own_study_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, image: object) -> None:
        if path.name.startswith("anna"):
            raise OSError(28, "No space left on device")
        write_image(path, image)

    for number, name in enumerate(("anna", "ben"), 1):
        write_kind(tmp_path / name, KINDS["upright"], study=str(number))
    write_image = inputs_module.write_image
    monkeypatch.setattr(inputs_module, "write_image", full)
    with inputs_module.dicom_inputs([tmp_path], ["CT"], (), volumes=True, meant=False) as inputs:
        assert inputs is not None
        assert (list(inputs.cases), list(inputs.refused)) == (["ben"], ["anna"])
        assert "No space left" in str(inputs.refused["anna"])


def test_prediction_json_says_which_study_of_a_folder_a_case_is(
    model_folder: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["predict", "-i", str(tmp_path / "flat"), "-o", str(tmp_path / "out"), "--device", "cpu"]
    words += ["--model", str(model_folder(folds=(0,))), "--continue"]
    caplog.set_level("INFO")
    uids = {}
    for number, case in ((1, "flat"), (2, "flat_study2")):  # the second run goes on
        write_kind(tmp_path / "flat", KINDS["upright"], number, study=str(number))
        assert main(words) == 0
        file = pydicom.dcmread(tmp_path / "flat" / f"{number}_001.dcm")
        uids[case] = {"study_uid": file.StudyInstanceUID, "series_uids": [file.SeriesInstanceUID]}
        assert json.loads((tmp_path / "out" / "prediction.json").read_text())["series"] == uids
        assert f"{case}: study {file.StudyInstanceUID}" in caplog.messages


def test_options_of_dicom_without_dicom_are_refused(
    model_folder: Folders, image_folder: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "-i", str(image_folder(1)), "-o", str(tmp_path / "out")]
    assert main([*words, "--model", str(model_folder(folds=(0,))), "--output-format", "dicom-seg"]) == 2
    assert "no DICOM series" in capsys.readouterr().err
