"""What the command line of `balrsam run` asks for."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.run.arguments import add_run_arguments, request_of


@pytest.fixture
def parse(tmp_path: Path):
    """The request that words ask for, of a dataset without images."""
    (tmp_path / "raw" / "Dataset001_Any").mkdir(parents=True)
    (tmp_path / "raw" / "Dataset001_Any" / "dataset.json").write_text("{}")

    def parsed(*words: str):
        parser = argparse.ArgumentParser()
        add_run_arguments(parser)
        roots = [
            word
            for name in ("raw", "preprocessed", "results")
            for word in (f"--{name}", str(tmp_path / name))
        ]
        return request_of(parser.parse_args(["1", *roots, *words]))

    return parsed


@pytest.mark.parametrize("words", [("--device", "banana"), ("--devices", "cpu", "gpu")])
def test_a_device_that_cannot_be_is_refused_before_anything_is_done(parse, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="no name of a device"):
        parse(*words)


def test_devices_of_other_machines_are_not_asked_for_here(parse) -> None:
    assert parse("--device", "cuda:9", "--dry-run").device == "cuda:9"
    assert parse("--device", "cuda:9", "--cluster", "tcp://scheduler:8786").device == "cuda:9"


@pytest.mark.parametrize(
    "option", ["--postprocessing", "--codes", "--base", "--init-from", "--train-checkpoint", "--settings"]
)
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_file_that_is_not_there_is_told_before_the_first_step(
    parse, tmp_path: Path, option: str, more: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError, match="no such file"):
        parse(option, str(tmp_path / "none"), *more)
    assert parse(option, str(tmp_path / "none"), "--cluster", "tcp://scheduler:8786")  # may be there


def test_a_file_of_rules_that_is_no_json_is_told_before_the_first_step(parse, tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text("rules")
    with pytest.raises(UsageError, match=r"rules\.json"):
        parse("--postprocessing", str(tmp_path / "rules.json"))
    (tmp_path / "rules.json").write_text("{}")
    assert parse("--postprocessing", str(tmp_path / "rules.json"))


def test_settings_that_are_no_json_are_told_before_the_first_step(parse, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{'batch_size': 2}")
    with pytest.raises(UsageError, match=r"settings\.json"):
        parse("--settings", str(tmp_path / "settings.json"))
    (tmp_path / "settings.json").write_text('{"batch_size": 2}')
    assert parse("--settings", str(tmp_path / "settings.json"))


def test_options_of_dicom_are_refused_for_test_images_of_another_format(parse, tmp_path: Path) -> None:
    images = tmp_path / "raw" / "Dataset001_Any" / "imagesTs"
    images.mkdir(parents=True)
    assert parse("--output-format", "dicom-seg")  # nothing to predict
    (images / "slice_1").write_bytes(b"")
    assert parse("--output-format", "dicom-seg")
    (images / "slice_1").rename(images / "a_0000.nii.gz")
    with pytest.raises(UsageError, match="no DICOM series"):
        parse("--output-format", "dicom-seg")
    assert parse("--output-format", "nifti")  # as without the option
    with pytest.raises(UsageError, match="--series") as refused:
        parse("--output-format", "nifti", "--series", "T1")
    assert "--output-format" not in str(refused.value)
