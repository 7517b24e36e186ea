"""Conservation: what goes in comes out.

Over the whole catalogue of odd inputs, values, geometry and voxels per label are the same through converting,
preprocessing, predicting, scoring and submitting, or the input is refused by name; and the check refuses
whatever preprocessing refuses.
"""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from support.datasets import describe
from support.odd_inputs import ODD_INPUTS, OddInput, image_of, label_of
from support.plans import example_plan

from balrsam_pipeline.dataset import RawDataset, check_dataset, open_dataset, read_case
from balrsam_pipeline.dataset.converters import CONVERTERS, Conversion
from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.imageio import Geometry, read_geometry, read_label, write_label
from balrsam_pipeline.inference.export import ImageGrid, WeightedSource, export_label
from balrsam_pipeline.inference.logits import ArrayLogits
from balrsam_pipeline.plan import Configuration, Plan
from balrsam_pipeline.preprocessing import CaseStore, preprocess_image, write_case
from evaluation import evaluate_folders
from evaluation.submission import FORMS, SubmissionRequest, pack_submission

LABELS = {"background": 0, "organ": 1, "core": 2}
CASES = ("odd_0", "odd_1")


def raw_dataset(odd: OddInput, folder: Path) -> Path:
    """Two cases in nnU-Net's format."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for seed, case in enumerate(CASES):
        odd.image(
            folder / "imagesTr" / f"{case}_0000{odd.ending}", image_of(odd.shape_zyx, odd.channels, seed)
        )
        odd.label(folder / "labelsTr" / f"{case}{odd.ending}", label_of(odd.shape_zyx))
    channels = [f"c{index}" for index in range(odd.channels)]
    return describe(folder, LABELS, channels, len(CASES), odd.ending)


def converted_dataset(odd: OddInput, folder: Path) -> Path:
    """The same cases as image-and-mask pairs, converted."""
    source = folder.parent.parent / "source"
    raw_dataset(odd, source)
    (source / "imagesTr").rename(source / "images")
    (source / "labelsTr").rename(source / "masks")
    for case in CASES:
        (source / "images" / f"{case}_0000{odd.ending}").rename(source / "images" / f"{case}{odd.ending}")
    channels = tuple(f"c{index}" for index in range(odd.channels))
    conversion = Conversion(
        source=source, target=folder, channel_names=channels, labels={"organ": 1, "core": 2}
    )
    return CONVERTERS["pairs"](conversion).target


def plan_for(dataset: RawDataset, geometry: Geometry) -> tuple[Plan, Configuration]:
    """A plan that keeps the grid."""
    plan = example_plan()
    channels = len(dataset.description.channel_names)
    configuration = dataclasses.replace(
        plan.configurations["2d"],
        spacing_mm=geometry.spacing_mm,
        normalization=("z_score",) * channels,
        normalize_inside_mask=(False,) * channels,
    )
    return plan, configuration


def preprocess(dataset: RawDataset, case: str, folder: Path) -> None:
    """As planning does."""
    files = dataset.training_cases()[case]
    image, label = read_case(files, dataset.description)
    plan, configuration = plan_for(dataset, image.geometry)
    labels = dataset.description.labels
    write_case(folder, case, preprocess_image(image, label, plan, configuration, labels.ignore_value), labels)


def predict(dataset: RawDataset, case: str, store: CaseStore, folder: Path) -> Path:
    """What a network that has learnt the case by heart would have written."""
    properties, labels = store.properties(case), dataset.description.labels
    stored = np.stack([store.read_label_slice(case, z) for z in range(properties.shape[0])])
    logits = torch.nn.functional.one_hot(torch.from_numpy(stored).long(), labels.classes).movedim(-1, 0)
    grid = ImageGrid(
        shape_zyx=properties.geometry.shape_zyx, crop_zyx=properties.crop_box, transpose=properties.transpose
    )
    label_zyx = export_label([WeightedSource(ArrayLogits(logits.float()))], grid, labels)
    image = dataset.training_cases()[case].images[0]
    path = folder / f"{case}{dataset.description.file_ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_label(path, label_zyx, properties.geometry, like=image)
    return path


def refusal(odd: OddInput, dataset_folder: Path, work: Path) -> str:
    """What refused the dataset, "" where nothing did; what preprocessing refuses the check must find."""
    errors = [problem for problem in check_dataset(dataset_folder).errors if problem.case in CASES]
    dataset = open_dataset(dataset_folder)
    failed = ""
    for case in CASES:
        try:
            preprocess(dataset, case, work / "store")
        except BalrsamError as error:
            failed = str(error)
            assert case in {problem.case for problem in errors}, (
                f"verify passes what preprocessing refuses: {failed}"
            )
    return " ".join(f"{problem.case} {problem.found} {problem.expected}" for problem in errors) or failed


def require_conserved(odd: OddInput, dataset: RawDataset, work: Path) -> None:
    store, labels = CaseStore(work / "store"), dataset.description.labels
    expected_label = label_of(odd.shape_zyx)
    for seed, (case, files) in enumerate(dataset.training_cases().items()):
        image, label = read_case(files, dataset.description)
        expected = image_of(odd.shape_zyx, odd.channels, seed) * odd.factor
        np.testing.assert_allclose(image.data.astype(np.float64), expected, atol=odd.step)
        assert label is not None
        np.testing.assert_array_equal(label.data[0], expected_label)
        preprocessed = store.read_image(case)
        for found, channel in zip(preprocessed, image.data.astype(np.float64), strict=True):
            np.testing.assert_allclose(found, (channel - channel.mean()) / channel.std(), atol=1e-3)
        written = predict(dataset, case, store, work / "predictions")
        np.testing.assert_array_equal(read_label(written).data[0], expected_label)
        found, wanted = read_geometry(written), image.geometry
        np.testing.assert_allclose(found.spacing_mm, wanted.spacing_mm, rtol=1e-5)
        np.testing.assert_allclose(found.origin_mm, wanted.origin_mm, atol=1e-3)
        np.testing.assert_allclose(found.direction, wanted.direction, atol=1e-5)
    ending = dataset.description.file_ending
    summary = evaluate_folders(work / "predictions", dataset.folder / "labelsTr", labels, ending)
    assert [row.values["dice"] for row in summary.rows] == [1.0] * len(CASES) * 2
    submitted = pack_submission(
        SubmissionRequest(
            predictions=work / "predictions",
            images=dataset.folder / "imagesTr",
            form=FORMS["amos"],
            template="{case}{ending}",
            dataset_json=dataset.folder / "dataset.json",
            output=work / "submission.zip",
        )
    )
    with zipfile.ZipFile(submitted.archive) as archive:
        archive.extractall(work / "opened")
    for case in CASES:
        found = read_label(work / "opened" / f"{case}{ending}").data[0]
        np.testing.assert_array_equal(found, expected_label)


@pytest.mark.parametrize("odd", ODD_INPUTS, ids=lambda odd: odd.name)
def test_an_odd_dataset_is_conserved_or_refused_by_name(odd: OddInput, tmp_path: Path) -> None:
    folder = raw_dataset(odd, tmp_path / "raw" / "Dataset001_Odd")
    refused = refusal(odd, folder, tmp_path)
    assert bool(refused) == bool(odd.refused), refused
    if odd.refused:
        assert odd.refused in refused and "odd_1" in refused
    else:
        require_conserved(odd, open_dataset(folder), tmp_path)


@pytest.mark.parametrize("odd", ODD_INPUTS, ids=lambda odd: odd.name)
def test_odd_pairs_are_conserved_by_converting_or_refused_by_name(odd: OddInput, tmp_path: Path) -> None:
    target = tmp_path / "raw" / "Dataset001_Odd"
    target.parent.mkdir()
    try:
        converted_dataset(odd, target)
        refused = refusal(odd, target, tmp_path)
    except BalrsamError as error:
        refused = str(error)
        assert not target.exists()
    assert bool(refused) == bool(odd.refused), refused
    if odd.refused:
        assert odd.refused in refused and "odd_" in refused
    else:
        require_conserved(odd, open_dataset(target), tmp_path)
