"""Commands of the pages on training with all cases, several plans, DICOM, postprocessing, submissions and
containers, run word for word, in the order of the pages, with seconds of training instead of hours."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.datasets import describe, organ_case, write_volume
from support.dicom import KINDS, write_kind

from balrsam_pipeline.cli import main
from balrsam_pipeline.extensions import loaded_once

PAGES = Path(__file__).parents[2] / "docs"
DATASET, LABELS = "Dataset004_Hippocampus", {"background": 0, "liver": 1, "vessel": 2, "tumour": 3}
SHAPE, SPACING = (6, 24, 20), (3.0, 1.0, 1.0)
BRIEF = " --max-steps 2 --threads 1 --workers 0 --device cpu"
# what would take long, or stands for sockets of another model
INSTEAD = {
    "--settings settings.json": f"--settings settings.json{BRIEF}",
    "--fold all": f"--fold all{BRIEF}",
    "--patience 30": f"--patience 30{BRIEF}",
    "--input-size 320": "--input-size 48 --workers 1",
    "crossval Dataset004_Hippocampus": f"crossval Dataset004_Hippocampus --folds 0 1{BRIEF}",
    "find_best_configuration": "find_best_configuration --workers 1",
    "--input-slugs t2-mri adc-mri": "--input-slugs t2-mri",
}
# in this process, instead of several that first have to start
ALONE = {
    "balrsam predict": " --device cpu --workers 1",
    "balrsam postprocess": " --workers 1",
    "balrsam submit": " --workers 1",
}
LEFT_OUT = ("balrsam run ",)  # tests/end_to_end run it


def block(page: str, heading: str, language: str = "sh") -> list[str]:
    """The commands (or other text) of all blocks of one language below a heading."""
    text = (PAGES / page).read_text(encoding="utf-8")
    part = re.split(r"^#+ ", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(rf"```{language}\n(.*?)```", part, re.DOTALL)
    assert found, f"no block of {language} in {page}, {heading}"
    return found


def run(page: str, heading: str) -> None:
    """Run every command below a heading; each must end with 0."""
    for text in block(page, heading):
        for line in text.replace("\\\n", " ").splitlines():
            if line.startswith(LEFT_OUT):
                continue
            for slow, quick in INSTEAD.items():
                line = line.replace(slow, quick)
            if "--container" not in line:  # whose models predict elsewhere
                line += next((more for name, more in ALONE.items() if line.startswith(name)), "")
            program, *words = shlex.split(line)
            assert program == "balrsam" and main(words) == 0, line


def images(folder: Path, *names: str, seed: int = 0) -> None:
    for number, name in enumerate(names, seed):
        write_volume(folder / name, organ_case(number, SHAPE)[0][0], SPACING)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset that is planned, and of which two folds are trained for two steps."""
    folder = tmp_path_factory.mktemp("pages")
    raw = folder / "raw" / DATASET
    cases = [f"c_{number}" for number in range(5)]
    images(raw / "imagesTr", *(f"{case}_0000.nii.gz" for case in cases))
    for number, case in enumerate(cases):
        label = organ_case(number, SHAPE)[1]
        label[:2][label[:2] > 0] = 3
        write_volume(raw / "labelsTr" / f"{case}.nii.gz", label, SPACING)
    images(raw / "imagesTs", "t_1_0000.nii.gz", "t_2_0000.nii.gz", seed=10)
    describe(raw, LABELS, ["MR"], len(cases))
    shutil.copytree(raw / "imagesTs", folder / "imagesTs")
    images(folder / "raw" / "Dataset009_Spleen" / "imagesTs", "spleen_1_0000.nii.gz")
    images(folder / "amos22" / "imagesVa", "amos_0008.nii.gz", "amos_0018.nii.gz")
    for study in ("anna", "bert"):
        write_kind(
            folder / "STUDIES" / study, KINDS["oblique"], 1, "t2", study="1" if study == "anna" else "2"
        )
    (folder / "codes.json").write_text(block("prediction.md", "DICOM in and out", "json")[0])
    (folder / "brats.json").write_text(block("submissions.md", "Submissions", "json")[0])
    (folder / "validation-box" / "imgs").mkdir(parents=True)
    voxels = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)
    np.savez_compressed(folder / "validation-box" / "imgs" / "MR_a_0001.npz", imgs=voxels, spacing=(1, 1, 3))
    return folder


@pytest.fixture(autouse=True)
def inside(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work)
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"balrsam_{name}", str(work / name))


def test_a_model_of_all_cases_predicts_is_exported_installed_and_goes_into_a_container(work: Path) -> None:
    planning = (
        f"plan_and_preprocess {DATASET} --configurations 2d --backbone vit_mini --gpu-memory-gb 0 --workers 1"
    )
    assert main(shlex.split(planning)) == 0
    run("training.md", "On all cases")
    assert sorted(path.name for path in (work / "predictions").glob("*.nii.gz")) == [
        "t_1.nii.gz",
        "t_2.nii.gz",
    ]
    assert main(["install_model", "hippocampus.zip", "--results", "elsewhere"]) == 0
    assert (
        work / "elsewhere" / DATASET / "2d__balrsam" / "fold_all" / "checkpoint_final.safetensors"
    ).is_file()
    words = (
        f"predict -i imagesTs -o installed --results elsewhere -d {DATASET} --configuration 2d --folds all"
    )
    assert main([*shlex.split(words), "--device", "cpu"]) == 0
    for path in (work / "predictions").glob("*.nii.gz"):
        assert (work / "installed" / path.name).read_bytes() == path.read_bytes()
    settings = json.loads((work / "team_all" / "model" / "container.json").read_text())
    assert settings["folds"] == [["all"]]


def test_two_plans_are_trained_beside_each_other_and_compared(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(f"crossval {DATASET} --configuration 2d --folds 0 1{BRIEF}")) == 0
    shutil.rmtree(work / "predictions")
    run("planning.md", "Several plans of one dataset")
    results = work / "results" / DATASET
    best = json.loads((results / "best_configuration.json").read_text())
    candidates = [tuple(candidate["configurations"]) for candidate in best["candidates"]]
    assert {("2d",), ("2d__wide",), ("2d", "2d__wide")} == set(candidates)
    assert "2d__wide" in capsys.readouterr().out
    plans = [
        json.loads((results / name / "plan.json").read_text())
        for name in ("2d__balrsam", "2d__wide__balrsam")
    ]
    sizes = [plan["configurations"]["2d"]["network"]["input_size"] for plan in plans]
    assert sizes[1] == [48, 48] and sizes[0] != sizes[1]


def test_a_fold_is_validated_alone_and_patience_is_an_option(work: Path) -> None:
    run("training.md", "Validation alone, and patience")
    fold = work / "results" / DATASET / "2d__balrsam" / "fold_0"
    assert (fold / "validation_best" / "summary.json").is_file()


def test_dicom_goes_in_and_out(work: Path) -> None:
    shutil.rmtree(work / "predictions")
    run("prediction.md", "DICOM in and out")
    made = {path.name for path in (work / "predictions").glob("anna*")}
    assert made == {"anna.nii.gz", "anna_seg.dcm", "anna_rtstruct.dcm"}


def test_rules_are_chosen_and_applied_by_themselves(work: Path) -> None:
    validation = [*(work / "results" / DATASET / "2d__balrsam").glob("fold_[01]/validation/*.nii.gz")]
    shutil.rmtree(work / "predictions")
    for path in validation:
        for folder, source in (
            ("predictions", path),
            ("labelsTs", work / "raw" / DATASET / "labelsTr" / path.name),
        ):
            (work / folder).mkdir(exist_ok=True)
            shutil.copy(source, work / folder)
    shutil.copytree(work / "predictions", work / "others")
    shutil.copy(work / "raw" / DATASET / "dataset.json", work)
    run("best_configuration.md", "Postprocessing by itself")
    assert {path.name for path in (work / "cleaned").glob("*.nii.gz")} == {path.name for path in validation}


def test_submissions_have_the_names_of_their_leaderboards(work: Path) -> None:
    shutil.rmtree(work / "predictions")
    for source, output in (
        ("imagesTs", "predictions"),
        ("raw/Dataset009_Spleen/imagesTs", "predictions_spleen"),
        ("amos22/imagesVa", "predictions_amos"),
    ):
        assert main(["predict", "-i", source, "-o", output, "-d", DATASET, "--best", "--device", "cpu"]) == 0
    run("submissions.md", "Submissions")
    names = {}
    for archive in work.glob("*.zip"):
        with zipfile.ZipFile(archive) as opened:
            names[archive.name] = opened.namelist()
    assert names.pop("hippocampus.zip")
    hippocampus = ["Task04_Hippocampus/t_1.nii.gz", "Task04_Hippocampus/t_2.nii.gz"]
    assert names == {
        "submission.zip": hippocampus,
        "all_tasks.zip": [*hippocampus, "Task09_Spleen/spleen_1.nii.gz"],
        "amos.zip": ["results/amos_0008.nii.gz", "results/amos_0018.nii.gz"],
        "flare.zip": ["t_1.nii.gz", "t_2.nii.gz"],
        "cvpr.zip": ["MR_a_0001.npz"],
        "brats.zip": ["t_1.nii.gz", "t_2.nii.gz"],
    }
    assert (work / "table.csv").read_text().startswith("id,rle\n")
    run("submissions.md", "Containers")
    assert (work / "algorithm" / "Dockerfile").is_file() and (work / "team" / "code" / "predict.sh").is_file()


def test_sockets_of_a_container_are_one_or_as_many_as_channels(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"submit --format grand-challenge --container -d {DATASET} --configuration 2d -o other"
    assert main([*shlex.split(words), "--input-slugs", "t2-mri", "adc-mri"]) == 2
    assert "1, in the order of the channels: MR" in capsys.readouterr().err
    assert not (work / "other").exists()


def test_parts_of_a_package_of_one_s_own_train_a_fold(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, heading = "extending.md", "Your own loss, augmentation, network part, trainer"
    package = work / "outside" / "my_lab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "segmentation.py").write_text(block(page, heading, "python")[0])
    (work / "settings.json").write_text(block(page, heading, "json")[0])
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("balrsam_results", str(work / "own"))
    loaded_once.cache_clear()
    try:
        run(page, heading)
    finally:
        loaded_once.cache_clear()
        for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
            del sys.modules[name]
    model = work / "own" / DATASET / "2d__balrsam"
    assert (model / "fold_0" / "checkpoint_final.safetensors").is_file()
    plan = json.loads((model / "plan.json").read_text())
    assert plan["configurations"]["2d"]["network"]["extension"] == "my_lab.segmentation:mixed_channels"
